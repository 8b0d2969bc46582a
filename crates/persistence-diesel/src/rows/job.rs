//! Jobs and their steps.

use ::jobs::{Failure, Job, JobStatus, NewJob, StepRecord, StepStatus};
use diesel::prelude::*;
use domain_kernel::{JobErrorCode, JobId, Timestamp};

use crate::error::DbError;
use crate::rows::{read, read_count, read_optional, stored_count};
use crate::schema::{job_steps, jobs};

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = jobs, treat_none_as_default_value = false)]
pub(crate) struct JobRow {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) node_id: Option<String>,
    pub(crate) site_id: Option<String>,
    pub(crate) environment_id: Option<String>,
    pub(crate) attempt_count: i32,
    pub(crate) max_attempts: i32,
    pub(crate) run_after: i64,
    pub(crate) claim_epoch: i64,
    pub(crate) locked_at: Option<i64>,
    pub(crate) locked_by: Option<String>,
    pub(crate) lease_until: Option<i64>,
    pub(crate) lost_workers: i32,
    pub(crate) cancel_requested: bool,
    pub(crate) started_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
    pub(crate) error_code: Option<String>,
    pub(crate) error_detail: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) requested_by: Option<String>,
    pub(crate) log_bytes: i64,
    pub(crate) backup_id: Option<String>,
}

impl JobRow {
    /// A job that waits for its first run.
    pub(crate) fn queued(job: &NewJob, now: Timestamp) -> Self {
        Self {
            id: job.id.to_string(),
            kind: job.kind.as_str().to_owned(),
            status: JobStatus::Queued.as_str().to_owned(),
            node_id: job.node_id.map(|id| id.to_string()),
            site_id: job.site_id.map(|id| id.to_string()),
            environment_id: job.environment_id.map(|id| id.to_string()),
            attempt_count: 1,
            max_attempts: stored_count(job.max_attempts),
            run_after: now.as_micros(),
            claim_epoch: 0,
            locked_at: None,
            locked_by: None,
            lease_until: None,
            lost_workers: 0,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            error_code: None,
            error_detail: None,
            created_at: now.as_micros(),
            updated_at: now.as_micros(),
            requested_by: job.requested_by.map(|id| id.to_string()),
            log_bytes: 0,
            backup_id: job.backup_id.map(|id| id.to_string()),
        }
    }

    pub(crate) fn id(&self) -> Result<JobId, DbError> {
        read("jobs.id", &self.id)
    }

    pub(crate) fn status(&self) -> Result<JobStatus, DbError> {
        read("jobs.status", &self.status)
    }
}

impl TryFrom<JobRow> for Job {
    type Error = DbError;

    fn try_from(row: JobRow) -> Result<Self, DbError> {
        let code: Option<JobErrorCode> = read_optional("jobs.error_code", row.error_code.as_deref())?;
        let detail = row.error_detail.unwrap_or_default();
        Ok(Self {
            id: read("jobs.id", &row.id)?,
            kind: read("jobs.kind", &row.kind)?,
            status: read("jobs.status", &row.status)?,
            node_id: read_optional("jobs.node_id", row.node_id.as_deref())?,
            site_id: read_optional("jobs.site_id", row.site_id.as_deref())?,
            environment_id: read_optional("jobs.environment_id", row.environment_id.as_deref())?,
            backup_id: read_optional("jobs.backup_id", row.backup_id.as_deref())?,
            attempt_count: read_count("jobs.attempt_count", row.attempt_count)?,
            max_attempts: read_count("jobs.max_attempts", row.max_attempts)?,
            requested_by: read_optional("jobs.requested_by", row.requested_by.as_deref())?,
            run_after: Timestamp::from_micros(row.run_after),
            claim_epoch: row.claim_epoch,
            locked_at: row.locked_at.map(Timestamp::from_micros),
            locked_by: row.locked_by,
            lease_until: row.lease_until.map(Timestamp::from_micros),
            lost_workers: read_count("jobs.lost_workers", row.lost_workers)?,
            cancel_requested: row.cancel_requested,
            started_at: row.started_at.map(Timestamp::from_micros),
            finished_at: row.finished_at.map(Timestamp::from_micros),
            error: code.map(|code| Failure { code, detail }),
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
        })
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = job_steps, primary_key(job_id, name))]
#[diesel(treat_none_as_default_value = false, treat_none_as_null = true)]
pub(crate) struct StepRow {
    pub(crate) job_id: String,
    pub(crate) name: String,
    pub(crate) ordinal: i32,
    pub(crate) status: String,
    pub(crate) attempt: i32,
    pub(crate) started_at: i64,
    pub(crate) finished_at: Option<i64>,
    pub(crate) detail: Option<String>,
}

impl StepRow {
    pub(crate) fn status(&self) -> Result<StepStatus, DbError> {
        read("job_steps.status", &self.status)
    }
}

impl TryFrom<StepRow> for StepRecord {
    type Error = DbError;

    fn try_from(row: StepRow) -> Result<Self, DbError> {
        Ok(Self {
            name: row.name,
            status: read("job_steps.status", &row.status)?,
            attempt: read_count("job_steps.attempt", row.attempt)?,
            started_at: Timestamp::from_micros(row.started_at),
            finished_at: row.finished_at.map(Timestamp::from_micros),
            detail: row.detail,
        })
    }
}
