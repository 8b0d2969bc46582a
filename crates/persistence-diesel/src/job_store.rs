//! The worker's side of the queue.

use std::time::Duration;

use ::jobs::{
    Admitted, Claim, ClaimedJob, Heartbeat, JobStatus, JobStore, NewEvent, Outcome, Recover, StepStatus, StoreError,
    WorkerId,
};
use async_trait::async_trait;
use diesel::prelude::*;
use domain_kernel::{JobId, Timestamp};

use crate::Database;
use crate::claim::{self, fenced};
use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::event_log::{self, Subject};
use crate::job_writes::{end_run, requeue_lost};
use crate::rows::{JobRow, StepRow, stored_count};
use crate::schema::{job_steps, jobs};

#[async_trait]
impl JobStore for Database {
    async fn claim(&self, worker: &WorkerId, lease: Duration) -> Result<Option<ClaimedJob>, StoreError> {
        let worker = worker.clone();
        Ok(self
            .write(move |connection, now| claim::claim(connection, now, &worker, lease))
            .await?)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.now();
        Ok(self.read(move |connection| claim::next_due(connection, now)).await?)
    }

    async fn heartbeat(&self, claim: &Claim, lease: Duration) -> Result<Heartbeat, StoreError> {
        let claim = claim.clone();
        let beat = self.write(move |connection, now| {
            let row = fenced(connection, &claim)?;
            diesel::update(jobs::table.find(&row.id))
                .set(jobs::lease_until.eq(now.plus(lease).as_micros()))
                .execute(connection)?;
            Ok(Heartbeat {
                cancel_requested: row.cancel_requested,
            })
        });
        Ok(beat.await?)
    }

    async fn step_started(&self, claim: &Claim, ordinal: u32, name: &str) -> Result<(), StoreError> {
        let (claim, name) = (claim.clone(), name.to_owned());
        let written = self.write(move |connection, now| {
            let job = fenced(connection, &claim)?;
            let detail = start_step(connection, now, &job, ordinal, &name)?;
            event_log::step(connection, now, &job, &name, StepStatus::Started, detail.as_deref())
        });
        Ok(written.await?)
    }

    async fn step_finished(
        &self,
        claim: &Claim,
        name: &str,
        status: StepStatus,
        detail: Option<&str>,
    ) -> Result<(), StoreError> {
        let (claim, name, detail) = (claim.clone(), name.to_owned(), detail.map(str::to_owned));
        let written = self.write(move |connection, now| {
            let job = fenced(connection, &claim)?;
            let mut step = step_row(connection, &job, &name)?;
            step.status = status.as_str().to_owned();
            step.detail = detail.or(step.detail);
            step.finished_at = match status {
                StepStatus::Succeeded | StepStatus::Failed | StepStatus::Cancelled => Some(now.as_micros()),
                StepStatus::Started | StepStatus::Parked => None,
            };
            diesel::update(job_steps::table.find((&step.job_id, &step.name)))
                .set((
                    job_steps::status.eq(&step.status),
                    job_steps::finished_at.eq(step.finished_at),
                    job_steps::detail.eq(&step.detail),
                ))
                .execute(connection)?;
            if status == StepStatus::Succeeded {
                diesel::update(jobs::table.find(&job.id))
                    .set(jobs::lost_workers.eq(0))
                    .execute(connection)?;
            }
            event_log::step(connection, now, &job, &name, status, step.detail.as_deref())
        });
        Ok(written.await?)
    }

    async fn step_detail(&self, claim: &Claim, name: &str, detail: &str) -> Result<(), StoreError> {
        let (claim, name, detail) = (claim.clone(), name.to_owned(), detail.to_owned());
        let written = self.write(move |connection, now| {
            let job = fenced(connection, &claim)?;
            let step = step_row(connection, &job, &name)?;
            diesel::update(job_steps::table.find((&step.job_id, &step.name)))
                .set(job_steps::detail.eq(&detail))
                .execute(connection)?;
            event_log::step(connection, now, &job, &name, step.status()?, Some(&detail))
        });
        Ok(written.await?)
    }

    async fn append(&self, claim: &Claim, event: NewEvent) -> Result<(), StoreError> {
        let (claim, limit) = (claim.clone(), self.log_limit());
        let written = self.write(move |connection, now| {
            let job = fenced(connection, &claim)?;
            let before = job.log_bytes.unsigned_abs();
            let Admitted::Kept { event, log_bytes } = limit.admit(before, event) else {
                return Ok(());
            };
            if log_bytes != before {
                diesel::update(jobs::table.find(&job.id))
                    .set(jobs::log_bytes.eq(i64::try_from(log_bytes).unwrap_or(i64::MAX)))
                    .execute(connection)?;
            }
            event_log::append(connection, now, Subject::job(&job), &event)
        });
        Ok(written.await?)
    }

    async fn finish(&self, claim: &Claim, outcome: &Outcome) -> Result<(), StoreError> {
        let (claim, outcome) = (claim.clone(), outcome.clone());
        let written = self.write(move |connection, now| end_run(connection, now, &claim, &outcome).map(drop));
        Ok(written.await?)
    }

    async fn recover(&self, which: Recover) -> Result<Vec<JobId>, StoreError> {
        let recovered = self.write(move |connection, now| {
            let mut ids = Vec::new();
            for row in running_jobs(connection, which, now)? {
                ids.push(row.id()?);
                requeue_lost(connection, now, row)?;
            }
            Ok(ids)
        });
        Ok(recovered.await?)
    }
}

fn running_jobs(connection: &mut AnyConnection, which: Recover, now: Timestamp) -> Result<Vec<JobRow>, DbError> {
    let mut running = jobs::table
        .filter(jobs::status.eq(JobStatus::Running.as_str()))
        .order((jobs::created_at, jobs::id))
        .select(JobRow::as_select())
        .into_boxed();
    if which == Recover::Expired {
        running = running.filter(jobs::lease_until.le(now.as_micros()));
    }
    Ok(running.load(connection)?)
}

/// Writes a step that begins, for the first time or again, and returns its line: one that parked keeps what it waits for
/// on show while it looks again.
fn start_step(
    connection: &mut AnyConnection,
    now: Timestamp,
    job: &JobRow,
    ordinal: u32,
    name: &str,
) -> Result<Option<String>, DbError> {
    let parked: Option<(i64, Option<String>)> = job_steps::table
        .find((&job.id, name))
        .filter(job_steps::status.eq(StepStatus::Parked.as_str()))
        .filter(job_steps::attempt.eq(job.attempt_count))
        .select((job_steps::started_at, job_steps::detail))
        .first(connection)
        .optional()?;
    let (started_at, detail) = parked.unwrap_or((now.as_micros(), None));
    let row = StepRow {
        job_id: job.id.clone(),
        name: name.to_owned(),
        ordinal: stored_count(ordinal),
        status: StepStatus::Started.as_str().to_owned(),
        attempt: job.attempt_count,
        started_at,
        finished_at: None,
        detail,
    };
    let step = job_steps::table.find((&row.job_id, &row.name));
    let again = diesel::update(step).set(&row).execute(connection)?;
    if again == 0 {
        diesel::insert_into(job_steps::table).values(&row).execute(connection)?;
    }
    Ok(row.detail)
}

fn step_row(connection: &mut AnyConnection, job: &JobRow, name: &str) -> Result<StepRow, DbError> {
    let row = job_steps::table
        .find((&job.id, name))
        .select(StepRow::as_select())
        .first(connection)
        .optional()?;
    row.ok_or(DbError::Refused(StoreError::NotFound("step")))
}
