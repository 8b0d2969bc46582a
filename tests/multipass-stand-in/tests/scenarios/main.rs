//! The scenarios that the adapter for Multipass is to be carried through, each in the output of released and of the
//! newest versions, against the stand-in. A scenario that logs in or runs a command boots real machines (`real_machine`
//! in its name) and needs root; the others need nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test and look at the host by themselves"
)]

mod addresses;
mod daemon;
mod exec;
mod launch;
mod refused;
mod states;
mod support;
