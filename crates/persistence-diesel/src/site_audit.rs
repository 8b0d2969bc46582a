//! The lines of the audit log about sites that no job stands for.

use accounts_domain::{AuditAction, AuditSubjectKind};
use domain_kernel::Timestamp;
use serde_json::{Value, json};
use sites_domain::{BackupChange, BackupStatus, Change};

use crate::audit_log::{self, NewLine};
use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::rows::EnvironmentRow;
use crate::site_writes::{backup_row, environment_row, site_row};

/// Writes what an account changed without a job. A reset is one line for each environment, or for the first of a site that
/// is reset alone.
pub(crate) fn changes(
    connection: &mut AnyConnection,
    now: Timestamp,
    by: &str,
    changes: &[Change],
) -> Result<(), DbError> {
    let mut reset = Vec::new();
    let mut reset_sites = Vec::new();
    for change in changes {
        match change {
            Change::EnvironmentStatus(id, _) | Change::EnvironmentRests(id) => reset.push(id.to_string()),
            Change::SiteStatus(id, _) => reset_sites.push(*id),
            Change::Schedule(id, schedule) => {
                let row = environment_row(connection, &id.to_string())?;
                let more = ("backup_schedule", json!(schedule));
                environment(connection, now, by, AuditAction::BackupScheduled, &row, Some(more))?;
            }
            Change::Backup(id, BackupChange::Status(BackupStatus::Expired) | BackupChange::Removed) => {
                let row = backup_row(connection, *id)?;
                let line = NewLine {
                    account_id: Some(by),
                    subject: Some((AuditSubjectKind::Backup, &row.id)),
                    detail: Some(json!({"site_id": row.site_id, "environment_id": row.environment_id})),
                    ..NewLine::default()
                };
                audit_log::write(connection, now, AuditAction::BackupExpired, line)?;
            }
            Change::AddSite(_)
            | Change::AddEnvironment(_)
            | Change::AddBackup(_)
            | Change::WordPressVersion(..)
            | Change::PreviewUrl(..)
            | Change::Backup(..)
            | Change::RemoveEnvironment(_)
            | Change::RemoveSite(_) => {}
        }
    }
    if reset.is_empty() {
        for id in reset_sites {
            reset.push(site_row(connection, id)?.primary_environment_id);
        }
    }
    for id in reset {
        let row = environment_row(connection, &id)?;
        environment(connection, now, by, AuditAction::Reset, &row, None)?;
    }
    Ok(())
}

/// Writes what an account did to an environment, with `{"site_id", ...}`.
pub(crate) fn environment(
    connection: &mut AnyConnection,
    now: Timestamp,
    by: &str,
    action: AuditAction,
    row: &EnvironmentRow,
    more: Option<(&str, Value)>,
) -> Result<(), DbError> {
    let mut detail = json!({"site_id": row.site_id});
    if let Some((name, value)) = more {
        detail[name] = value;
    }
    let line = NewLine {
        account_id: Some(by),
        subject: Some((AuditSubjectKind::Environment, &row.id)),
        detail: Some(detail),
        ..NewLine::default()
    };
    audit_log::write(connection, now, action, line)
}
