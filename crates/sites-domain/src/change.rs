//! Changes to sites, environments and backups, written several at a time in one transaction.

use domain_kernel::{BackupId, EnvironmentId, JobId, NodeId, SiteId, Timestamp};

use crate::{
    BackupSchedule, BackupScope, BackupStatus, BackupTrigger, EnvironmentStatus, EnvironmentType, PromotionPreset,
    SiteName, SiteStatus, Slug, StorageId, StoredObject,
};

/// A site to be written, `creating`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSite {
    /// Its id.
    pub id: SiteId,
    /// Its name.
    pub name: SiteName,
    /// Its slug.
    pub slug: Slug,
    /// Its production environment, written with it.
    pub primary_environment_id: EnvironmentId,
}

/// An environment to be written, `creating` or, where it is a copy, `cloning`. Its node has to be active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnvironment {
    /// Its id.
    pub id: EnvironmentId,
    /// Its site.
    pub site_id: SiteId,
    /// Its name.
    pub name: SiteName,
    /// Its slug.
    pub slug: Slug,
    /// What it is for.
    pub environment_type: EnvironmentType,
    /// Its node.
    pub node_id: NodeId,
    /// What it is a copy of.
    pub source_environment_id: Option<EnvironmentId>,
    /// What a promotion leaves alone.
    pub promotion_preset: Option<PromotionPreset>,
    /// Where it will answer.
    pub preview_url: String,
    /// Its secrets, sealed for [`EnvironmentSecrets::row`](crate::EnvironmentSecrets::row).
    pub sealed_secrets: String,
}

/// A backup to be written, `pending`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBackup {
    /// Its id.
    pub id: BackupId,
    /// Of which environment.
    pub environment_id: EnvironmentId,
    /// That environment's site.
    pub site_id: SiteId,
    /// What it holds.
    pub scope: BackupScope,
    /// Who wanted it.
    pub trigger: BackupTrigger,
    /// When it expires.
    pub retention_until: Option<Timestamp>,
    /// The job that makes it.
    pub job_id: JobId,
}

/// What to change of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupChange {
    /// A new status.
    Status(BackupStatus),
    /// It is complete.
    Completed {
        /// Where it is.
        storage: StorageId,
        /// Under which key.
        path: String,
        /// What is there.
        object: StoredObject,
    },
    /// What was stored of it is gone; it is expired for good.
    Removed,
}

/// One change. A way that a state machine does not know is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new site. Its slug must be free.
    AddSite(NewSite),
    /// A new environment. Its slug must be free in its site.
    AddEnvironment(NewEnvironment),
    /// A new backup. One of a schedule is refused while another of its environment waits or runs.
    AddBackup(NewBackup),
    /// A site's status.
    SiteStatus(SiteId, SiteStatus),
    /// An environment's status. Where it leaves a resting one, that is remembered as its resting status.
    EnvironmentStatus(EnvironmentId, EnvironmentStatus),
    /// Back to the resting status.
    EnvironmentRests(EnvironmentId),
    /// The version of an environment's WordPress.
    WordPressVersion(EnvironmentId, String),
    /// Where an environment answers.
    PreviewUrl(EnvironmentId, String),
    /// An environment's schedule.
    Schedule(EnvironmentId, Option<BackupSchedule>),
    /// A backup.
    Backup(BackupId, BackupChange),
    /// An environment is gone, with its backups' rows.
    RemoveEnvironment(EnvironmentId),
    /// A site is gone, with its environments and their backups' rows.
    RemoveSite(SiteId),
}

/// What a decision was made on; refused where it changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A site's version.
    Site(SiteId, i64),
    /// An environment's version.
    Environment(EnvironmentId, i64),
}
