//! What a store must do for sites. Every change is written against the versions or the claim that it was decided on,
//! together with the job and events that belong to it, in one transaction.

use async_trait::async_trait;
use domain_kernel::{AccountId, BackupId, EnvironmentId, JobId, NodeId, SiteId, Timestamp};
use jobs::{Claim, NewJob, Outcome, Page, PageRequest, SearchText, StoreError};
use nodes_domain::Idempotency;

use crate::{Backup, BackupCut, BackupStatus, Change, Environment, Expected, Site, SiteName, SiteStatus};

/// What a request wrote, or had written when the same key came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedInSite {
    /// The job.
    pub job_id: JobId,
    /// The site.
    pub site_id: SiteId,
    /// The environment.
    pub environment_id: EnvironmentId,
    /// The backup, where the job makes or restores one.
    pub backup_id: Option<BackupId>,
    /// Whether an earlier request with the same Idempotency-Key had written it.
    pub replayed: bool,
}

/// How many environments a node has, of whatever status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLoad {
    /// The node.
    pub node_id: NodeId,
    /// Its environments.
    pub environments: u64,
}

/// Which sites are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteFilter {
    /// Whose name or slug has this part.
    pub search: Option<SearchText>,
    /// Of this status.
    pub status: Option<SiteStatus>,
    /// With an environment on this node.
    pub node_id: Option<NodeId>,
    /// Only those that need a backup, as the overview tells them.
    pub unsaved: Option<BackupCut>,
}

/// Which backups are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupFilter {
    /// Of this environment.
    pub environment_id: Option<EnvironmentId>,
    /// Of any environment of this site.
    pub site_id: Option<SiteId>,
    /// Of this status.
    pub status: Option<BackupStatus>,
    /// Made by this job.
    pub job_id: Option<JobId>,
}

/// What the clock asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueBackups {
    /// Active environments whose schedule wants a backup now: the newest scheduled backup of whatever status is older than
    /// the interval, or there is none, and none waits or runs.
    pub scheduled: Vec<Environment>,
    /// Completed backups past their retention, and expired ones of which something is still stored.
    pub expired: Vec<Backup>,
}

/// Keeps sites, environments and backups.
#[async_trait]
pub trait SiteStore: Send + Sync {
    /// Writes changes and the job that they need. The job has a site and an environment.
    async fn enqueue(
        &self,
        expected: Vec<Expected>,
        changes: Vec<Change>,
        job: NewJob,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedInSite, StoreError>;

    /// Writes changes that need no job. What an account asked for is written to the audit log with it.
    async fn apply(
        &self,
        expected: Vec<Expected>,
        changes: Vec<Change>,
        by: Option<AccountId>,
    ) -> Result<(), StoreError>;

    /// Writes changes from within a running job.
    async fn change_in_job(&self, claim: &Claim, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Writes how a job's run ended and what that means for its site.
    async fn settle_job(&self, claim: &Claim, outcome: &Outcome, changes: Vec<Change>) -> Result<(), StoreError>;

    /// One site.
    async fn site(&self, id: SiteId) -> Result<Option<Site>, StoreError>;

    /// Sites, newest first.
    async fn sites(&self, filter: &SiteFilter, page: &PageRequest) -> Result<Page<Site>, StoreError>;

    /// The names of these sites, and of the `newest` newest; newest first.
    async fn site_names(&self, ids: &[SiteId], newest: u32) -> Result<Vec<(SiteId, SiteName)>, StoreError>;

    /// How many sites there are.
    async fn site_count(&self) -> Result<u64, StoreError>;

    /// One environment.
    async fn environment(&self, id: EnvironmentId) -> Result<Option<Environment>, StoreError>;

    /// The environments of a site, oldest first.
    async fn environments(&self, site_id: SiteId) -> Result<Vec<Environment>, StoreError>;

    /// The environments that live on a node, of whatever status, oldest first.
    async fn environments_on(&self, node_id: NodeId) -> Result<Vec<Environment>, StoreError>;

    /// Those of these environments that are there, oldest first.
    async fn environments_by_ids(&self, ids: &[EnvironmentId]) -> Result<Vec<Environment>, StoreError>;

    /// An environment's sealed secrets.
    async fn sealed_secrets(&self, id: EnvironmentId) -> Result<Option<String>, StoreError>;

    /// Writes to the audit log that an account was shown an environment's WordPress login.
    async fn record_login_shown(&self, id: EnvironmentId, by: AccountId) -> Result<(), StoreError>;

    /// How many environments each node has that has any.
    async fn node_loads(&self) -> Result<Vec<NodeLoad>, StoreError>;

    /// One backup.
    async fn backup(&self, id: BackupId) -> Result<Option<Backup>, StoreError>;

    /// Backups, newest first.
    async fn backups(&self, filter: &BackupFilter, page: &PageRequest) -> Result<Page<Backup>, StoreError>;

    /// When the newest completed backup of each of these environments that has one was completed, checkpoints left out:
    /// they hold what a restore replaced.
    async fn newest_backups(&self, ids: &[EnvironmentId]) -> Result<Vec<(EnvironmentId, Timestamp)>, StoreError>;

    /// What is due at this moment, at most 100 of each: of what has expired, those with a higher id than `after`, by their
    /// ids, so that one that cannot be removed does not hide others.
    async fn due_backups(&self, now: Timestamp, after: Option<BackupId>) -> Result<DueBackups, StoreError>;
}
