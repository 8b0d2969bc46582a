//! What goes wrong with calls to come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::state::{Socket, VmState};

/// What goes wrong with the next calls of one subcommand. The first one in the queue that is for a call's subcommand is
/// taken by it; other calls pass. All its parts happen, in the order of the methods here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fault {
    pub(crate) on: String,
    pub(crate) left: u32,
    pub(crate) delay: Duration,
    pub(crate) hangs: bool,
    pub(crate) stderr: Vec<u8>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) socket: Option<Socket>,
    pub(crate) ipv4: Option<Vec<String>>,
    pub(crate) ssh: bool,
    pub(crate) daemon_delay: Duration,
    pub(crate) vm_state: Option<VmState>,
    pub(crate) dies: bool,
    pub(crate) failure: Option<Failure>,
}

impl Fault {
    /// Of the next call of `subcommand`; `*` is any but `version`.
    pub fn on(subcommand: &str) -> Self {
        Self {
            on: subcommand.to_owned(),
            left: 1,
            ..Self::default()
        }
    }

    /// Of so many calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { left: times, ..self }
    }

    /// The call does nothing for that long, then goes on.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The call does nothing for ever.
    #[must_use]
    pub fn hangs(self) -> Self {
        Self { hangs: true, ..self }
    }

    /// The call first writes these bytes on standard error: a warning, or 64 KiB of it.
    #[must_use]
    pub fn preamble(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            stderr: bytes.into(),
            ..self
        }
    }

    /// The call first writes these bytes on standard output.
    #[must_use]
    pub fn noise(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            stdout: bytes.into(),
            ..self
        }
    }

    /// The daemon's socket is in that state for the call.
    #[must_use]
    pub fn socket(self, socket: Socket) -> Self {
        Self {
            socket: Some(socket),
            ..self
        }
    }

    /// `list` and `info` report these addresses of running machines; see [`crate::StandIn::report_addresses`].
    #[must_use]
    pub fn addresses(self, ipv4: &[&str]) -> Self {
        Self {
            ipv4: Some(ipv4.iter().map(|text| (*text).to_owned()).collect()),
            ..self
        }
    }

    /// `exec` does not get through to the machine's sshd: 2 in released versions, 255 in the newest.
    #[must_use]
    pub fn ssh_fails(self) -> Self {
        Self { ssh: true, ..self }
    }

    /// The daemon waits that long before it makes or starts the machine.
    #[must_use]
    pub fn daemon_waits(self, daemon_delay: Duration) -> Self {
        Self { daemon_delay, ..self }
    }

    /// The call does what it does, and leaves the machine in that state.
    #[must_use]
    pub fn leaves(self, state: VmState) -> Self {
        Self {
            vm_state: Some(state),
            ..self
        }
    }

    /// The call does what it does, and then its client is killed.
    #[must_use]
    pub fn dies_after(self) -> Self {
        Self { dies: true, ..self }
    }

    /// The call fails with that text. It does nothing before, unless [`Self::leaves`] says so.
    #[must_use]
    pub fn fails(self, code: i32, stderr: &str) -> Self {
        let failure = Some(Failure {
            code,
            stderr: format!("{stderr}\n"),
        });
        Self { failure, ..self }
    }

    /// The call fails as the daemon reports it: exit 2 and `<subcommand> failed: ` before the text.
    #[must_use]
    pub fn reports(self, message: &str) -> Self {
        let text = format!("{} failed: {message}", self.on);
        self.fails(2, &text)
    }

    pub(crate) fn is_for(&self, subcommand: &str) -> bool {
        self.on == subcommand || (self.on == "*" && subcommand != "version")
    }
}
