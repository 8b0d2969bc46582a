//! Commands on a node over SSH, and the key that Pressluft logs in with.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{NodeId, StopReason};
use jobs::{Failure, StepContext};

use crate::NodeTarget;

/// A command for a node's shell (`sh`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCommand {
    /// The script, run by `sh -c`. Never put a secret into it: hand that over by `stdin`.
    pub script: String,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may take on the node, in whole seconds from 1; it is ended there by `timeout`.
    pub limit: Duration,
    /// Whether it is run over a login of its own, so that its success proves that one is possible now. Otherwise a
    /// connection is shared that may have logged in a while ago.
    pub new_login: bool,
}

impl RemoteCommand {
    /// A script without input.
    pub fn script(script: impl Into<String>, limit: Duration) -> Self {
        Self {
            script: script.into(),
            stdin: Vec::new(),
            limit,
            new_login: false,
        }
    }

    /// The same command over a login of its own.
    #[must_use]
    pub fn over_new_login(mut self) -> Self {
        self.new_login = true;
        self
    }
}

/// What a command printed, each stream cut at 256 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOutput {
    /// Its exit status; 128 + n where signal n ended it, 124 where it ran into its limit, `None` where neither is known.
    pub exit_status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Why a command could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused,
    /// No answer, no route, or no such name.
    #[error("the machine does not answer: {0}")]
    Unreachable(String),
    /// The machine did not take the key.
    #[error("the machine rejected the key")]
    AuthRejected,
    /// The machine showed another host key than the pinned one.
    #[error("the machine shows another host key than the pinned one")]
    HostKeyMismatch,
    /// No end within the limit.
    #[error("no end within {0:?}")]
    TimedOut(Duration),
    /// The context stopped it.
    #[error("stopped: {0:?}")]
    Stopped(StopReason),
    /// SSH failed in a way that has no name of its own.
    #[error("ssh failed: {0}")]
    Other(String),
}

/// Runs commands on nodes over SSH, isolated from the host's own SSH set-up: only the managed key, only the pinned
/// host key, no agent.
#[async_trait]
pub trait SshAccess: Send + Sync {
    /// Runs a command.
    async fn run(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        context: &StepContext,
    ) -> Result<RemoteOutput, SshError>;

    /// Writes the node's SSH configuration file, used by every program that connects to it (`ssh -F`), and returns its
    /// path. In it the machine is called by its instance name, `pressluft-<short id>`.
    async fn config(&self, node_id: NodeId, target: &NodeTarget) -> Result<PathBuf, Failure>;

    /// Closes connections to the node and removes its files.
    async fn forget(&self, node_id: NodeId) -> Result<(), Failure>;
}

/// Pressluft's own key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedKey {
    /// The public half as one OpenSSH line, comment included.
    pub public_key: String,
    /// `SHA256:...` of the public half.
    pub fingerprint: String,
    /// The private half's file.
    pub private_key_path: PathBuf,
}

/// Keeps the one key pair of this installation.
#[async_trait]
pub trait ManagedKeys: Send + Sync {
    /// The key, made on first use. Fails with `SSH_KEY_GENERATION_FAILED`; never overwrites a key that exists.
    async fn key(&self) -> Result<ManagedKey, Failure>;
}
