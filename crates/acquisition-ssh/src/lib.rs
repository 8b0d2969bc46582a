//! Remote nodes: hosts that the operator has, reached by SSH and nothing else. The provider makes no machine and destroys
//! none; it learns the host key, waits until the host takes Pressluft's key, and takes the key away at the end.
//!
//! | file | what lives there |
//! |---|---|
//! | `provider` | `NodeProvider`, method by method |
//! | `scan`, `reach`, `keyscan` | a name's addresses, a connection that says why there is none, what `ssh-keyscan` prints |
//! | `own_host` | what this host is called and where it is, so that it never becomes a node |
//! | `login` | the first login: whose machine it is, sudo, the key's line |
//! | `leave` | the last login: the key's line goes, what stays is told |
//! | `scripts` | the shell that both run on the host |

mod config;
mod keyscan;
mod leave;
mod login;
mod own_host;
mod provider;
mod reach;
mod scan;
mod scripts;
#[cfg(test)]
mod tests;

pub use config::SshConfig;
pub use own_host::SystemHost;
pub use provider::SshProvider;
pub use scan::KeyScan;
