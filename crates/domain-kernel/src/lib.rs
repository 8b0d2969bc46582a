//! What every layer speaks of: typed ids, error codes, time, cancellation and secrets.
//!
//! This crate is closed: nothing else moves in. It knows no runtime, no database and no transport.

mod cancel;
mod clock;
mod error_code;
mod ids;
mod secret;

pub use cancel::{CancelToken, Limits, StopReason};
pub use clock::{Clock, Timestamp, TimestampError};
pub use error_code::{ApiErrorCode, JobErrorCode, UnknownCode};
pub use ids::{AccountId, BackupId, EnvironmentId, IdError, JobId, NodeId, ShortId, SiteId};
pub use secret::Secret;
