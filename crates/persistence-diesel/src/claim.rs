//! Who gets which job: the claim, what is due next, and the fence that an old claim meets.

use std::time::Duration;

use ::jobs::{Claim, ClaimedJob, JobStatus, StoreError, WorkerId};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain_kernel::Timestamp;

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::event_log;
use crate::job_writes::{job_row, steps_of};
use crate::rows::JobRow;
use crate::schema::{job_exclusions, jobs};

/// Whether no running job holds a key of `job`. A job that only ends needs no key.
const FREE: &str = "(job.cancel_requested OR NOT EXISTS (
    SELECT 1 FROM job_exclusions AS mine
    JOIN job_exclusions AS other ON other.key = mine.key
    WHERE mine.job_id = job.id AND other.held))";

#[derive(QueryableByName)]
struct ClaimedId {
    #[diesel(sql_type = Text)]
    id: String,
}

/// The statement that claims the oldest runnable job at `$1` for worker `$2` until `$3`. Both databases read it alike:
/// `$n` is numbered in the order of its first use, which is how SQLite counts.
pub(crate) fn statement() -> String {
    format!(
        "UPDATE jobs SET status = 'running', claim_epoch = claim_epoch + 1, locked_at = $1, locked_by = $2,
            lease_until = $3, started_at = COALESCE(started_at, $1), updated_at = $1
        WHERE id = (
            SELECT job.id FROM jobs AS job
            WHERE job.status = 'queued' AND job.run_after <= $1 AND {FREE}
            ORDER BY job.created_at, job.id LIMIT 1)
        RETURNING id"
    )
}

/// Claims the oldest runnable job.
pub(crate) fn claim(
    connection: &mut AnyConnection,
    now: Timestamp,
    worker: &WorkerId,
    lease: Duration,
) -> Result<Option<ClaimedJob>, DbError> {
    let claimed: Option<ClaimedId> = diesel::sql_query(statement())
        .bind::<BigInt, _>(now.as_micros())
        .bind::<Text, _>(worker.as_str())
        .bind::<BigInt, _>(now.plus(lease).as_micros())
        .get_result(connection)
        .optional()?;
    let Some(ClaimedId { id }) = claimed else {
        return Ok(None);
    };
    let row = job_row(connection, &id)?;
    if !row.cancel_requested {
        take_keys(connection, &id)?;
    }
    event_log::job_status(connection, now, &row, &[])?;
    let steps = steps_of(connection, &id)?;
    let epoch = row.claim_epoch;
    let job: ::jobs::Job = row.try_into()?;
    let claim = Claim {
        job_id: job.id,
        epoch,
        worker: worker.clone(),
    };
    Ok(Some(ClaimedJob { job, steps, claim }))
}

fn take_keys(connection: &mut AnyConnection, job_id: &str) -> Result<(), DbError> {
    diesel::update(job_exclusions::table.filter(job_exclusions::job_id.eq(job_id)))
        .set(job_exclusions::held.eq(true))
        .execute(connection)?;
    Ok(())
}

pub(crate) fn free_keys(connection: &mut AnyConnection, job_id: &str) -> Result<(), DbError> {
    diesel::update(job_exclusions::table.filter(job_exclusions::job_id.eq(job_id)))
        .set(job_exclusions::held.eq(false))
        .execute(connection)?;
    Ok(())
}

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Nullable<BigInt>)]
    due: Option<i64>,
}

/// The next moment, later than now, at which there is something to do by the clock alone.
pub(crate) fn next_due(connection: &mut AnyConnection, now: Timestamp) -> Result<Option<Timestamp>, DbError> {
    let statement = "SELECT MIN(due) AS due FROM (
        SELECT MIN(run_after) AS due FROM jobs WHERE status = 'queued' AND run_after > $1
        UNION ALL
        SELECT MIN(lease_until) AS due FROM jobs WHERE status = 'running' AND lease_until > $1) AS moments";
    let found: Due = diesel::sql_query(statement)
        .bind::<BigInt, _>(now.as_micros())
        .get_result(connection)?;
    Ok(found.due.map(Timestamp::from_micros))
}

/// The job of a claim that is still good.
pub(crate) fn fenced(connection: &mut AnyConnection, claim: &Claim) -> Result<JobRow, DbError> {
    let row = jobs::table
        .find(claim.job_id.to_string())
        .filter(jobs::claim_epoch.eq(claim.epoch))
        .filter(jobs::status.eq(JobStatus::Running.as_str()))
        .filter(jobs::locked_by.eq(claim.worker.as_str()))
        .select(JobRow::as_select())
        .first(connection)
        .optional()?;
    row.ok_or(DbError::Refused(StoreError::LostLease))
}
