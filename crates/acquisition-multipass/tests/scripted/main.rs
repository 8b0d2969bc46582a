//! What the provider does in answer to each answer of a Multipass that only plays its part.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking, in its helpers too"
)]

mod acquire;
mod capability;
mod key;
mod patience;
mod recovery;
mod release;
mod stage;
