//! A backup as a row of its environment's list.

use domain_kernel::Timestamp;
use serde::Serialize;
use sites_domain::{Backup, BackupScope, BackupStatus, BackupTrigger};

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
            size: backup.size_bytes.map(size),
            checksum: backup.checksum.clone(),
            when: When::new(backup.completed_at.unwrap_or(backup.created_at), now),
            kept_until: backup.retention_until.map(|until| When::new(until, now)),
            can_restore: backup.status == BackupStatus::Completed && is_resting,
            can_delete: is_over && !is_restoring,
        }
    }
}

impl BackupRow {
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

/// A number of bytes in the largest unit that leaves a whole number, with one more digit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1000, "kB"),
    ];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_units_that_people_know() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (27_262_976, "27.2 MB"),
            (999_999_999, "999.9 MB"),
            (5_300_000_000, "5.3 GB"),
        ] {
            assert_eq!(size(bytes), words);
        }
        assert!(size(u64::MAX).ends_with(" TB"));
    }
}
