//! The reader's side of the queue.

use std::collections::HashMap;

use ::jobs::{
    CancelReply, Event, EventFilter, EventKind, Job, JobCatalog, JobCounts, JobFilter, JobStatus, JobView, Page,
    PageRequest, StepRecord, StoreError,
};
use accounts_domain::AuditAction;
use async_trait::async_trait;
use diesel::dsl::{max, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use domain_kernel::{AccountId, JobId, NodeId, SiteId};
use serde_json::json;

use crate::Database;
use crate::audit_log;
use crate::connection::{AnyBackend, AnyConnection};
use crate::error::DbError;
use crate::event_log;
use crate::rows::{EventRow, JobRow, StepRow};
use crate::schema::{events, job_exclusions, job_steps, jobs};

#[async_trait]
impl JobCatalog for Database {
    async fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let found = self.read(move |connection| {
            let row = find(connection, id)?;
            Ok(with_steps(connection, row.into_iter().collect())?.pop())
        });
        Ok(found.await?)
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<JobView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        let found = self.read(move |connection| {
            let mut query = jobs::table
                .select(JobRow::as_select())
                .order(jobs::id.desc())
                .limit(i64::from(page.limit) + 1)
                .into_boxed::<AnyBackend>();
            if let Some(status) = filter.status {
                query = query.filter(has_status(status));
            }
            if let Some(kind) = filter.kind {
                query = query.filter(jobs::kind.eq(kind.as_str()));
            }
            if let Some(node_id) = filter.node_id {
                query = query.filter(jobs::node_id.eq(node_id.to_string()));
            }
            if let Some(site_id) = filter.site_id {
                query = query.filter(jobs::site_id.eq(site_id.to_string()));
            }
            if let Some(environment_id) = filter.environment_id {
                query = query.filter(jobs::environment_id.eq(environment_id.to_string()));
            }
            if !filter.backup_ids.is_empty() {
                let ids: Vec<_> = filter.backup_ids.iter().map(ToString::to_string).collect();
                query = query.filter(jobs::backup_id.eq_any(ids));
            }
            if let Some(after) = &page.after {
                query = query.filter(jobs::id.lt(after));
            }
            let rows = query.load(connection)?;
            let views = with_steps(connection, rows)?;
            Ok(Page::from_overfull(views, page.limit, |view| view.job.id.to_string()))
        });
        Ok(found.await?)
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let filter = filter.clone();
        let found = self.read(move |connection| {
            let mut query = events::table
                .filter(events::seq.gt(filter.after))
                .order(events::seq)
                .limit(i64::from(filter.limit))
                .select(EventRow::as_select())
                .into_boxed::<AnyBackend>();
            if let Some(job_id) = filter.job_id {
                query = query.filter(events::job_id.eq(job_id.to_string()));
            }
            query.load(connection)?.into_iter().map(Event::try_from).collect()
        });
        Ok(found.await?)
    }

    async fn latest_jobs(&self, node_ids: &[NodeId]) -> Result<Vec<JobView>, StoreError> {
        let node_ids: Vec<String> = node_ids.iter().map(NodeId::to_string).collect();
        let found = self.read(move |connection| {
            let newest: Vec<Option<String>> = jobs::table
                .filter(jobs::node_id.eq_any(node_ids))
                .filter(jobs::site_id.is_null())
                .group_by(jobs::node_id)
                .select(max(jobs::id))
                .load(connection)?;
            let newest: Vec<String> = newest.into_iter().flatten().collect();
            let rows = jobs::table
                .filter(jobs::id.eq_any(newest))
                .order(jobs::id.desc())
                .select(JobRow::as_select())
                .load(connection)?;
            with_steps(connection, rows)
        });
        Ok(found.await?)
    }

    async fn jobs_of_interest(&self, site_ids: &[SiteId]) -> Result<Vec<JobView>, StoreError> {
        let site_ids: Vec<String> = site_ids.iter().map(SiteId::to_string).collect();
        let found = self.read(move |connection| {
            let newest: Vec<(Option<String>, Option<String>)> = jobs::table
                .filter(jobs::site_id.eq_any(&site_ids))
                .group_by(jobs::site_id)
                .select((jobs::site_id, max(jobs::id)))
                .load(connection)?;
            // Of a site, the one that counts most comes last: `queued` is before `running`.
            let open: Vec<(Option<String>, Option<String>)> = jobs::table
                .filter(jobs::site_id.eq_any(&site_ids))
                .filter(has_status(JobStatus::Queued).or(has_status(JobStatus::Running)))
                .order((jobs::status, jobs::id.desc()))
                .select((jobs::site_id, jobs::id.nullable()))
                .load(connection)?;
            let of_sites: HashMap<Option<String>, Option<String>> = newest.into_iter().chain(open).collect();
            let ids: Vec<String> = of_sites.into_values().flatten().collect();
            let rows = jobs::table
                .filter(jobs::id.eq_any(ids))
                .order(jobs::id.desc())
                .select(JobRow::as_select())
                .load(connection)?;
            with_steps(connection, rows)
        });
        Ok(found.await?)
    }

    async fn latest_events(&self, job_id: JobId, limit: u32) -> Result<Vec<Event>, StoreError> {
        let found = self.read(move |connection| {
            let rows: Vec<EventRow> = events::table
                .filter(events::job_id.eq(job_id.to_string()))
                .order(events::seq.desc())
                .limit(i64::from(limit))
                .select(EventRow::as_select())
                .load(connection)?;
            rows.into_iter().rev().map(Event::try_from).collect()
        });
        Ok(found.await?)
    }

    async fn course(&self, job_id: JobId, limit: u32) -> Result<Vec<Event>, StoreError> {
        let found = self.read(move |connection| {
            let rows: Vec<EventRow> = events::table
                .filter(events::job_id.eq(job_id.to_string()))
                .filter(events::kind.ne(EventKind::Log.as_str()))
                .order(events::seq.desc())
                .limit(i64::from(limit))
                .select(EventRow::as_select())
                .load(connection)?;
            rows.into_iter().rev().map(Event::try_from).collect()
        });
        Ok(found.await?)
    }

    async fn holder(&self, job_id: JobId) -> Result<Option<JobView>, StoreError> {
        let found = self.read(move |connection| {
            let job_id = job_id.to_string();
            let keys: Vec<String> = job_exclusions::table
                .filter(job_exclusions::job_id.eq(&job_id))
                .select(job_exclusions::key)
                .load(connection)?;
            let holders: Vec<String> = job_exclusions::table
                .filter(job_exclusions::held)
                .filter(job_exclusions::key.eq_any(keys))
                .filter(job_exclusions::job_id.ne(&job_id))
                .select(job_exclusions::job_id)
                .load(connection)?;
            let row = jobs::table
                .filter(jobs::id.eq_any(holders))
                .order(jobs::id)
                .select(JobRow::as_select())
                .first(connection)
                .optional()?;
            Ok(with_steps(connection, row.into_iter().collect())?.pop())
        });
        Ok(found.await?)
    }

    async fn last_seq(&self) -> Result<i64, StoreError> {
        let last: Option<i64> = self
            .read(|connection| Ok(events::table.select(max(events::seq)).first(connection)?))
            .await?;
        Ok(last.unwrap_or(0))
    }

    async fn counts(&self) -> Result<JobCounts, StoreError> {
        let found = self.read(move |connection| {
            Ok(JobCounts {
                queued: count(connection, JobStatus::Queued)?,
                running: count(connection, JobStatus::Running)?,
            })
        });
        Ok(found.await?)
    }

    async fn request_cancel(&self, id: JobId, by: Option<AccountId>) -> Result<CancelReply, StoreError> {
        let reply = self.write(move |connection, now| {
            let mut row = find(connection, id)?.ok_or(DbError::Refused(StoreError::NotFound("job")))?;
            let status = row.status()?;
            if status.is_terminal() {
                return Ok(CancelReply::AlreadyEnded);
            }
            if row.cancel_requested {
                return Ok(CancelReply::Requested);
            }
            if status == JobStatus::Queued {
                row.run_after = row.run_after.min(now.as_micros());
            }
            diesel::update(jobs::table.find(&row.id))
                .set((
                    jobs::cancel_requested.eq(true),
                    jobs::run_after.eq(row.run_after),
                    jobs::updated_at.eq(now.as_micros()),
                ))
                .execute(connection)?;
            let by = by.map(|id| id.to_string());
            audit_log::job(connection, now, AuditAction::JobCancelRequested, &row, by.as_deref())?;
            event_log::job_status(connection, now, &row, &[("cancel_requested", json!(true))])?;
            Ok(CancelReply::Requested)
        });
        Ok(reply.await?)
    }
}

fn find(connection: &mut AnyConnection, id: JobId) -> Result<Option<JobRow>, DbError> {
    Ok(jobs::table
        .find(id.to_string())
        .select(JobRow::as_select())
        .first(connection)
        .optional()?)
}

/// Jobs of a status. That they have ended, or not, says which index has them.
fn has_status(status: JobStatus) -> SqlLiteral<Bool> {
    let ended = if status.is_terminal() { "IS NOT NULL" } else { "IS NULL" };
    sql::<Bool>(&format!(
        "(jobs.status = '{}' AND jobs.finished_at {ended})",
        status.as_str()
    ))
}

fn count(connection: &mut AnyConnection, status: JobStatus) -> Result<u64, DbError> {
    let count: i64 = jobs::table.filter(has_status(status)).count().get_result(connection)?;
    Ok(count.unsigned_abs())
}

/// Reads the steps of all jobs of a list at once.
pub(crate) fn with_steps(connection: &mut AnyConnection, rows: Vec<JobRow>) -> Result<Vec<JobView>, DbError> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let step_rows: Vec<StepRow> = job_steps::table
        .filter(job_steps::job_id.eq_any(ids))
        .order(job_steps::ordinal)
        .select(StepRow::as_select())
        .load(connection)?;
    let mut steps: HashMap<String, Vec<StepRecord>> = HashMap::new();
    for row in step_rows {
        steps.entry(row.job_id.clone()).or_default().push(row.try_into()?);
    }
    rows.into_iter()
        .map(|row| {
            let steps = steps.remove(&row.id).unwrap_or_default();
            Ok(JobView {
                job: Job::try_from(row)?,
                steps,
            })
        })
        .collect()
}
