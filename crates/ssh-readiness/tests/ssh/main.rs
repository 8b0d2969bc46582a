//! Against a real SSH server of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in tests a panic is the way to fail; helpers of tests are not seen as tests by clippy"
)]

mod isolation;
mod keys;
mod probe;
mod server;
mod sessions;
mod stopping;
mod transfer;
