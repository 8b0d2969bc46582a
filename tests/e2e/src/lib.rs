//! For the tests of the real server against real machines: an installation of its own for each test, a client, and a
//! look at the host from outside. Needs root, `scripts/setup --dev`, and the server's test build; see docs/testing.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts the server and looks at the host by itself"
)]

mod client;
mod host;
mod installation;
mod machine;
mod site;
mod site_setup;
mod trace;
mod warm;

pub use client::{Answer, Client};
pub use host::{eventually, left_of_node, processes_mentioning, recorded_children};
pub use installation::{Installation, Server};
pub use machine::Machine;
pub use site::{Environment, SITE_JOB};
pub use site_setup::{Setup, ask_for_copy, ask_for_site, files_under, fill, killed_at};
pub use trace::{Executed, Peer, Trace, Traced};
pub use warm::{runtime_image, warm_cache};
