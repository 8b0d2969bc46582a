//! Starts processes, and is the only crate that does: with a cleared environment, a deadline, an end of all their
//! descendants, and a record of what runs, so that nothing outlives a server that died. The system's clock is here too,
//! and which addresses are this host's own, because this is where the operating system is met.
//!
//! A child waits for a go before it executes its program, and the go is given after it was recorded: a child that is
//! not in the [`Ledger`] has done nothing. Descendants are found by a mark in their environment ([`MARK`]) and by their
//! parents, because a process group is left by any program that calls `setsid`, as Ansible's workers do.

mod clock;
mod command;
mod error;
pub mod fake;
mod ledger;
mod own_address;
mod proc_table;
mod system;
mod terminate;

pub use clock::SystemClock;
pub use command::{CommandRunner, CommandSpec, Detached, Ended, LineHandler, Output, OutputLine, Stream};
pub use error::ExecError;
pub use ledger::{Ledger, RecoveryReport};
pub use own_address::is_own_address;
pub use proc_table::{ProcessKey, boot_id, process_key};
pub use system::{SystemRunner, find_program};

/// The variable that marks a child and all its descendants; its value names the run.
pub const MARK: &str = "PL_RUN_ID";
