//! A node as a row of the list.

use domain_kernel::Timestamp;
use jobs::{Event, JobKind, JobStatus, JobView};
use nodes_domain::{AcquisitionSource, Instance, Node, NodeStatus};
use operations::present_readiness;
use serde::Serialize;

use super::job::JobRow;
use super::text::{Piece, prose};
use super::when::When;

/// A row.
#[derive(Serialize)]
pub(crate) struct NodeRow {
    id: String,
    short_id: String,
    name: String,
    status: NodeStatus,
    status_words: &'static str,
    is_ready: bool,
    reasons: Vec<Reason>,
    source: &'static str,
    provider: String,
    machine: String,
    address: Option<String>,
    last_seen: Option<When>,
    created: When,
    job: Option<JobRow>,
    actions: Actions,
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
    delete: bool,
    /// The job that can be cancelled.
    cancel: Option<String>,
    /// The job that can be asked for again.
    retry: Option<String>,
    retry_words: &'static str,
}

impl NodeRow {
    /// A node with its newest job and that job's newest events.
    pub(crate) fn new(node: &Node, job: Option<(JobView, Vec<Event>)>, now: Timestamp) -> Self {
        let readiness = present_readiness(node, now);
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
            actions: actions(node, job.as_ref().map(|(view, _)| view)),
            job: job.map(|(view, events)| JobRow::new(view, &events, now)),
        }
    }
}

fn status_words(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Provisioning => "Provisioning",
        NodeStatus::Active => "Active",
        NodeStatus::Unreachable => "Unreachable",
        NodeStatus::Failed => "Failed",
        NodeStatus::Decommissioning => "Being deleted",
        NodeStatus::Decommissioned => "Deleted",
    }
}

fn actions(node: &Node, job: Option<&JobView>) -> Actions {
    let job = job.map(|view| &view.job);
    let open = job.filter(|job| !job.status.is_terminal());
    let is_gone = node.status == NodeStatus::Decommissioned;
    let badly_ended = job.filter(|job| matches!(job.status, JobStatus::Failed | JobStatus::Cancelled) && !is_gone);
    // Retrying a failed provisioning is to provision again, and one button for it is enough.
    let retries_provisioning = badly_ended.is_some_and(|job| job.kind == JobKind::NodeProvision);
    let is_provisionable = NodeStatus::PROVISIONABLE.contains(&node.status);
    Actions {
        provision: open.is_none() && is_provisionable && !retries_provisioning,
        // A job that only waits gives way to a deletion, one that runs does not.
        delete: !is_gone
            && open.is_none_or(|job| job.status == JobStatus::Queued && job.kind != JobKind::NodeDecommission),
        cancel: open.filter(|job| !job.cancel_requested).map(|job| job.id.to_string()),
        retry: badly_ended.map(|job| job.id.to_string()),
        retry_words: match badly_ended.map(|job| job.kind) {
            Some(JobKind::NodeDecommission) => "Retry deletion",
            Some(JobKind::NodeProvision) | None => "Retry",
        },
    }
}
