//! Writes to jobs that several stores share. Each runs inside its caller's transaction.

use ::jobs::{Claim, JobStatus, NewJob, Outcome, StepRecord, StepStatus};
use accounts_domain::AuditAction;
use diesel::prelude::*;
use domain_kernel::Timestamp;
use serde_json::Value;

use crate::audit_log;
use crate::claim::{fenced, free_keys};
use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::event_log;
use crate::rows::{JobRow, StepRow};
use crate::schema::{job_exclusions, job_steps, jobs};

/// The statuses of jobs that have not ended.
pub(crate) const OPEN: [&str; 2] = [JobStatus::Queued.as_str(), JobStatus::Running.as_str()];

pub(crate) fn job_row(connection: &mut AnyConnection, id: &str) -> Result<JobRow, DbError> {
    Ok(jobs::table.find(id).select(JobRow::as_select()).first(connection)?)
}

pub(crate) fn steps_of(connection: &mut AnyConnection, job_id: &str) -> Result<Vec<StepRecord>, DbError> {
    let rows: Vec<StepRow> = job_steps::table
        .filter(job_steps::job_id.eq(job_id))
        .order(job_steps::ordinal)
        .select(StepRow::as_select())
        .load(connection)?;
    rows.into_iter().map(StepRecord::try_from).collect()
}

/// Writes a job that waits for its first run, with the line in the audit log of who asked for it.
pub(crate) fn insert_job(connection: &mut AnyConnection, now: Timestamp, job: &NewJob) -> Result<JobRow, DbError> {
    let row = JobRow::queued(job, now);
    diesel::insert_into(jobs::table).values(&row).execute(connection)?;
    for key in &job.exclusion_keys {
        diesel::insert_into(job_exclusions::table)
            .values((
                job_exclusions::job_id.eq(&row.id),
                job_exclusions::key.eq(key.as_str()),
                job_exclusions::held.eq(false),
            ))
            .execute(connection)?;
    }
    audit_log::job(
        connection,
        now,
        AuditAction::JobRequested,
        &row,
        row.requested_by.as_deref(),
    )?;
    event_log::job_status(connection, now, &row, &[])?;
    Ok(row)
}

/// Writes how a run ended, under its claim. Returns the job as it is now.
pub(crate) fn end_run(
    connection: &mut AnyConnection,
    now: Timestamp,
    claim: &Claim,
    outcome: &Outcome,
) -> Result<JobRow, DbError> {
    let mut row = fenced(connection, claim)?;
    row.status = outcome.status().as_str().to_owned();
    match outcome {
        Outcome::Succeeded | Outcome::Cancelled => (row.error_code, row.error_detail) = (None, None),
        Outcome::Failed(failure) | Outcome::Retry { failure, .. } => {
            row.error_code = Some(failure.code.as_str().to_owned());
            row.error_detail = Some(failure.detail.clone());
        }
        // The last attempt's failure stays on show while the present attempt waits.
        Outcome::Parked { .. } | Outcome::Yielded => {}
    }
    match outcome {
        Outcome::Retry { run_after, .. } => {
            row.attempt_count += 1;
            row.run_after = run_after.as_micros();
            row.log_bytes = 0;
        }
        Outcome::Parked { run_after } => row.run_after = run_after.as_micros(),
        Outcome::Succeeded | Outcome::Failed(_) | Outcome::Cancelled | Outcome::Yielded => {}
    }
    // A cancel that came while the run ended: all that is left to do is end, so it is due at once.
    if row.cancel_requested {
        row.run_after = row.run_after.min(now.as_micros());
    }
    row.lost_workers = 0;
    release(connection, now, &mut row)?;
    event_log::job_status(connection, now, &row, &status_details(&row, outcome)?)?;
    match outcome {
        Outcome::Failed(_) => close_steps(connection, now, &row, StepStatus::Failed)?,
        Outcome::Cancelled => close_steps(connection, now, &row, StepStatus::Cancelled)?,
        Outcome::Succeeded | Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => {}
    }
    Ok(row)
}

fn status_details(row: &JobRow, outcome: &Outcome) -> Result<Vec<(&'static str, Value)>, DbError> {
    let mut details = Vec::new();
    if let Outcome::Failed(failure) | Outcome::Retry { failure, .. } = outcome {
        details.push(("error_code", failure.code.as_str().into()));
    }
    if let Outcome::Retry { .. } | Outcome::Parked { .. } = outcome {
        let run_after = Timestamp::from_micros(row.run_after);
        details.push((
            "run_after",
            serde_json::to_value(run_after).map_err(DbError::Unwritable)?,
        ));
    }
    Ok(details)
}

/// Ends a job that waits, because another, asked for by `by`, takes its place.
pub(crate) fn cancel_waiting(
    connection: &mut AnyConnection,
    now: Timestamp,
    mut row: JobRow,
    by: Option<&str>,
) -> Result<(), DbError> {
    if !row.cancel_requested {
        audit_log::job(connection, now, AuditAction::JobCancelRequested, &row, by)?;
    }
    row.status = JobStatus::Cancelled.as_str().to_owned();
    row.cancel_requested = true;
    release(connection, now, &mut row)?;
    event_log::job_status(connection, now, &row, &[])?;
    close_steps(connection, now, &row, StepStatus::Cancelled)
}

/// Queues a running job again after its worker was lost.
pub(crate) fn requeue_lost(connection: &mut AnyConnection, now: Timestamp, mut row: JobRow) -> Result<(), DbError> {
    row.status = JobStatus::Queued.as_str().to_owned();
    row.lost_workers += 1;
    release(connection, now, &mut row)?;
    event_log::job_status(connection, now, &row, &[("lost_workers", row.lost_workers.into())])
}

/// Stores a job that no worker holds any more.
fn release(connection: &mut AnyConnection, now: Timestamp, row: &mut JobRow) -> Result<(), DbError> {
    let finished = row.status()?.is_terminal();
    row.finished_at = finished.then_some(now.as_micros());
    row.updated_at = now.as_micros();
    (row.locked_at, row.locked_by, row.lease_until) = (None, None, None);
    diesel::update(jobs::table.find(&row.id))
        .set((
            jobs::status.eq(&row.status),
            jobs::attempt_count.eq(row.attempt_count),
            jobs::run_after.eq(row.run_after),
            jobs::locked_at.eq(row.locked_at),
            jobs::locked_by.eq(&row.locked_by),
            jobs::lease_until.eq(row.lease_until),
            jobs::lost_workers.eq(row.lost_workers),
            jobs::log_bytes.eq(row.log_bytes),
            jobs::cancel_requested.eq(row.cancel_requested),
            jobs::finished_at.eq(row.finished_at),
            jobs::error_code.eq(&row.error_code),
            jobs::error_detail.eq(&row.error_detail),
            jobs::updated_at.eq(row.updated_at),
        ))
        .execute(connection)?;
    free_keys(connection, &row.id)
}

/// Ends the steps that the end of their job found open: interrupted by a lost worker, or parked.
fn close_steps(
    connection: &mut AnyConnection,
    now: Timestamp,
    job: &JobRow,
    status: StepStatus,
) -> Result<(), DbError> {
    let open = [StepStatus::Started.as_str(), StepStatus::Parked.as_str()];
    let rows: Vec<StepRow> = job_steps::table
        .filter(job_steps::job_id.eq(&job.id))
        .filter(job_steps::status.eq_any(open))
        .order(job_steps::ordinal)
        .select(StepRow::as_select())
        .load(connection)?;
    for row in rows {
        diesel::update(job_steps::table.find((&row.job_id, &row.name)))
            .set((
                job_steps::status.eq(status.as_str()),
                job_steps::finished_at.eq(now.as_micros()),
            ))
            .execute(connection)?;
        event_log::step(connection, now, job, &row.name, status, row.detail.as_deref())?;
    }
    Ok(())
}
