//! How Pressluft reaches nodes: its own key pair, one SSH configuration per node with the pinned host key, commands and
//! transfers over shared connections, and the readiness check on top of them.
//!
//! Nothing of the host's own SSH set-up takes part: no `~/.ssh`, no `/etc/ssh/ssh_config`, no agent, no known_hosts but
//! the node's. `ssh` is started by `process-exec` with a cleared environment; the crate `openssh` then speaks to it over
//! its control socket. Nothing here knows where a node came from.

mod classify;
mod config;
mod connection;
mod control;
mod files;
mod keys;
mod master;
mod memory;
mod probe;
mod reap;
mod remote;
mod sessions;

pub use keys::ManagedKeyFile;
pub use probe::SshReadinessProbe;
pub use sessions::SshSessions;
