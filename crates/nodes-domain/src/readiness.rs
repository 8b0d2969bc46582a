//! When a node is ready: facts seen over SSH, and the rule that turns them into reasons.

use std::fmt;

use async_trait::async_trait;
use domain_kernel::{NodeId, Timestamp};
use jobs::StepContext;
use serde::{Deserialize, Serialize};

use crate::{Node, NodeStatus, NodeTarget, SshError};

macro_rules! reasons {
    ($($variant:ident $text:literal $guidance:literal;)*) => {
        /// Why a node is not ready.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ReasonCode {
            $(#[doc = $guidance] #[serde(rename = $text)] $variant,)*
        }

        impl ReasonCode {
            /// Every code, in the registry's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it means and the next thing to do.
            pub const fn guidance(self) -> &'static str {
                match self { $(Self::$variant => $guidance,)* }
            }
        }
    };
}

reasons! {
    NodeStatusNotActive "node_status_not_active" "The node is not active; sites live on active nodes only.";
    NodeHostMissing "node_host_missing" "The node has no address yet. Its provisioning gives it one; where that did not succeed, retry it.";
    SshPortInvalid "ssh_port_invalid" "The node's SSH port is not valid. Create the node again with a port from 1 to 65535.";
    SshUserMissing "ssh_user_missing" "The node has no SSH user. Create the node again with a login user.";
    NodeUnreachable "node_unreachable" "The machine does not answer SSH. Check that it runs and that its SSH port is open, then provision the node again. Where logins were rejected for long, its fail2ban may have banned this host: `fail2ban-client unban <address>` on the machine lets it in.";
    SshAuthRejected "ssh_auth_rejected" "The machine rejected Pressluft's key. Add the public key from `GET /api/ssh-key` to the login user's authorized_keys, or provision the node again.";
    HostKeyMismatch "host_key_mismatch" "The machine shows another host key than the pinned one. Find out why it changed before you pin the new one.";
    SudoUnavailable "sudo_unavailable" "The login user cannot use sudo without a password. Restore its rule under /etc/sudoers.d on the machine.";
    RuntimeMissing "runtime_missing" "Something that sites need is missing or stopped on the machine. Provision the node again.";
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guidance {
    /// The reason.
    pub reason_code: ReasonCode,
    /// What it means here and the next thing to do.
    pub message: String,
}

/// What one check saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckEvidence {
    /// The check's name.
    pub check: String,
    /// What was run on the machine.
    pub command: String,
    /// Its exit status; `None` where it could not be run.
    pub exit_status: Option<i32>,
    /// The first line of what it said, at most 200 characters.
    pub output: String,
    /// When.
    pub checked_at: Timestamp,
}

/// A part of the runtime and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeCheck {
    /// What it is called for people: `nginx`, `PHP-FPM`, ...
    pub name: String,
    /// Whether it works.
    pub works: bool,
}

/// What a probe saw. Facts only: the rule is [`readiness`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFacts {
    /// How far it came.
    pub result: ProbeResult,
    /// What each check saw.
    pub evidence: Vec<CheckEvidence>,
    /// When.
    pub checked_at: Timestamp,
}

/// How far a probe came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// There was no login, and why.
    NoLogin(SshError),
    /// It logged in.
    LoggedIn {
        /// Whether `sudo -n true` works.
        sudo: bool,
        /// Each part of the runtime.
        runtime: Vec<RuntimeCheck>,
    },
}

/// Looks at a machine over SSH, never in any other way.
#[async_trait]
pub trait ReadinessProbe: Send + Sync {
    /// Logs in and runs the checks. What goes wrong is a fact of the result.
    async fn probe(&self, node_id: NodeId, target: &NodeTarget, context: &StepContext) -> ProbeFacts;
}

/// Whether a node is ready, and why not. Stored and shown as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether there is no reason against it.
    pub is_ready: bool,
    /// The reasons, in the registry's order.
    pub reason_codes: Vec<ReasonCode>,
    /// What to do about each.
    pub guidance: Vec<Guidance>,
    /// What each check saw.
    pub evidence: Vec<CheckEvidence>,
    /// When.
    pub checked_at: Timestamp,
}

/// What to do about a node that is not active.
const fn what_to_do(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Active => "it can be used",
        NodeStatus::Provisioning => "wait for the end of its job",
        NodeStatus::Unreachable => "Pressluft looks again by itself; see that its machine runs, or provision it again",
        NodeStatus::Failed => "see why its last job did not succeed, then retry it, or delete the node",
        NodeStatus::Decommissioning => "it is being deleted",
        NodeStatus::Decommissioned => "it is deleted; use another node",
    }
}

/// The rule: a node is ready when it is `active`, its target is whole, and the probe found login, sudo and the whole
/// runtime. `status` is the status to judge by: a provisioning job asks with `Active` to see whether it may become so.
pub fn readiness(node: &Node, status: NodeStatus, facts: Option<&ProbeFacts>, now: Timestamp) -> Readiness {
    let mut guidance = Vec::new();
    let mut add = |reason_code: ReasonCode, detail: Option<String>| {
        let message = match detail {
            Some(detail) => format!("{} {detail}", reason_code.guidance()),
            None => reason_code.guidance().to_owned(),
        };
        guidance.push(Guidance { reason_code, message });
    };
    if status != NodeStatus::Active {
        let what_to_do = what_to_do(status);
        add(
            ReasonCode::NodeStatusNotActive,
            Some(format!("Its status is {status}: {what_to_do}.")),
        );
    }
    match &node.target {
        None => add(ReasonCode::NodeHostMissing, None),
        Some(target) => {
            if target.hostname.trim().is_empty() {
                add(ReasonCode::NodeHostMissing, None);
            }
            if target.ssh_port == 0 {
                add(ReasonCode::SshPortInvalid, None);
            }
            if target.ssh_user.trim().is_empty() {
                add(ReasonCode::SshUserMissing, None);
            }
        }
    }
    match facts.map(|facts| &facts.result) {
        None => {}
        Some(ProbeResult::NoLogin(error)) => {
            let code = match error {
                SshError::AuthRejected => ReasonCode::SshAuthRejected,
                SshError::HostKeyMismatch => ReasonCode::HostKeyMismatch,
                SshError::Refused
                | SshError::Unreachable(_)
                | SshError::TimedOut(_)
                | SshError::Stopped(_)
                | SshError::Other(_) => ReasonCode::NodeUnreachable,
            };
            add(code, Some(format!("Seen: {error}.")));
        }
        Some(ProbeResult::LoggedIn { sudo, runtime }) => {
            let missing: Vec<_> = runtime
                .iter()
                .filter(|part| !part.works)
                .map(|part| part.name.as_str())
                .collect();
            if !sudo {
                // Without it some parts cannot be looked at, so nothing is said of any.
                add(ReasonCode::SudoUnavailable, None);
            } else if !missing.is_empty() {
                add(
                    ReasonCode::RuntimeMissing,
                    Some(format!("Missing: {}.", missing.join(", "))),
                );
            }
        }
    }
    let reason_codes: Vec<_> = guidance.iter().map(|entry| entry.reason_code).collect();
    Readiness {
        is_ready: reason_codes.is_empty() && facts.is_some(),
        reason_codes,
        guidance,
        evidence: facts.map(|facts| facts.evidence.clone()).unwrap_or_default(),
        checked_at: facts.map_or(now, |facts| facts.checked_at),
    }
}
