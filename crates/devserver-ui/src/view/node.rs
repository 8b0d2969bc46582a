//! A node, as a row of the list and as what its page begins with.

use domain_kernel::{JobErrorCode, Timestamp};
use jobs::{Job, JobKind, JobStatus};
use nodes_domain::{AcquisitionSource, Instance, Node, NodeStatus, NodeTarget, Readiness, ReasonCode, RemoteHost};
use serde::Serialize;

use super::node_job::{JobFacts, NodeJob};
use super::text::{Piece, prose};
use super::when::When;

/// A node.
#[derive(Serialize)]
pub(crate) struct NodeRow {
    id: String,
    short_id: String,
    name: String,
    status: NodeStatus,
    status_words: &'static str,
    is_gone: bool,
    is_ready: bool,
    reasons: Vec<Reason>,
    source: &'static str,
    provider: String,
    machine: String,
    address: Option<String>,
    /// What is known of the operator's host; remote nodes only.
    remote: Option<RemoteFacts>,
    /// The host key's fingerprint: the pinned one, or the one that the operator gave before the first contact.
    host_key: Option<String>,
    host_key_is_pinned: bool,
    last_seen: Option<When>,
    created: When,
    /// How many environments live on it.
    environments: u64,
    job: Option<NodeJob>,
    actions: Actions,
}

/// A host of the operator's.
#[derive(Serialize)]
struct RemoteFacts {
    host: String,
    port: u16,
    user: String,
    public_ip: Option<String>,
}

/// Why it is not ready, with what to do.
#[derive(Serialize)]
struct Reason {
    code: &'static str,
    message: Vec<Piece>,
}

/// What can be asked of it now.
#[derive(Serialize)]
struct Actions {
    provision: bool,
    /// Whether there is a machine that can be looked at.
    check: bool,
    delete: bool,
    /// Whether a deletion cancels the job that waits.
    delete_cancels: bool,
    /// Whether the machine shows another host key than the pinned one, and the operator may pin it.
    pin: bool,
    /// The job that can be cancelled.
    cancel: Option<String>,
    /// The job that can be asked for again.
    retry: Option<String>,
    retry_words: &'static str,
}

impl NodeRow {
    /// A node that so many environments live on, with its newest job, whose texts may hold `key_line`, a command.
    pub(crate) fn new(
        node: &Node,
        readiness: &Readiness,
        environments: u64,
        job: Option<&JobFacts>,
        key_line: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let pinned = node.target.as_ref().and_then(|target| target.host_key.fingerprint());
        let given = node.remote.as_ref().and_then(|host| host.host_key_fingerprint.clone());
        let actions = actions(node, readiness, job.map(|facts| &facts.view.job));
        let reasons = readiness.guidance.iter().map(|entry| Reason {
            code: entry.reason_code.as_str(),
            message: prose(&entry.message),
        });
        Self {
            id: node.id.to_string(),
            short_id: node.short_id.to_string(),
            name: node.name.as_str().to_owned(),
            status: node.status,
            status_words: status_words(node.status),
            is_gone: node.status == NodeStatus::Decommissioned,
            is_ready: readiness.is_ready,
            reasons: reasons.collect(),
            source: match node.source {
                AcquisitionSource::Local => "Local",
                AcquisitionSource::Remote => "Remote",
            },
            provider: node.provider.as_str().to_owned(),
            machine: Instance::of(node.id).name(),
            address: node.target.as_ref().map(|target| target.hostname.clone()),
            last_seen: node.last_seen_at.map(|at| When::new(at, now)),
            created: When::new(node.created_at, now),
            remote: node
                .remote
                .as_ref()
                .map(|host| remote_facts(host, node.target.as_ref())),
            host_key_is_pinned: pinned.is_some(),
            host_key: pinned.or(given).map(String::from),
            environments,
            actions,
            job: job.map(|facts| NodeJob::new(facts, key_line, now)),
        }
    }
}

/// Whether nodes of this status are listed.
pub(crate) fn is_listed(status: NodeStatus) -> bool {
    status != NodeStatus::Decommissioned
}

pub(super) fn status_words(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Provisioning => "Provisioning",
        NodeStatus::Active => "Active",
        NodeStatus::Unreachable => "Unreachable",
        NodeStatus::Failed => "Failed",
        NodeStatus::Decommissioning => "Being deleted",
        NodeStatus::Decommissioned => "Deleted",
    }
}

/// Its target says how it was reached, the operator's words how it will be.
fn remote_facts(said: &RemoteHost, target: Option<&NodeTarget>) -> RemoteFacts {
    let public_ip = said.public_ip.map(|address| address.to_string());
    match target {
        Some(target) => RemoteFacts {
            host: target.hostname.clone(),
            port: target.ssh_port,
            user: target.ssh_user.clone(),
            public_ip: target.public_ip.map(|address| address.to_string()).or(public_ip),
        },
        None => RemoteFacts {
            host: said.hostname.to_string(),
            port: said.ssh_port,
            user: said.ssh_user.to_string(),
            public_ip,
        },
    }
}

/// Whether its machine was last seen to show another host key than the pinned one, and nothing is at work on it.
fn may_pin(node: &Node, readiness: &Readiness, job: Option<&Job>) -> bool {
    let code = job.and_then(|job| job.error.as_ref()).map(|failure| failure.code);
    let failed_by_it = code == Some(JobErrorCode::SshHostKeyMismatch);
    node.source == AcquisitionSource::Remote
        && node.status != NodeStatus::Decommissioned
        && job.is_none_or(|job| job.status.is_terminal())
        && (failed_by_it || readiness.reason_codes.contains(&ReasonCode::HostKeyMismatch))
}

fn actions(node: &Node, readiness: &Readiness, job: Option<&Job>) -> Actions {
    let open = job.filter(|job| !job.status.is_terminal());
    let is_gone = node.status == NodeStatus::Decommissioned;
    let badly_ended = job.filter(|job| matches!(job.status, JobStatus::Failed | JobStatus::Cancelled) && !is_gone);
    // Retrying a failed provisioning is to provision again, and one button for it is enough.
    let retries_provisioning = badly_ended.is_some_and(|job| job.kind == JobKind::NodeProvision);
    let is_provisionable = NodeStatus::PROVISIONABLE.contains(&node.status);
    let gives_way = |job: &Job| job.status == JobStatus::Queued && job.kind != JobKind::NodeDecommission;
    Actions {
        check: node.target.is_some() && !is_gone,
        pin: may_pin(node, readiness, job),
        provision: open.is_none() && is_provisionable && !retries_provisioning,
        // A job that only waits gives way to a deletion, one that runs does not.
        delete: !is_gone && open.is_none_or(gives_way),
        delete_cancels: open.is_some_and(gives_way),
        cancel: open.filter(|job| !job.cancel_requested).map(|job| job.id.to_string()),
        retry: badly_ended.map(|job| job.id.to_string()),
        retry_words: match badly_ended.map(|job| job.kind) {
            Some(JobKind::NodeDecommission) => "Retry deletion",
            Some(
                JobKind::NodeProvision
                | JobKind::SiteCreate
                | JobKind::SiteDelete
                | JobKind::EnvCreate
                | JobKind::EnvDelete
                | JobKind::EnvRestore
                | JobKind::EnvReaddress
                | JobKind::SiteAbandon
                | JobKind::EnvAbandon
                | JobKind::BackupCreate,
            )
            | None => "Retry",
        },
    }
}
