//! A job: one piece of work on a machine, accepted by a request and run in the background.

use domain_kernel::{AccountId, BackupId, EnvironmentId, JobId, NodeId, SiteId, Timestamp};

use crate::{Failure, text_enum};

text_enum!(
    /// What a job does. `contracts/job-types.json` is generated from here.
    JobKind {
        /// Acquire a machine, put Pressluft's key on it, provision it and prove it ready.
        NodeProvision = "node_provision",
        /// Give the machine back and forget the node.
        NodeDecommission = "node_decommission",
        /// Make a site's production environment and prove its preview.
        SiteCreate = "site_create",
        /// Remove a site with all its environments and backups.
        SiteDelete = "site_delete",
        /// Make an environment as a copy of another and prove its preview.
        EnvCreate = "env_create",
        /// Remove an environment and its backups.
        EnvDelete = "env_delete",
        /// Bring an environment back to what a backup holds.
        EnvRestore = "env_restore",
        /// Take a backup of an environment and store it.
        BackupCreate = "backup_create",
        /// Give an environment the preview URL that its node's address or the settings now say.
        EnvReaddress = "env_readdress",
        /// Forget a site whose node is gone for good, and remove its backups.
        SiteAbandon = "site_abandon",
        /// Forget an environment whose node is gone for good, and remove its backups.
        EnvAbandon = "env_abandon",
    }
);

impl JobKind {
    /// What it does, as a sentence.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::NodeProvision => {
                "Acquires a machine, puts Pressluft's key on it, provisions it and proves it ready over SSH."
            }
            Self::NodeDecommission => "Gives a node's machine back, leaving nothing behind, and retires the node.",
            Self::SiteCreate => "Makes a site's production environment on a ready node and proves its preview.",
            Self::SiteDelete => "Removes a site with all its environments and backups.",
            Self::EnvCreate => {
                "Makes an environment as a copy of another, rewrites its addresses and proves its preview."
            }
            Self::EnvDelete => "Removes an environment with its backups.",
            Self::EnvRestore => {
                "Keeps a checkpoint of an environment, restores a backup beside it, switches, and proves the preview, or \
                 switches back."
            }
            Self::BackupCreate => "Takes a backup of an environment, stores it, and reads it back.",
            Self::EnvReaddress => {
                "Moves an environment to the preview URL that its node's address or the settings now say, and proves it."
            }
            Self::SiteAbandon => {
                "Forgets a site whose node is gone for good and removes its backups; nothing on the node is touched."
            }
            Self::EnvAbandon => {
                "Forgets an environment whose node is gone for good and removes its backups; nothing on the node is touched."
            }
        }
    }
}

text_enum!(
    /// Where a job stands.
    JobStatus {
        /// Waiting: for a worker, for another job of the same node, or for its next attempt.
        Queued = "queued",
        /// A worker holds it.
        Running = "running",
        /// Ended well; what it promised was proved.
        Succeeded = "succeeded",
        /// Ended with an error code.
        Failed = "failed",
        /// Ended because an operator asked for it.
        Cancelled = "cancelled",
    }
);

impl JobStatus {
    /// Whether nothing more will happen to the job.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Two jobs that share an exclusion key never run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExclusionKey(String);

impl ExclusionKey {
    /// The key of everything that works on a node.
    pub fn node(id: NodeId) -> Self {
        Self(format!("node:{id}"))
    }

    /// The key of everything that works on a site.
    pub fn site(id: SiteId) -> Self {
        Self(format!("site:{id}"))
    }

    /// Its text, as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who runs jobs: one per server process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerId(String);

impl WorkerId {
    /// Names a worker; it is shown as `locked_by`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A job to be written, in the same transaction as the change that needs it.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The node that it works on.
    pub node_id: Option<NodeId>,
    /// The site that it works on.
    pub site_id: Option<SiteId>,
    /// The environment that it works on.
    pub environment_id: Option<EnvironmentId>,
    /// The backup that it makes or restores.
    pub backup_id: Option<BackupId>,
    /// Keys that no other running job may hold meanwhile.
    pub exclusion_keys: Vec<ExclusionKey>,
    /// How many attempts it has in all, the first included.
    pub max_attempts: u32,
    /// Who asked for it; `None` where the system itself or the command line did. A job that somebody asked for is
    /// written with its line in the audit log.
    pub requested_by: Option<AccountId>,
}

impl NewJob {
    /// A job on a node.
    pub fn on_node(kind: JobKind, node_id: NodeId, max_attempts: u32) -> Self {
        Self {
            id: JobId::generate(),
            kind,
            node_id: Some(node_id),
            site_id: None,
            environment_id: None,
            backup_id: None,
            exclusion_keys: vec![ExclusionKey::node(node_id)],
            max_attempts,
            requested_by: None,
        }
    }

    /// A job on an environment of a site, which runs alone on the site and on its node.
    pub fn on_environment(
        kind: JobKind,
        node_id: NodeId,
        site_id: SiteId,
        environment_id: EnvironmentId,
        max_attempts: u32,
    ) -> Self {
        Self {
            site_id: Some(site_id),
            environment_id: Some(environment_id),
            exclusion_keys: vec![ExclusionKey::site(site_id), ExclusionKey::node(node_id)],
            ..Self::on_node(kind, node_id, max_attempts)
        }
    }

    /// The same job, making or restoring a backup.
    pub fn with_backup(self, backup_id: BackupId) -> Self {
        Self {
            backup_id: Some(backup_id),
            ..self
        }
    }

    /// The same job, asked for by an account.
    pub fn requested_by(self, account: Option<AccountId>) -> Self {
        Self {
            requested_by: account,
            ..self
        }
    }
}

/// A job as stored. The row that the API shows is the row that the queue runs.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub status: JobStatus,
    /// The node that it works on.
    pub node_id: Option<NodeId>,
    /// The site that it works on.
    pub site_id: Option<SiteId>,
    /// The environment that it works on.
    pub environment_id: Option<EnvironmentId>,
    /// The backup that it makes or restores.
    pub backup_id: Option<BackupId>,
    /// 1 on the first run; rises only after a retryable failure, not after a lost worker.
    pub attempt_count: u32,
    /// How many attempts it has in all.
    pub max_attempts: u32,
    /// Who asked for it; `None` where the system itself or the command line did, or the account is gone.
    pub requested_by: Option<AccountId>,
    /// A queued job is not started before this moment.
    pub run_after: Timestamp,
    /// Rises with every claim; fences off workers that lost theirs.
    pub claim_epoch: i64,
    /// When the present worker claimed it.
    pub locked_at: Option<Timestamp>,
    /// The worker that holds it.
    pub locked_by: Option<String>,
    /// Until when the worker's claim is good without a heartbeat.
    pub lease_until: Option<Timestamp>,
    /// Workers lost in a row without a step completed between.
    pub lost_workers: u32,
    /// An operator asked for it to end.
    pub cancel_requested: bool,
    /// When it was first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<Failure>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
