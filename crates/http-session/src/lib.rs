//! What every page and every endpoint has in common: the session, the check of `Host` and `Origin`, the headers, and the
//! shape of an error. No endpoint lives here.

mod authority;
mod client;
mod error;
mod guard;
mod harden;
mod session;
mod settings;

pub use authority::Authority;
pub use client::client_address;
pub use error::{ApiError, ErrorBody};
pub use guard::{came_from_this_host, guard};
pub use harden::harden;
pub use session::{
    Operator, SESSION_COOKIE, current_operator, no_session_cookie, require_session, require_session_or_login,
    session_cookie,
};
pub use settings::{HttpSettings, HttpSettingsError};
