//! A node and the states it can be in.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use domain_kernel::{NodeId, ShortId, Timestamp};
use jobs::SearchText;
use serde::{Deserialize, Serialize};

use crate::{HostKey, HostKeyPin, Hostname, Instance, NodeTarget, Readiness, RemoteHost, RemoteMachine};

/// Where a node comes from. Chosen by the operator, never by Pressluft; the one never stands in for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcquisitionSource {
    /// A machine that the configured local provider makes on this host.
    Local,
    /// A host of the operator's, reached by SSH.
    Remote,
}

impl AcquisitionSource {
    /// Its stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

impl FromStr for AcquisitionSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "remote" => Ok(Self::Remote),
            _ => Err("expected `local` or `remote`".to_owned()),
        }
    }
}

/// A provider's id: an open string, so that other crates can add providers. A node keeps the one it was made by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderId(String);

impl ProviderId {
    /// Names a provider.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a node's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node's name has 1 to 100 characters and no control characters")]
pub struct NameError;

/// A name for people: 1 to 100 characters, no control characters. Machines are named by the node's short id instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The name of a node for which none was given.
    pub fn default_for(id: NodeId) -> Self {
        Self(format!("node-{}", id.short()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = text.trim();
        let length = name.chars().count();
        if (1..=100).contains(&length) && !name.chars().any(char::is_control) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl TryFrom<String> for NodeName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// A job acquires and provisions it.
    Provisioning,
    /// Proved ready when last looked at.
    Active,
    /// Was active; does not answer now.
    Unreachable,
    /// Its last job failed. It can be provisioned again or decommissioned.
    Failed,
    /// A job gives its machine back.
    Decommissioning,
    /// Its machine is gone; kept for the record.
    Decommissioned,
}

impl NodeStatus {
    /// Every status.
    pub const ALL: &'static [Self] = &[
        Self::Provisioning,
        Self::Active,
        Self::Unreachable,
        Self::Failed,
        Self::Decommissioning,
        Self::Decommissioned,
    ];

    /// Statuses of nodes that the reconciler probes.
    pub const PROBED: &'static [Self] = &[Self::Active, Self::Unreachable];

    /// Statuses from which a node can be provisioned (again).
    pub const PROVISIONABLE: &'static [Self] = &[Self::Provisioning, Self::Active, Self::Unreachable, Self::Failed];

    /// Its stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::Decommissioning => "decommissioning",
            Self::Decommissioned => "decommissioned",
        }
    }

    /// Whether the state machine knows the way from this status to `next`. A status may always be written again.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Provisioning => matches!(
                next,
                Self::Provisioning | Self::Active | Self::Failed | Self::Decommissioning
            ),
            Self::Active => matches!(
                next,
                Self::Active | Self::Unreachable | Self::Provisioning | Self::Decommissioning
            ),
            Self::Unreachable => matches!(
                next,
                Self::Unreachable | Self::Active | Self::Provisioning | Self::Decommissioning
            ),
            Self::Failed => matches!(next, Self::Failed | Self::Provisioning | Self::Decommissioning),
            Self::Decommissioning => matches!(next, Self::Decommissioning | Self::Decommissioned | Self::Failed),
            Self::Decommissioned => matches!(next, Self::Decommissioned),
        }
    }
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NodeStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|status| status.as_str() == text);
        found.copied().ok_or_else(|| format!("no such node status: {text}"))
    }
}

/// A node as stored.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// The id's short form: its machine is `pressluft-<short id>`.
    pub short_id: ShortId,
    /// Its name for people.
    pub name: NodeName,
    /// Where it comes from.
    pub source: AcquisitionSource,
    /// The provider that it was made by.
    pub provider: ProviderId,
    /// The control-plane host that holds its key and, for local nodes, its machine.
    pub host_id: String,
    /// Where it stands.
    pub status: NodeStatus,
    /// What the operator said of it; remote nodes only.
    pub remote: Option<RemoteHost>,
    /// How to reach it; `None` until it is acquired.
    pub target: Option<NodeTarget>,
    /// The last result of its readiness check.
    pub readiness: Option<Readiness>,
    /// Failed probes in a row (time-outs and refusals only).
    pub probe_failures: u32,
    /// When it last answered a probe.
    pub last_seen_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Rises with every change; changes are written only against the version that they were decided on.
    pub state_version: i64,
}

impl Node {
    /// Takes a pinned host key for the one of its host.
    pub fn pin(&mut self, pin: HostKeyPin) {
        if let Some(host) = &mut self.remote {
            host.host_key_fingerprint = Some(pin.fingerprint);
        }
        if let Some(target) = &mut self.target {
            target.host_key = pin.host_key;
        }
    }

    /// The texts by which its machine and another are known to be one: what the operator said of it, and its target.
    pub fn addresses(&self) -> Vec<String> {
        let said = self.remote.iter().flat_map(RemoteHost::addresses);
        let target = self.target.iter().flat_map(|target| {
            let hostname = target
                .hostname
                .parse()
                .map_or(None, |name: Hostname| Some(name.canonical()));
            hostname.into_iter().chain(target.served_from())
        });
        said.chain(target).collect()
    }

    /// Whether it lives and is at one of these addresses.
    pub fn is_at(&self, addresses: &[String]) -> bool {
        self.status != NodeStatus::Decommissioned && self.addresses().iter().any(|own| addresses.contains(own))
    }

    /// Whether an operator should look at it: it is unreachable or failed, or active and its last check did not find it
    /// ready.
    pub fn needs_attention(&self) -> bool {
        match self.status {
            NodeStatus::Unreachable | NodeStatus::Failed => true,
            NodeStatus::Active => !self.is_ready(),
            NodeStatus::Provisioning | NodeStatus::Decommissioning | NodeStatus::Decommissioned => false,
        }
    }

    /// Whether it is active and its last check found it ready.
    pub fn is_ready(&self) -> bool {
        self.status == NodeStatus::Active && self.readiness.as_ref().is_some_and(|seen| seen.is_ready)
    }

    /// Whether its name, its host or one of its addresses has this part.
    pub fn has_text(&self, search: &SearchText) -> bool {
        let address = |address: Option<IpAddr>| address.map(|address| address.to_string());
        let said = self.remote.as_ref();
        let said_texts = said.map(|host| [Some(host.hostname.to_string()), address(host.public_ip)]);
        let target = self.target.as_ref();
        let target_texts = target.map(|target| [Some(target.hostname.clone()), address(target.public_ip)]);
        let mut texts = said_texts.into_iter().chain(target_texts).flatten().flatten();
        search.is_in(self.name.as_str()) || texts.any(|text| search.is_in(&text))
    }

    /// Whether it lives and its machine is known by this host key.
    pub fn is_pinned_to(&self, host_key: &HostKey) -> bool {
        let pinned = self.target.as_ref().map(|target| &target.host_key);
        self.status != NodeStatus::Decommissioned && pinned == Some(host_key)
    }

    /// Its machine.
    pub fn instance(&self) -> Instance {
        let host_key = || self.target.as_ref().map(|target| target.host_key.clone());
        Instance {
            node_id: self.id,
            acquired: self.target.is_some(),
            remote: self.remote.clone().map(|host| RemoteMachine {
                host,
                host_key: host_key(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decommissioned_node_never_comes_back() {
        for next in NodeStatus::ALL {
            let allowed = NodeStatus::Decommissioned.may_become(*next);
            assert_eq!(allowed, *next == NodeStatus::Decommissioned, "{next}");
        }
    }

    #[test]
    fn a_failed_decommission_can_be_asked_again() {
        assert!(NodeStatus::Decommissioning.may_become(NodeStatus::Failed));
        assert!(NodeStatus::Failed.may_become(NodeStatus::Decommissioning));
    }

    #[test]
    fn names_of_1_and_100_characters_are_taken_and_others_are_not() {
        assert!("x".parse::<NodeName>().is_ok());
        assert!("ä".repeat(100).parse::<NodeName>().is_ok());
        for text in ["", "  ", "a\u{7}b", &"x".repeat(101)] {
            assert_eq!(text.parse::<NodeName>(), Err(NameError), "{text:?}");
        }
    }
}
