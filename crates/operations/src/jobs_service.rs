//! Looking at jobs, cancelling them, and asking for them again.

use std::sync::Arc;

use domain_kernel::{AccountId, BackupId, EnvironmentId, JobId, NodeId, SiteId, Timestamp};
use jobs::{
    CancelReply, Event, EventFeed, EventFilter, EventWatch, Job, JobCatalog, JobFilter, JobKind, JobSignal, JobStatus,
    JobView, Page, PageRequest,
};
use nodes_domain::{NodeStatus, NodeStore};

use crate::nodes::{NodeJob, NodesService};
use crate::{SitesService, UseCaseError};

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

/// A job that was accepted in place of one that ended badly, with what it works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetriedJob {
    /// The job.
    pub job_id: JobId,
    /// The node.
    pub node_id: Option<NodeId>,
    /// The site, for a job of a site.
    pub site_id: Option<SiteId>,
    /// The environment, for a job of a site.
    pub environment_id: Option<EnvironmentId>,
    /// The backup that it makes or restores.
    pub backup_id: Option<BackupId>,
}

/// What a job that could be at work waits for.
#[derive(Debug, Clone)]
pub enum Turn {
    /// For the end of this job, which works on the same node or site.
    Job(Box<JobView>),
    /// For a worker; so many jobs are at work.
    Worker {
        /// How many.
        running: u64,
    },
}

impl From<NodeJob> for RetriedJob {
    fn from(NodeJob { job_id, node_id }: NodeJob) -> Self {
        Self {
            job_id,
            node_id: Some(node_id),
            site_id: None,
            environment_id: None,
            backup_id: None,
        }
    }
}

/// The use cases of jobs.
pub struct JobsService {
    catalog: Arc<dyn JobCatalog>,
    feed: Arc<dyn EventFeed>,
    node_store: Arc<dyn NodeStore>,
    nodes: Arc<NodesService>,
    sites: Arc<SitesService>,
    signal: Arc<dyn JobSignal>,
}

impl JobsService {
    /// The use cases over these adapters.
    pub fn new(
        catalog: Arc<dyn JobCatalog>,
        feed: Arc<dyn EventFeed>,
        node_store: Arc<dyn NodeStore>,
        nodes: Arc<NodesService>,
        sites: Arc<SitesService>,
        signal: Arc<dyn JobSignal>,
    ) -> Self {
        Self {
            catalog,
            feed,
            node_store,
            nodes,
            sites,
            signal,
        }
    }

    /// One job.
    pub async fn get(&self, id: JobId) -> Result<JobView, UseCaseError> {
        self.catalog.job(id).await?.ok_or(UseCaseError::NotFound("job"))
    }

    /// What keeps a job from being at work; `None` for one that is at work, has ended, is to end, or whose time has not come:
    /// its next attempt, or the next look for something outside, is later than `now`.
    pub async fn turn(&self, job: &Job, now: Timestamp) -> Result<Option<Turn>, UseCaseError> {
        if job.status != JobStatus::Queued || job.cancel_requested || job.run_after > now {
            return Ok(None);
        }
        Ok(Some(match self.catalog.holder(job.id).await? {
            Some(holder) => Turn::Job(Box::new(holder)),
            None => Turn::Worker {
                running: self.catalog.counts().await?.running,
            },
        }))
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

    /// The job of each of these sites that matters most, of a site that has any: the one at work, else the one that waits
    /// longest, else the newest.
    pub async fn of_interest(&self, sites: &[SiteId]) -> Result<Vec<JobView>, UseCaseError> {
        Ok(self.catalog.jobs_of_interest(sites).await?)
    }

    /// The newest `limit` events of a job, oldest first.
    pub async fn latest_events(&self, id: JobId, limit: u32) -> Result<Vec<Event>, UseCaseError> {
        Ok(self.catalog.latest_events(id, limit).await?)
    }

    /// The newest `limit` events of a job but its log, oldest first: its statuses, steps and tasks.
    pub async fn course(&self, id: JobId, limit: u32) -> Result<Vec<Event>, UseCaseError> {
        Ok(self.catalog.course(id, limit).await?)
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

    /// Asks for the work of a job that failed or was cancelled once more, as a new job. Only for the newest job of a node
    /// or a site: what came after an older one was decided on what that one left.
    pub async fn retry(&self, id: JobId, by: Option<AccountId>) -> Result<RetriedJob, UseCaseError> {
        let JobView { job, .. } = self.get(id).await?;
        let status = job.status;
        let ended_badly = matches!(status, JobStatus::Failed | JobStatus::Cancelled);
        if !ended_badly {
            return Err(UseCaseError::Conflict(format!(
                "The job is {status}; only one that failed or was cancelled can be asked for again."
            )));
        }
        match (job.kind, job.node_id, job.site_id) {
            (JobKind::NodeProvision | JobKind::NodeDecommission, Some(node_id), _) => {
                self.retry_of_node(&job, node_id, by).await
            }
            (
                JobKind::SiteCreate
                | JobKind::SiteDelete
                | JobKind::EnvCreate
                | JobKind::EnvDelete
                | JobKind::EnvRestore
                | JobKind::EnvReaddress
                | JobKind::SiteAbandon
                | JobKind::EnvAbandon
                | JobKind::BackupCreate,
                _,
                Some(site_id),
            ) => self.retry_of_site(&job, site_id, by).await,
            (_, None, _) => Err(UseCaseError::NotFound("node")),
            (_, _, None) => Err(UseCaseError::NotFound("site")),
        }
    }

    /// Whether [`Self::retry`] has a chance: the job ended badly, what it worked on is there, and no later job of it is.
    pub async fn may_retry(&self, job: &Job) -> Result<bool, UseCaseError> {
        if !matches!(job.status, JobStatus::Failed | JobStatus::Cancelled) {
            return Ok(false);
        }
        let newest = match (job.site_id, job.node_id) {
            (Some(site_id), _) => match self.sites.site(site_id).await {
                Ok(_) => self.newest_like(job, site_id).await?,
                Err(UseCaseError::NotFound(_)) => return Ok(false),
                Err(error) => return Err(error),
            },
            (None, Some(node_id)) => {
                let is_gone = self.nodes.get(node_id).await?.status == NodeStatus::Decommissioned;
                match self.catalog.latest_jobs(&[node_id]).await?.pop() {
                    Some(newest) if !is_gone => newest,
                    _ => return Ok(false),
                }
            }
            (None, None) => return Ok(false),
        };
        Ok(newest.job.id == job.id)
    }

    async fn retry_of_node(
        &self,
        job: &Job,
        node_id: NodeId,
        by: Option<AccountId>,
    ) -> Result<RetriedJob, UseCaseError> {
        // Read before the newest job is looked up: a job that comes in between changes the node, and is met below.
        let node = self.nodes.get(node_id).await?;
        let newest = self.catalog.latest_jobs(&[node_id]).await?;
        need_newest(job, newest.first(), "node")?;
        let accepted = if job.kind == JobKind::NodeDecommission {
            self.nodes.delete_as_seen(&node, by).await
        } else {
            self.nodes.provision_as_seen(&node, by).await
        };
        accepted.map(RetriedJob::from)
    }

    async fn retry_of_site(
        &self,
        job: &Job,
        site_id: SiteId,
        by: Option<AccountId>,
    ) -> Result<RetriedJob, UseCaseError> {
        // Read before, as of a node.
        let site = self.sites.site(site_id).await?;
        let newest = self.newest_like(job, site_id).await?;
        need_newest(job, Some(&newest), "environment")?;
        let accepted = self.sites.retry_as_seen(&site, job, by).await?;
        Ok(RetriedJob {
            job_id: accepted.job_id,
            node_id: job.node_id,
            site_id: Some(accepted.site_id),
            environment_id: Some(accepted.environment_id),
            backup_id: accepted.backup_id,
        })
    }

    /// The newest job of the site that what this job was decided on may have been changed by: one of its environment, or the
    /// site's deletion. A backup changes nothing that a job of another kind was decided on.
    async fn newest_like(&self, job: &Job, site_id: SiteId) -> Result<JobView, UseCaseError> {
        let filter = JobFilter {
            site_id: Some(site_id),
            ..JobFilter::default()
        };
        let mut page = PageRequest {
            limit: 100,
            after: None,
        };
        loop {
            let found = self.catalog.jobs(&filter, &page).await?;
            let newest = found.items.into_iter().find(|view| {
                let concerns_all = matches!(view.job.kind, JobKind::SiteDelete | JobKind::SiteAbandon);
                let is_own = view.job.environment_id == job.environment_id && view.job.kind != JobKind::BackupCreate;
                view.job.id == job.id || concerns_all || is_own
            });
            match (newest, found.next) {
                (Some(newest), _) => return Ok(newest),
                (None, Some(next)) => page.after = Some(next),
                (None, None) => return Err(UseCaseError::NotFound("job")),
            }
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
            sites_total: self.sites.site_count().await?,
        })
    }
}

fn need_newest(job: &Job, newest: Option<&JobView>, what: &str) -> Result<(), UseCaseError> {
    match newest {
        Some(newest) if newest.job.id != job.id => Err(UseCaseError::Conflict(format!(
            "Job {} of the {what} is newer; only a {what}'s newest job can be asked for again.",
            newest.job.id
        ))),
        _ => Ok(()),
    }
}
