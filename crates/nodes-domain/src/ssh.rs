//! Commands on a node over SSH, and the key that Pressluft logs in with.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{NodeId, StopReason};
use jobs::{Failure, StepContext, StepError};

use crate::{Fingerprint, HostKey, Hostname, NodeTarget};

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

    /// The control socket (`ssh -S`) of the connection that commands share, where one is open to this target now: another
    /// program may run one command at a time over it and be spared a login.
    async fn shared_connection(&self, _node_id: NodeId, _target: &NodeTarget) -> Option<PathBuf> {
        None
    }

    /// Closes connections to the node and removes its files.
    async fn forget(&self, node_id: NodeId) -> Result<(), Failure>;
}

/// Asks a host for its host keys, without a login.
#[async_trait]
pub trait HostKeyScan: Send + Sync {
    /// The host keys that a host shows, the preferred kind first; never empty. Kinds are asked for one after another, until
    /// the key of the wanted fingerprint was shown, or any key where none is wanted: a host that is asked for a kind that it
    /// has not counts that as a failure of whoever asks.
    ///
    /// # Errors
    /// `REMOTE_HOST_UNREACHABLE` with why it does not answer, `REMOTE_ADDRESS_REFUSED` where the name means this host.
    async fn scan(
        &self,
        hostname: &Hostname,
        ssh_port: u16,
        wanted: Option<&Fingerprint>,
        context: &StepContext,
    ) -> Result<Vec<HostKey>, StepError>;
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

impl ManagedKey {
    /// One line of shell that adds the key to the login user's authorized_keys: after the line end that the last line may
    /// lack, and only where the exact line is missing, so that a second run changes nothing.
    pub fn install_command(&self) -> String {
        let key = self.public_key.trim().replace('\'', r"'\''");
        format!(
            "k='{key}'; f=~/.ssh/authorized_keys; umask 077; mkdir -p ~/.ssh && touch \"$f\" && {{ grep -qxF \"$k\" \"$f\" \
             || {{ [ -z \"$(tail -c 1 \"$f\")\" ] || echo; printf '%s\\n' \"$k\"; }} >> \"$f\"; }}"
        )
    }
}

/// Keeps the one key pair of this installation.
#[async_trait]
pub trait ManagedKeys: Send + Sync {
    /// The key, made on first use. Fails with `SSH_KEY_GENERATION_FAILED`; never overwrites a key that exists.
    async fn key(&self) -> Result<ManagedKey, Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[allow(
        clippy::disallowed_methods,
        reason = "the command is for a shell: only one can say that it works"
    )]
    fn run(command: &str, home: &Path) {
        let status = std::process::Command::new("sh")
            .arg("-ec")
            .arg(command)
            .env("HOME", home)
            .status()
            .unwrap();
        assert!(status.success());
    }

    #[test]
    fn the_install_command_appends_the_key_once_and_keeps_what_is_there() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE it's pressluft";
        let managed = ManagedKey {
            public_key: format!("{key}\n"),
            fingerprint: String::new(),
            private_key_path: PathBuf::new(),
        };
        let command = managed.install_command();
        assert!(!command.contains('\n'));
        for (before, after) in [
            (None, format!("{key}\n")),
            (Some("ssh-rsa AAAA other\n"), format!("ssh-rsa AAAA other\n{key}\n")),
            (Some("ssh-rsa AAAA other"), format!("ssh-rsa AAAA other\n{key}\n")),
        ] {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join(".ssh/authorized_keys");
            if let Some(before) = before {
                fs::create_dir(home.path().join(".ssh")).unwrap();
                fs::write(&file, before).unwrap();
            }
            run(&command, home.path());
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
            run(&command, home.path());
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
        }
    }
}
