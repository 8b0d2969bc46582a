//! Looking at jobs, cancelling them, and asking for them again.

use std::sync::Arc;

use domain_kernel::{JobId, NodeId};
use jobs::{CancelReply, Event, EventFilter, JobCatalog, JobFilter, JobKind, JobSignal, JobView, Page, PageRequest};
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
    node_store: Arc<dyn NodeStore>,
    nodes: Arc<NodesService>,
    signal: Arc<dyn JobSignal>,
}

impl JobsService {
    /// The use cases over these adapters.
    pub fn new(
        catalog: Arc<dyn JobCatalog>,
        node_store: Arc<dyn NodeStore>,
        nodes: Arc<NodesService>,
        signal: Arc<dyn JobSignal>,
    ) -> Self {
        Self {
            catalog,
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

    /// Asks for a job to end.
    pub async fn cancel(&self, id: JobId) -> Result<(), UseCaseError> {
        match self.catalog.request_cancel(id).await? {
            CancelReply::Requested => {
                self.signal.cancel(id);
                self.signal.wake();
                Ok(())
            }
            CancelReply::AlreadyEnded => Err(UseCaseError::JobNotCancellable),
        }
    }

    /// Asks for the work of a job that failed or was cancelled once more, as a new job.
    pub async fn retry(&self, id: JobId) -> Result<NodeJob, UseCaseError> {
        let view = self.get(id).await?;
        let status = view.job.status;
        let ended_badly = matches!(status, jobs::JobStatus::Failed | jobs::JobStatus::Cancelled);
        if !ended_badly {
            return Err(UseCaseError::Conflict(format!(
                "The job is {status}; only one that failed or was cancelled can be asked for again."
            )));
        }
        let node_id: NodeId = view.job.node_id.ok_or(UseCaseError::NotFound("node"))?;
        match view.job.kind {
            JobKind::NodeProvision => self.nodes.provision(node_id).await,
            JobKind::NodeDecommission => self.nodes.delete(node_id).await,
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
