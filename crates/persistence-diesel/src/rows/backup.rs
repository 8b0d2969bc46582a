//! Backups.

use diesel::prelude::*;
use domain_kernel::Timestamp;
use sites_domain::{Backup, BackupStatus, NewBackup, StorageId};

use crate::error::DbError;
use crate::rows::read;
use crate::schema::backups;

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = backups, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(crate) struct BackupRow {
    pub(crate) id: String,
    pub(crate) environment_id: String,
    pub(crate) site_id: String,
    pub(crate) scope: String,
    pub(crate) status: String,
    pub(crate) trigger: String,
    pub(crate) storage_type: Option<String>,
    pub(crate) storage_path: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) size_bytes: Option<i64>,
    pub(crate) retention_until: Option<i64>,
    pub(crate) job_id: String,
    pub(crate) created_at: i64,
    pub(crate) completed_at: Option<i64>,
}

impl BackupRow {
    /// A backup that was just asked for.
    pub(crate) fn pending(backup: &NewBackup, now: Timestamp) -> Self {
        Self {
            id: backup.id.to_string(),
            environment_id: backup.environment_id.to_string(),
            site_id: backup.site_id.to_string(),
            scope: backup.scope.as_str().to_owned(),
            status: BackupStatus::Pending.as_str().to_owned(),
            trigger: backup.trigger.as_str().to_owned(),
            storage_type: None,
            storage_path: None,
            checksum: None,
            size_bytes: None,
            retention_until: backup.retention_until.map(Timestamp::as_micros),
            job_id: backup.job_id.to_string(),
            created_at: now.as_micros(),
            completed_at: None,
        }
    }

    pub(crate) fn status(&self) -> Result<BackupStatus, DbError> {
        read("backups.status", &self.status)
    }
}

impl TryFrom<BackupRow> for Backup {
    type Error = DbError;

    fn try_from(row: BackupRow) -> Result<Self, DbError> {
        let size_bytes = row.size_bytes.map(u64::try_from).transpose();
        Ok(Self {
            id: read("backups.id", &row.id)?,
            environment_id: read("backups.environment_id", &row.environment_id)?,
            site_id: read("backups.site_id", &row.site_id)?,
            scope: read("backups.scope", &row.scope)?,
            status: row.status()?,
            trigger: read("backups.trigger", &row.trigger)?,
            storage: row.storage_type.map(StorageId::new),
            storage_path: row.storage_path,
            checksum: row.checksum,
            size_bytes: size_bytes.map_err(|error| DbError::Unknown {
                column: "backups.size_bytes",
                reason: error.to_string(),
            })?,
            retention_until: row.retention_until.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(row.created_at),
            completed_at: row.completed_at.map(Timestamp::from_micros),
        })
    }
}
