//! What is done on a node for sites.

use async_trait::async_trait;
use domain_kernel::{BackupId, NodeId, ShortId};
use jobs::{StepContext, StepError};
use nodes_domain::NodeTarget;

use crate::{Artifact, BackupScope, EnvironmentSecrets, EnvironmentType, StoredObject};

/// Where an environment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentPlace {
    /// Its node.
    pub node_id: NodeId,
    /// That node's machine.
    pub target: NodeTarget,
    /// The site's short id.
    pub site: ShortId,
    /// The environment's short id.
    pub environment: ShortId,
}

impl EnvironmentPlace {
    /// The environment's system user.
    pub fn system_user(&self) -> String {
        format!("pl_{}", self.environment)
    }

    /// The folder of its WordPress, whichever generation and release is live.
    pub fn live(&self) -> String {
        format!("/var/www/sites/{}/{}/current/live", self.site, self.environment)
    }
}

/// An environment that a new one is a copy of. It lives on the same node and in the same site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneSource {
    /// Its short id.
    pub environment: ShortId,
    /// Its preview URL, which is rewritten.
    pub url: String,
}

/// An environment to be made.
#[derive(Debug, Clone)]
pub struct CreateEnvironment {
    /// Where.
    pub place: EnvironmentPlace,
    /// Its preview URL.
    pub url: String,
    /// The title of a new WordPress.
    pub title: String,
    /// What it is for.
    pub environment_type: EnvironmentType,
    /// Its secrets.
    pub secrets: EnvironmentSecrets,
    /// WordPress, on the node already.
    pub wordpress: Artifact,
    /// WP-CLI, on the node already.
    pub wp_cli: Artifact,
    /// What it is a copy of, where it is one.
    pub source: Option<CloneSource>,
    /// Whether it has to be there already. Nothing is made in the place of one that is gone then, which is a failure.
    pub existing: bool,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedEnvironment {
    /// The version of its WordPress.
    pub wordpress_version: String,
    /// Whether anything had to be done; not where it was there already.
    pub changed: bool,
}

/// A backup to be staged on the node.
#[derive(Debug, Clone)]
pub struct StageBackup {
    /// Of what.
    pub place: EnvironmentPlace,
    /// Its preview URL, which a restore rewrites where it has changed.
    pub url: String,
    /// Its id; the staged file is named by it.
    pub backup_id: BackupId,
    /// What it holds.
    pub scope: BackupScope,
    /// Whether a part that is missing (a database that was dropped) is left out and said so in the backup, instead of being a
    /// failure: for what a restore is about to replace.
    pub as_far_as_there: bool,
}

/// A backup on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedBackup {
    /// The file, readable by root.
    pub path: String,
    /// Its bytes.
    pub object: StoredObject,
}

/// A restore.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// Of what.
    pub place: EnvironmentPlace,
    /// Its preview URL.
    pub url: String,
    /// What it is for.
    pub environment_type: EnvironmentType,
    /// Its secrets.
    pub secrets: EnvironmentSecrets,
    /// WP-CLI, on the node already.
    pub wp_cli: Artifact,
    /// The backup.
    pub backup_id: BackupId,
    /// What it holds; the rest is taken from what is live.
    pub scope: BackupScope,
    /// The file on the node.
    pub staged: StagedBackup,
}

/// What becomes of a restore that has switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreEnd {
    /// It is proved: what was live before is removed.
    Keep,
    /// It is not: what was live before is live again, and what was restored is removed.
    RollBack,
}

/// Does the work of sites on nodes. Every method looks first and can be repeated after it was ended at any point. Each
/// fails with one of the `ANSIBLE_*` codes where nothing else is said.
#[async_trait]
pub trait SiteRuntime: Send + Sync {
    /// Makes an environment, or a copy of one.
    ///
    /// # Errors
    /// `WP_CLI_FAILED`, `CLONE_VERIFICATION_FAILED`.
    async fn create(&self, request: &CreateEnvironment, context: &StepContext)
    -> Result<CreatedEnvironment, StepError>;

    /// Removes an environment and everything of it; the site's folder too where `whole_site` says so.
    async fn delete(&self, place: &EnvironmentPlace, whole_site: bool, context: &StepContext) -> Result<(), StepError>;

    /// Writes a backup into a file on the node.
    async fn stage_backup(&self, request: &StageBackup, context: &StepContext) -> Result<StagedBackup, StepError>;

    /// Restores beside what is live, checks it, and switches. Where a check fails, what was live stays live.
    ///
    /// # Errors
    /// `BACKUP_ARTIFACT_INVALID`, `RESTORE_ROLLED_BACK`.
    async fn restore(&self, request: &RestoreRequest, context: &StepContext) -> Result<(), StepError>;

    /// Ends a restore one way or the other. Where none is under way, nothing is done.
    async fn end_restore(
        &self,
        place: &EnvironmentPlace,
        end: RestoreEnd,
        context: &StepContext,
    ) -> Result<(), StepError>;
}
