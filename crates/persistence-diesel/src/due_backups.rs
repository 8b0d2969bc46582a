//! Which backups the clock asks for. The statements name statuses as plain text, so that the databases take the indexes
//! that are made for them.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain_kernel::Timestamp;
use sites_domain::{Backup, BackupSchedule, DueBackups, Environment};

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::rows::{BackupRow, EnvironmentRow, from_json};
use crate::schema::{backups, environments};

/// How many of each kind are told at most.
const AT_ONCE: i64 = 100;

/// Active environments with a schedule of whose scheduled backups none waits or runs, and when the newest was asked for.
const SCHEDULED: &str = r#"SELECT environment.id, environment.backup_schedule,
        (SELECT newest.created_at FROM backups AS newest
            WHERE newest.environment_id = environment.id AND newest."trigger" = 'scheduled'
            ORDER BY newest.id DESC LIMIT 1) AS newest
    FROM environments AS environment
    WHERE environment.backup_schedule IS NOT NULL AND environment.status = 'active'
        AND NOT EXISTS (SELECT 1 FROM backups AS open WHERE open.environment_id = environment.id
            AND open."trigger" = 'scheduled' AND open.status IN ('pending', 'running'))"#;

/// Completed backups past their retention at `$1`, and expired ones of which something is still stored; `$2` at most.
const EXPIRED: &str = "SELECT id FROM (
        SELECT id FROM backups WHERE status = 'completed' AND retention_until <= $1
        UNION ALL
        SELECT id FROM backups WHERE status = 'expired' AND storage_path IS NOT NULL) AS due
    ORDER BY id LIMIT $2";

#[derive(QueryableByName)]
struct Scheduled {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Nullable<Text>)]
    backup_schedule: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    newest: Option<i64>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

pub(crate) fn due(connection: &mut AnyConnection, now: Timestamp) -> Result<DueBackups, DbError> {
    Ok(DueBackups {
        scheduled: scheduled(connection, now)?,
        expired: expired(connection, now)?,
    })
}

/// Those that waited longest first.
fn scheduled(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<Environment>, DbError> {
    let mut due = Vec::new();
    for row in diesel::sql_query(SCHEDULED).load::<Scheduled>(connection)? {
        let schedule: Option<BackupSchedule> =
            from_json("environments.backup_schedule", row.backup_schedule.as_deref())?;
        let Some(schedule) = schedule else { continue };
        let newest = row.newest.map(Timestamp::from_micros);
        if newest.is_none_or(|newest| newest.plus(schedule.interval()) <= now) {
            due.push((row.newest, row.id));
        }
    }
    due.sort();
    due.into_iter()
        .take(AT_ONCE.unsigned_abs() as usize)
        .map(|(_, id)| {
            let row = environments::table.find(id).select(EnvironmentRow::as_select());
            Environment::try_from(row.first(connection)?)
        })
        .collect()
}

fn expired(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<Backup>, DbError> {
    let ids: Vec<Id> = diesel::sql_query(EXPIRED)
        .bind::<BigInt, _>(now.as_micros())
        .bind::<BigInt, _>(AT_ONCE)
        .load(connection)?;
    let ids: Vec<String> = ids.into_iter().map(|row| row.id).collect();
    let rows: Vec<BackupRow> = backups::table
        .filter(backups::id.eq_any(ids))
        .order(backups::id)
        .select(BackupRow::as_select())
        .load(connection)?;
    rows.into_iter().map(Backup::try_from).collect()
}
