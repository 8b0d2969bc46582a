//! The storages that this server keeps backups in.

use std::sync::Arc;

use domain_kernel::JobErrorCode;
use jobs::Failure;
use sites_domain::{Backup, BackupStorage, StorageId};

/// The storages, and which one takes new backups. A backup that is stored stays where it is; there is no second choice.
#[derive(Clone)]
pub struct BackupStorages {
    default: Arc<dyn BackupStorage>,
    others: Vec<Arc<dyn BackupStorage>>,
}

impl BackupStorages {
    /// Storages of which `default` takes new backups.
    pub fn new(default: Arc<dyn BackupStorage>) -> Self {
        Self {
            default,
            others: Vec::new(),
        }
    }

    /// Adds a storage that backups of earlier settings may be in. One with the same id is replaced.
    #[must_use]
    pub fn with(mut self, other: Arc<dyn BackupStorage>) -> Self {
        self.others.retain(|known| known.id() != other.id());
        self.others.push(other);
        self
    }

    /// What takes new backups.
    #[allow(clippy::should_implement_trait, reason = "the default storage, not a default value")]
    pub fn default(&self) -> Arc<dyn BackupStorage> {
        Arc::clone(&self.default)
    }

    /// The storage with an id.
    pub fn get(&self, id: &StorageId) -> Option<Arc<dyn BackupStorage>> {
        let mut all = std::iter::once(&self.default).chain(&self.others);
        all.find(|storage| storage.id() == *id).cloned()
    }

    /// Where a backup is kept, or will be.
    ///
    /// # Errors
    /// `BACKUP_STORAGE_FAILED` where it is in a storage that is no longer configured.
    pub fn of(&self, backup: &Backup) -> Result<Arc<dyn BackupStorage>, Failure> {
        let Some(id) = &backup.storage else {
            return Ok(self.default());
        };
        self.get(id).ok_or_else(|| {
            let detail = format!("The backup is in the storage `{id}`, which this server does not have");
            Failure::new(JobErrorCode::BackupStorageFailed, detail)
        })
    }
}

/// The key of a backup in its storage: the one that it was stored under, else the one that it would be.
pub(crate) fn key_of(backup: &Backup) -> String {
    let (site, environment) = (backup.site_id.short(), backup.environment_id.short());
    let key = || format!("{site}/{environment}/{}.tar.zst", backup.id.short());
    backup.storage_path.clone().unwrap_or_else(key)
}
