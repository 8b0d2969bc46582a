//! Real machines that a test starts itself, without Pressluft: hosts for remote nodes, and what stands behind the
//! stand-in for Multipass. They are booted by `acquisition-nspawn` used as a library, each in a data folder of its own,
//! and share the image cache of all tests (`PRESSLUFT_TEST_CACHE_DIR`, else `target/test-cache`). Needs root.
//!
//! Every function blocks and can be called from a plain `#[test]` and from inside a tokio test alike: what is asynchronous
//! runs to its end on a thread and a runtime of its own. They panic where a host cannot do what is asked, as tests do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks into its machines by itself"
)]

mod blocking;
mod inside;
mod machine;
mod record;

pub use inside::{Inside, Ran};
pub use machine::{RealMachine, cache_dir};
