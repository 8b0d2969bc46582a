//! A stand-in for Multipass on hosts where Multipass cannot run, for tests only: an executable that behaves as the
//! command line of Multipass 1.10 to 1.17 does, whose machines are real ones by `machines`. The product knows nothing of
//! it.
//!
//! A test makes a [`StandIn`] in a folder of its own and hands [`StandIn::program`] to what it tests. That program is a
//! shell script which finds the folder by itself, because it is started with a cleared environment. In the folder are
//! - `state.json`: settings, instances and the queue of faults, changed under the lock of `lock`;
//! - `calls.jsonl`: one line for each call;
//! - `machines/<name>/`: the real machine of an instance;
//! - `helpers/<pid>`: processes that play the daemon. Multipass's daemon goes on when its client is gone, and so do these:
//!   each call that changes a machine is carried out by a process of its own, in a session of its own.
//!
//! What lives here: `client` is the command line (one file for each group of commands), `daemon` carries out changes,
//! `state` and `fault` are what both read, `stand_in` is what tests use. `transfer`, snapshots, networks, mounts and
//! aliases are left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a part of tests: it fails by panicking, plays a daemon's delays, and starts its own processes"
)]

mod args;
pub mod client;
mod cloud_init;
pub mod daemon;
mod failure;
mod fault;
mod output;
mod stand_in;
mod state;
mod validate;

pub use fault::Fault;
pub use stand_in::{Call, MULTIPASS_KEY, StandIn};
pub use state::{Profile, Settings, Socket, VmState, Vms};

/// The login user of every machine, as Multipass has it.
pub const USER: &str = "ubuntu";
