//! Local nodes by Multipass, through its command line alone.
//!
//! [`MultipassProvider`] implements the provider's contract. `acquire.rs`, with `launch.rs` and `start.rs`, is the way
//! from whatever there is of a machine to one that answers, with the table of its states and of known failures;
//! `classify.rs` has the table of what the command line's ends mean, and the code of each. `capability.rs` says whether
//! this host can do it at all.
//!
//! Nothing that decides is remembered between two calls: which machine is meant follows from the node's id, and what
//! there is of it is asked of `multipass list`. No key of Multipass's own is read, and nothing else stands in for what
//! Multipass cannot do.
//!
//! A launch whose client ended before it (exit 5, a deadline, a cancel) may go on in the daemon. The next acquire adopts
//! what comes of it. A release that meets nothing yet waits for it for a while, where this process ended that client
//! (`unfinished.rs`); after a restart, or where the daemon takes longer, it cannot know of it.

mod acquire;
mod capability;
mod class;
mod classify;
mod cli;
mod cloud_init;
mod config;
mod host_key;
mod inject;
mod launch;
mod list;
mod names;
mod observe;
mod patience;
mod probe;
mod provider;
mod release;
mod start;
mod trouble;
mod unfinished;

pub use config::{ConfigError, MultipassConfig};
pub use names::{NameError, PRIMARY, check_name};
pub use probe::{AddressProbe, TcpProbe};
pub use provider::MultipassProvider;

/// The provider's id, as stored with nodes.
pub const PROVIDER_ID: &str = "multipass";
