//! The queue over jobs in memory.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests"
)]

mod bench;
mod claims;
mod stops;
mod trouble;
