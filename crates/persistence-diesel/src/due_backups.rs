//! Which backups the clock asks for. The statements name statuses as plain text, so that the databases take the indexes
//! that are made for them.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain_kernel::{BackupId, Timestamp};
use sites_domain::{Backup, BackupSchedule, DueBackups, Environment};

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::rows::{BackupRow, EnvironmentRow, from_json};
use crate::schema::{backups, environments};

/// How many of each kind are told at most.
const AT_ONCE: i64 = 100;

/// How far ahead of this clock another server's may be. What was asked for later than that was asked for by a clock that
/// was wrong, and must not keep a schedule waiting until that time has come.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// Active environments with a schedule of whose scheduled backups none waits or runs, and when the newest was asked for,
/// but those asked for later than `$1`.
const SCHEDULED: &str = r#"SELECT environment.id, environment.backup_schedule,
        (SELECT newest.created_at FROM backups AS newest
            WHERE newest.environment_id = environment.id AND newest."trigger" = 'scheduled'
                AND newest.created_at <= $1
            ORDER BY newest.id DESC LIMIT 1) AS newest
    FROM environments AS environment
    WHERE environment.backup_schedule IS NOT NULL AND environment.status = 'active'
        AND NOT EXISTS (SELECT 1 FROM backups AS open WHERE open.environment_id = environment.id
            AND open."trigger" = 'scheduled' AND open.status IN ('pending', 'running'))"#;

/// Completed backups past their retention at `$1`, and expired ones of which something is still stored; those after `$2`, `$3` at
/// most.
const EXPIRED: &str = "SELECT id FROM (
        SELECT id FROM backups WHERE status = 'completed' AND retention_until <= $1
        UNION ALL
        SELECT id FROM backups WHERE status = 'expired' AND storage_path IS NOT NULL) AS due
    WHERE id > $2 ORDER BY id LIMIT $3";

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

pub(crate) fn due(
    connection: &mut AnyConnection,
    now: Timestamp,
    after: Option<BackupId>,
) -> Result<DueBackups, DbError> {
    Ok(DueBackups {
        scheduled: scheduled(connection, now)?,
        expired: expired(connection, now, after)?,
    })
}

/// Those that waited longest first.
fn scheduled(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<Environment>, DbError> {
    let mut due = Vec::new();
    let rows = diesel::sql_query(SCHEDULED).bind::<BigInt, _>(now.plus(CLOCKS_DIFFER).as_micros());
    for row in rows.load::<Scheduled>(connection)? {
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

fn expired(connection: &mut AnyConnection, now: Timestamp, after: Option<BackupId>) -> Result<Vec<Backup>, DbError> {
    // Every id is after the empty text.
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let ids: Vec<Id> = diesel::sql_query(EXPIRED)
        .bind::<BigInt, _>(now.as_micros())
        .bind::<Text, _>(after)
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
