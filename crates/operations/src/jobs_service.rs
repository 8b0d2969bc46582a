//! Looking at jobs, cancelling them, and asking for them again.

use std::sync::Arc;

use domain_kernel::{AccountId, JobId, NodeId};
use jobs::{
    CancelReply, Event, EventFeed, EventFilter, EventWatch, JobCatalog, JobFilter, JobKind, JobSignal, JobView, Page,
    PageRequest,
};
use nodes_domain::NodeStore;

use crate::UseCaseError;
use crate::nodes::{NodeJob, NodesService};

/// Numbers for a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Jobs at work.
    pub jobs_running: u64,
    /// Jobs that wait.
    pub jobs_queued: u64,
    /// Active nodes.
    pub nodes_active: u64,
    /// Sites.
    pub sites_total: u64,
}

/// The use cases of jobs.
pub struct JobsService {
    catalog: Arc<dyn JobCatalog>,
    feed: Arc<dyn EventFeed>,
    node_store: Arc<dyn NodeStore>,
    nodes: Arc<NodesService>,
    signal: Arc<dyn JobSignal>,
}

impl JobsService {
    /// The use cases over these adapters.
    pub fn new(
        catalog: Arc<dyn JobCatalog>,
        feed: Arc<dyn EventFeed>,
        node_store: Arc<dyn NodeStore>,
        nodes: Arc<NodesService>,
        signal: Arc<dyn JobSignal>,
    ) -> Self {
        Self {
            catalog,
            feed,
            node_store,
            nodes,
            signal,
        }
    }

    /// One job.
    pub async fn get(&self, id: JobId) -> Result<JobView, UseCaseError> {
        self.catalog.job(id).await?.ok_or(UseCaseError::NotFound("job"))
    }

    /// Jobs, newest first.
    pub async fn list(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<JobView>, UseCaseError> {
        Ok(self.catalog.jobs(filter, page).await?)
    }

    /// Events, oldest first.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, UseCaseError> {
        Ok(self.catalog.events(filter).await?)
    }

    /// The newest job of each of these nodes that has one.
    pub async fn latest_of(&self, nodes: &[NodeId]) -> Result<Vec<JobView>, UseCaseError> {
        Ok(self.catalog.latest_jobs(nodes).await?)
    }

    /// The newest `limit` events of a job, oldest first.
    pub async fn latest_events(&self, id: JobId, limit: u32) -> Result<Vec<Event>, UseCaseError> {
        Ok(self.catalog.latest_events(id, limit).await?)
    }

    /// The highest number of an event so far. A reader that takes it first, then reads what it shows, and then follows
    /// the events after that number misses nothing.
    pub async fn last_seq(&self) -> Result<i64, UseCaseError> {
        Ok(self.catalog.last_seq().await?)
    }

    /// Watches for new events.
    pub fn watch_events(&self) -> Box<dyn EventWatch> {
        self.feed.watch()
    }

    /// Asks for a job to end. `by` is who asks, `None` for the system itself.
    pub async fn cancel(&self, id: JobId, by: Option<AccountId>) -> Result<(), UseCaseError> {
        match self.catalog.request_cancel(id, by).await? {
            CancelReply::Requested => {
                self.signal.cancel(id);
                self.signal.wake();
                Ok(())
            }
            CancelReply::AlreadyEnded => Err(UseCaseError::JobNotCancellable),
        }
    }

    /// Asks for the work of a job that failed or was cancelled once more, as a new job. Only for a node's newest job:
    /// what came after an older one was decided on what that one left.
    pub async fn retry(&self, id: JobId, by: Option<AccountId>) -> Result<NodeJob, UseCaseError> {
        let view = self.get(id).await?;
        let status = view.job.status;
        let ended_badly = matches!(status, jobs::JobStatus::Failed | jobs::JobStatus::Cancelled);
        if !ended_badly {
            return Err(UseCaseError::Conflict(format!(
                "The job is {status}; only one that failed or was cancelled can be asked for again."
            )));
        }
        let node_id: NodeId = view.job.node_id.ok_or(UseCaseError::NotFound("node"))?;
        // Read before the newest job is looked up: a job that comes in between changes the node, and is met below.
        let node = self.nodes.get(node_id).await?;
        let newest = self.catalog.latest_jobs(&[node_id]).await?;
        if let Some(newest) = newest.iter().find(|newest| newest.job.id != id) {
            return Err(UseCaseError::Conflict(format!(
                "Job {} of the node is newer; only a node's newest job can be asked for again.",
                newest.job.id
            )));
        }
        match view.job.kind {
            JobKind::NodeProvision => self.nodes.provision_as_seen(&node, by).await,
            JobKind::NodeDecommission => self.nodes.delete_as_seen(&node, by).await,
        }
    }

    /// Numbers for a glance.
    pub async fn metrics(&self) -> Result<Metrics, UseCaseError> {
        let jobs = self.catalog.counts().await?;
        let nodes = self.node_store.counts().await?;
        Ok(Metrics {
            jobs_running: jobs.running,
            jobs_queued: jobs.queued,
            nodes_active: nodes.active,
            sites_total: 0,
        })
    }
}
