//! How long the provider waits for what.

use std::time::Duration;

/// The limits of [`SshProvider`](crate::SshProvider) and [`KeyScan`](crate::KeyScan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshConfig {
    /// How long the operator has to install the key, from the first login that was rejected.
    pub key_wait: Duration,
    /// How long a look at a host's keys may take in all: its name, the connection, the keys.
    pub scan_limit: Duration,
    /// How long a host may take to accept a connection.
    pub connect_limit: Duration,
    /// How long a host that is given up has to answer.
    pub release_limit: Duration,
}

impl Default for SshConfig {
    fn default() -> Self {
        Self {
            key_wait: Duration::from_secs(600),
            scan_limit: Duration::from_secs(10),
            connect_limit: Duration::from_secs(5),
            release_limit: Duration::from_secs(20),
        }
    }
}
