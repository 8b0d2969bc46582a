//! What an operator wants to know first: what needs attention, how much there is, and how the last jobs ended. It spans
//! nodes, sites and jobs, and is read in one moment.

use async_trait::async_trait;
use domain_kernel::Timestamp;
use jobs::{JobStatus, JobView, StoreError};
use nodes_domain::{Node, NodeName};

use crate::{Environment, Site, SiteName};

/// The first of some things, newest first, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<T> {
    /// The first ones.
    pub items: Vec<T>,
    /// All of them.
    pub count: u64,
}

impl<T> Counted<T> {
    /// Of nothing.
    pub const fn none() -> Self {
        Self {
            items: Vec::new(),
            count: 0,
        }
    }
}

/// A job with the names of what it works on, as far as that is still there.
#[derive(Debug, Clone)]
pub struct NamedJob {
    /// The job.
    pub view: JobView,
    /// Its node's name.
    pub node: Option<NodeName>,
    /// Its site's name.
    pub site: Option<SiteName>,
    /// Its environment's name.
    pub environment: Option<SiteName>,
}

/// An environment and the site that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentOfSite {
    /// The environment.
    pub environment: Environment,
    /// Its site's name.
    pub site: SiteName,
}

/// A site whose production environment has no recent backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsavedSite {
    /// The site.
    pub site: Site,
    /// When the newest backup of its production environment that is still stored was completed.
    pub newest_backup: Option<Timestamp>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Active nodes.
    pub nodes_active: u64,
    /// Nodes, the decommissioned ones left out.
    pub nodes: u64,
    /// Sites.
    pub sites: u64,
    /// Environments.
    pub environments: u64,
    /// Jobs at work.
    pub jobs_running: u64,
    /// Jobs that wait.
    pub jobs_queued: u64,
    /// Completed backups.
    pub backups: u64,
    /// What is stored of them, in bytes.
    pub backup_bytes: u64,
}

/// How many jobs ended in one way within an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedJobs {
    /// When the hour began: a full hour in UTC.
    pub hour: Timestamp,
    /// How they ended.
    pub status: JobStatus,
    /// How many.
    pub jobs: u64,
}

/// How far back an overview looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverviewCut {
    /// Jobs that failed later than this are told.
    pub failed_since: Timestamp,
    /// A backup completed later than this is a recent one.
    pub backed_up_since: Timestamp,
    /// Sites made later than this need no backup yet.
    pub made_before: Timestamp,
    /// Jobs that ended later than this are counted by the hour.
    pub ended_since: Timestamp,
    /// How many of each kind of things are told at most.
    pub limit: u32,
}

/// What an operator wants to know first.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Nodes that are unreachable or failed, and active ones whose last check found them not ready.
    pub nodes: Counted<Node>,
    /// Jobs that failed and were not made up for. A failed job stands as long as what it worked on is there and no later
    /// job of its kind on the same thing (its environment, or its node where it has none) was accepted, cancelled ones left
    /// out: a later one has succeeded, has failed and stands in its place, or is at it.
    pub failed_jobs: Counted<NamedJob>,
    /// Failed sites.
    pub failed_sites: Counted<Site>,
    /// Failed environments of sites that are not failed themselves.
    pub failed_environments: Counted<EnvironmentOfSite>,
    /// Sites whose production environment is active and has no recent backup.
    pub unsaved_sites: Counted<UnsavedSite>,
    /// Jobs at work.
    pub running_jobs: Counted<NamedJob>,
    /// How many there are.
    pub totals: Totals,
    /// Hours in which jobs ended, oldest first.
    pub ended: Vec<EndedJobs>,
}

/// Reads an overview.
#[async_trait]
pub trait OverviewStore: Send + Sync {
    /// How things stand in one moment.
    async fn overview(&self, cut: OverviewCut) -> Result<Overview, StoreError>;
}
