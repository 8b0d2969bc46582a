//! A backup of an environment.

use std::time::Duration;

use domain_kernel::{BackupId, EnvironmentId, SiteId, Timestamp};
use jobs::text_enum;
use serde::{Deserialize, Serialize};

use crate::StorageId;

text_enum!(
    /// What a backup holds.
    BackupScope {
        /// The database.
        Db = "db",
        /// Code and uploads.
        Files = "files",
        /// Both: the database of one moment, and every file that it names.
        Full = "full",
    }
);

text_enum!(
    /// Where a backup stands.
    BackupStatus {
        /// Its job waits.
        Pending = "pending",
        /// Its job is at work.
        Running = "running",
        /// Stored, read back and found the same. Only these can be restored.
        Completed = "completed",
        /// Its job failed or was cancelled; nothing is stored.
        Failed = "failed",
        /// Past its retention, or given up by an operator; what was stored is removed or about to be.
        Expired = "expired",
    }
);

impl BackupStatus {
    /// Whether a backup of this status may come to the next.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Running | Self::Failed),
            Self::Running => matches!(next, Self::Running | Self::Completed | Self::Failed),
            Self::Completed => matches!(next, Self::Completed | Self::Expired),
            Self::Failed => matches!(next, Self::Failed | Self::Pending | Self::Running | Self::Expired),
            Self::Expired => matches!(next, Self::Expired),
        }
    }
}

text_enum!(
    /// Who wanted a backup.
    BackupTrigger {
        /// An operator.
        Manual = "manual",
        /// The environment's schedule.
        Scheduled = "scheduled",
        /// A restore, which keeps what it is about to replace.
        Checkpoint = "checkpoint",
    }
);

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its id.
    pub id: BackupId,
    /// The environment that it is of. It can be restored into no other.
    pub environment_id: EnvironmentId,
    /// That environment's site.
    pub site_id: SiteId,
    /// What it holds.
    pub scope: BackupScope,
    /// Where it stands.
    pub status: BackupStatus,
    /// Who wanted it.
    pub trigger: BackupTrigger,
    /// The storage that holds it, or held it. One whose storage is no longer configured cannot be read.
    pub storage: Option<StorageId>,
    /// Its key in that storage.
    pub storage_path: Option<String>,
    /// SHA-256 of what is stored, lower-case hexadecimal.
    pub checksum: Option<String>,
    /// How much is stored.
    pub size_bytes: Option<u64>,
    /// When it expires by itself; never where there is none.
    pub retention_until: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was found complete.
    pub completed_at: Option<Timestamp>,
}

/// When backups of an environment are taken by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSchedule {
    /// Hours from one to the next, 1 to 720.
    pub every_hours: u32,
    /// Days that each is kept, 1 to 3650.
    pub keep_days: u32,
    /// What each holds.
    pub backup_scope: BackupScope,
}

impl BackupSchedule {
    /// From one backup to the next.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.every_hours) * 3600)
    }

    /// How long each is kept.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.keep_days) * 24 * 3600)
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<&'static str> {
        if !(1..=720).contains(&self.every_hours) {
            return Some("`every_hours`: expected 1 to 720");
        }
        if !(1..=3650).contains(&self.keep_days) {
            return Some("`keep_days`: expected 1 to 3650");
        }
        None
    }
}
