//! A backup as a row of its environment's list.

use domain_kernel::Timestamp;
use serde::Serialize;
use sites_domain::{Backup, BackupScope, BackupStatus, BackupTrigger, size_words};

use super::job_link::JobLink;
use super::when::When;

/// A row.
#[derive(Serialize)]
pub(crate) struct BackupRow {
    id: String,
    short_id: String,
    scope: BackupScope,
    scope_words: &'static str,
    status: BackupStatus,
    status_words: &'static str,
    trigger_words: &'static str,
    size: Option<String>,
    checksum: Option<String>,
    when: When,
    /// When it expires by itself.
    kept_until: Option<When>,
    can_restore: bool,
    can_delete: bool,
    /// The job that makes it, or failed to.
    job: Option<JobLink>,
}

impl BackupRow {
    /// A backup; `is_resting` tells whether nothing works on its site and its environment.
    pub(crate) fn new(backup: &Backup, is_resting: bool, is_restoring: bool, now: Timestamp) -> Self {
        let is_over = matches!(backup.status, BackupStatus::Completed | BackupStatus::Failed);
        Self {
            id: backup.id.to_string(),
            short_id: backup.id.short().to_string(),
            scope: backup.scope,
            scope_words: scope_words(backup.scope),
            status: backup.status,
            status_words: status_words(backup.status),
            trigger_words: match backup.trigger {
                BackupTrigger::Manual => "by an operator",
                BackupTrigger::Scheduled => "by schedule",
                BackupTrigger::Checkpoint => "before a restore",
            },
            size: backup.size_bytes.map(size_words),
            checksum: backup.checksum.clone(),
            when: When::new(backup.completed_at.unwrap_or(backup.created_at), now),
            kept_until: backup.retention_until.map(|until| When::new(until, now)),
            can_restore: backup.status == BackupStatus::Completed && is_resting,
            can_delete: is_over && !is_restoring,
            job: None,
        }
    }

    /// The same with the job that makes it, or failed to.
    pub(crate) fn made_by(self, job: Option<JobLink>) -> Self {
        Self { job, ..self }
    }

    /// Its id, as in addresses.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// What a backup holds.
pub(crate) const fn scope_words(scope: BackupScope) -> &'static str {
    match scope {
        BackupScope::Full => "Database and files",
        BackupScope::Db => "Database only",
        BackupScope::Files => "Files only",
    }
}

const fn status_words(status: BackupStatus) -> &'static str {
    match status {
        BackupStatus::Pending => "Waiting",
        BackupStatus::Running => "Being taken",
        BackupStatus::Completed => "Complete",
        BackupStatus::Failed => "Failed",
        BackupStatus::Expired => "Expired",
    }
}
