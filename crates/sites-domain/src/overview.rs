//! What an operator wants to know first: what needs attention, how much there is, and how the last jobs ended. It spans
//! nodes, sites and jobs, and is read in one moment.

use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::Timestamp;
use jobs::{Job, JobStatus, JobView, StoreError};
use nodes_domain::{Node, NodeName};

use crate::{BackupScope, Environment, Site, SiteName};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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

/// Something that needs attention.
#[derive(Debug, Clone)]
pub struct Troubled<T> {
    /// What it is.
    pub thing: T,
    /// The job that it failed by: the newest one that changes it, where that failed.
    pub failed_job: Option<Job>,
}

/// When the newest backups of an environment were completed that are still stored, by what they hold. A full one holds
/// both. A checkpoint is none of them: it holds what a restore replaced, not what is there since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// One that holds its database.
    pub database: Option<Timestamp>,
    /// One that holds its files.
    pub files: Option<Timestamp>,
}

impl Saved {
    /// Takes into account a backup that was completed at `at`.
    pub fn add(&mut self, scope: BackupScope, at: Timestamp) {
        if matches!(scope, BackupScope::Full | BackupScope::Db) {
            self.database = self.database.max(Some(at));
        }
        if matches!(scope, BackupScope::Full | BackupScope::Files) {
            self.files = self.files.max(Some(at));
        }
    }

    /// From when all of it is saved, if it is.
    pub fn whole(self) -> Option<Timestamp> {
        Some(self.database?.min(self.files?))
    }
}

/// A site whose production environment has no recent backup of all that it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsavedSite {
    /// The site.
    pub site: Site,
    /// What is saved of its production environment.
    pub saved: Saved,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Active nodes.
    pub nodes_active: u64,
    /// Active nodes whose last check found them ready.
    pub nodes_ready: u64,
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

/// From when on a backup counts, and which sites need one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupCut {
    /// A backup completed later than this is a recent one.
    pub backed_up_since: Timestamp,
    /// Sites made later than this need no backup yet.
    pub made_before: Timestamp,
}

impl BackupCut {
    /// As it is at `now`: backups of the last 7 days count, and a site needs one once it is a day old.
    pub fn at(now: Timestamp) -> Self {
        Self {
            backed_up_since: now.minus(DAY * 7),
            made_before: now.minus(DAY),
        }
    }
}

/// How far back an overview looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverviewCut {
    /// Jobs that failed later than this are told.
    pub failed_since: Timestamp,
    /// Which sites need a backup.
    pub backups: BackupCut,
    /// Jobs that ended later than this are counted by the hour.
    pub ended_since: Timestamp,
    /// How many of each kind of things are told at most.
    pub limit: u32,
}

/// What an operator wants to know first.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Nodes that are unreachable or failed, and active ones whose last check found them not ready.
    pub nodes: Counted<Troubled<Node>>,
    /// Jobs on environments that failed, were not made up for, and are not told already by a failed environment or site: a
    /// thing and the job that it failed by are one concern. A node is failed itself by each job of its own that failed. A
    /// failed job stands
    /// - until a later one of its kind on its environment was accepted, cancelled ones left out: that has succeeded, has
    ///   failed and stands in its place, or is at it;
    /// - a backup apart, while its environment is active and was not found to work since, by a job that changes it or by a
    ///   reset.
    pub failed_jobs: Counted<NamedJob>,
    /// Failed sites.
    pub failed_sites: Counted<Troubled<Site>>,
    /// Failed environments of sites that are not failed themselves.
    pub failed_environments: Counted<Troubled<EnvironmentOfSite>>,
    /// Sites whose production environment is active and has no recent backup of all that it consists of.
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
