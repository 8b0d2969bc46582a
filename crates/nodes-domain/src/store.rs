//! What a store must do for nodes. Every change is written against the version or the claim that it was decided on,
//! together with the jobs and events that belong to it, in one transaction.

use async_trait::async_trait;
use domain_kernel::{AccountId, JobId, NodeId, Timestamp};
use jobs::{Claim, NewJob, Outcome, Page, PageRequest, SearchText, StoreError};

use crate::{
    AcquisitionSource, Fingerprint, HostKey, Node, NodeName, NodeStatus, NodeTarget, ProviderId, Readiness, RemoteHost,
};

/// A node to be written.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where it comes from.
    pub source: AcquisitionSource,
    /// The provider that makes it.
    pub provider: ProviderId,
    /// This control-plane host.
    pub host_id: String,
    /// What the operator said of it; remote nodes only.
    pub remote: Option<RemoteHost>,
}

/// An Idempotency-Key with the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is: keys of different accounts never meet.
    pub account_id: AccountId,
    /// The key, 1 to 200 visible ASCII characters.
    pub key: String,
    /// SHA-256 of method, path and body, hexadecimal.
    pub request_hash: String,
}

/// What a creation wrote, or had written when the same key came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedNode {
    /// The node.
    pub node_id: NodeId,
    /// The job that makes it.
    pub job_id: JobId,
    /// Whether an earlier request with the same Idempotency-Key had written it.
    pub replayed: bool,
}

/// What to change of a node; `None` leaves a part as it is.
#[derive(Debug, Clone, Default)]
pub struct NodeChange {
    /// A new status.
    pub status: Option<NodeStatus>,
    /// A new target.
    pub target: Option<NodeTarget>,
    /// A new readiness.
    pub readiness: Option<Readiness>,
    /// The machine answered at this moment.
    pub seen_at: Option<Timestamp>,
}

impl NodeChange {
    /// Only the status.
    pub fn status(status: NodeStatus) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }
}

/// A host key that replaces the pinned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyPin {
    /// The key, as the host shows it.
    pub host_key: HostKey,
    /// Its fingerprint, as the operator gave it.
    pub fingerprint: Fingerprint,
}

/// What a probe found, for a node without a running job.
#[derive(Debug, Clone)]
pub struct ProbeRecord {
    /// The node's status after it.
    pub status: NodeStatus,
    /// Its readiness.
    pub readiness: Readiness,
    /// Failed probes in a row.
    pub probe_failures: u32,
    /// When the machine answered, if it did.
    pub seen_at: Option<Timestamp>,
}

/// Which nodes are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFilter {
    /// The decommissioned ones, too. Where a status is wanted, this says nothing.
    pub include_decommissioned: bool,
    /// Of this status.
    pub status: Option<NodeStatus>,
    /// Whose name, host or address has this part.
    pub search: Option<SearchText>,
    /// Only those that an operator should look at ([`Node::needs_attention`]).
    pub needs_attention: bool,
}

impl NodeFilter {
    /// Whether a node is wanted.
    pub fn fits(&self, node: &Node) -> bool {
        let has_status = match self.status {
            Some(status) => node.status == status,
            None => self.include_decommissioned || node.status != NodeStatus::Decommissioned,
        };
        has_status
            && self.search.as_ref().is_none_or(|search| node.has_text(search))
            && (!self.needs_attention || node.needs_attention())
    }
}

/// What somebody who puts a site on a node has to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBrief {
    /// The node.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where it stands.
    pub status: NodeStatus,
    /// Whether it is active and its last check found it ready.
    pub is_ready: bool,
}

/// How many nodes stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Active ones.
    pub active: u64,
    /// All but the decommissioned ones.
    pub live: u64,
}

/// Refuses addresses that one of these nodes is at already: one machine is one node.
///
/// # Errors
/// [`StoreError::Duplicate`] names the node.
pub fn check_addresses<'a>(nodes: impl IntoIterator<Item = &'a Node>, addresses: &[String]) -> Result<(), StoreError> {
    match nodes.into_iter().find(|node| node.is_at(addresses)) {
        None => Ok(()),
        Some(taken) => Err(StoreError::Duplicate(format!(
            "The node `{}` ({}) is at this address already. One machine is one node.",
            taken.name.as_str(),
            taken.id
        ))),
    }
}

/// Refuses a host key that one of these nodes is pinned to already: two machines never share one, so it is the same machine
/// under another address.
///
/// # Errors
/// [`StoreError::Duplicate`] names the node.
pub fn check_host_key<'a>(nodes: impl IntoIterator<Item = &'a Node>, host_key: &HostKey) -> Result<(), StoreError> {
    match nodes.into_iter().find(|node| node.is_pinned_to(host_key)) {
        None => Ok(()),
        Some(taken) => Err(StoreError::Duplicate(format!(
            "The node `{}` ({}) has this host key already. One machine is one node; a copy of a machine needs host keys of \
             its own (on it: `sudo rm /etc/ssh/ssh_host_*_key*; sudo ssh-keygen -A; sudo systemctl restart ssh`).",
            taken.name.as_str(),
            taken.id
        ))),
    }
}

/// Keeps nodes.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Writes a node (`provisioning`) and its job. With an Idempotency-Key that was used before for the same request,
    /// returns what that one wrote; for another request, [`StoreError::IdempotencyMismatch`]. A remote host that a live
    /// node (any but a decommissioned one) is at already is [`StoreError::Duplicate`].
    async fn create(
        &self,
        node: NewNode,
        job: NewJob,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedNode, StoreError>;

    /// One node.
    async fn node(&self, id: NodeId) -> Result<Option<Node>, StoreError>;

    /// Nodes, newest first.
    async fn nodes(&self, filter: &NodeFilter, page: &PageRequest) -> Result<Page<Node>, StoreError>;

    /// The names of these nodes, and of the `newest` newest that are not decommissioned; newest first.
    async fn node_names(&self, ids: &[NodeId], newest: u32) -> Result<Vec<(NodeId, NodeName)>, StoreError>;

    /// These nodes, and all that are active and were found ready; newest first.
    async fn node_briefs(&self, ids: &[NodeId]) -> Result<Vec<NodeBrief>, StoreError>;

    /// Nodes of this host in one of `statuses` that have no job waiting or running. Here and below, a node's jobs are those
    /// of the node as such: jobs of sites on it are none of them.
    async fn idle_nodes(&self, host_id: &str, statuses: &[NodeStatus]) -> Result<Vec<Node>, StoreError>;

    /// How many there are.
    async fn counts(&self) -> Result<NodeCounts, StoreError>;

    /// Moves a node to `status` and writes the job that does what this means, if the node still has `version`. A job of
    /// the node that waits is cancelled where `cancel_waiting`; otherwise it, like one that runs, is
    /// [`StoreError::NodeBusy`]. A node that environments live on does not become `decommissioning`:
    /// [`StoreError::NodeInUse`].
    async fn enqueue(
        &self,
        id: NodeId,
        version: i64,
        status: NodeStatus,
        job: NewJob,
        cancel_waiting: bool,
    ) -> Result<Node, StoreError>;

    /// Pins a host key of a remote node that the operator knows by its fingerprint, if the node still has `version` and no
    /// job of it waits or runs. A line of the audit log says who did. A key that another live node is pinned to is
    /// [`StoreError::Duplicate`].
    async fn pin_host_key(
        &self,
        id: NodeId,
        version: i64,
        pin: HostKeyPin,
        by: Option<AccountId>,
    ) -> Result<Node, StoreError>;

    /// Changes a node from within its job, fenced by the claim. A target of a remote node at an address that another live
    /// node is at, or with its host key, is [`StoreError::Duplicate`].
    async fn change_in_job(&self, claim: &Claim, id: NodeId, change: NodeChange) -> Result<Node, StoreError>;

    /// Ends a run of a job and changes its node, in one transaction, fenced by the claim.
    async fn settle_job(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        id: NodeId,
        change: NodeChange,
    ) -> Result<(), StoreError>;

    /// Writes what a probe found if the node still has `version` and no job of it waits or runs.
    async fn record_probe(&self, id: NodeId, version: i64, record: ProbeRecord) -> Result<Node, StoreError>;
}
