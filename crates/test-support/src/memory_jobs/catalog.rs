//! The reader's side of jobs in memory.

use async_trait::async_trait;
use domain_kernel::{AccountId, JobId, NodeId, SiteId};
use jobs::{
    CancelReply, Event, EventFeed, EventFilter, EventKind, EventWatch, JobCatalog, JobCounts, JobFilter, JobStatus,
    JobView, Page, PageRequest, StoreError,
};
use tokio::sync::watch;

use super::{MemoryJobs, Row};

#[async_trait]
impl JobCatalog for MemoryJobs {
    async fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        Ok(self.table().rows.iter().find(|row| row.job.id == id).map(Row::view))
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<JobView>, StoreError> {
        let table = self.table();
        let mut found: Vec<JobView> = table
            .rows
            .iter()
            .filter(|row| filter.status.is_none_or(|status| row.job.status == status))
            .filter(|row| filter.kind.is_none_or(|kind| row.job.kind == kind))
            .filter(|row| filter.node_id.is_none_or(|node| row.job.node_id == Some(node)))
            .filter(|row| filter.site_id.is_none_or(|site| row.job.site_id == Some(site)))
            .filter(|row| filter.environment_id.is_none() || row.job.environment_id == filter.environment_id)
            .filter(|row| {
                filter.backup_ids.is_empty() || filter.backup_ids.iter().any(|id| row.job.backup_id == Some(*id))
            })
            .filter(|row| page.after.as_ref().is_none_or(|after| row.job.id.to_string() < *after))
            .map(Row::view)
            .collect();
        found.sort_by_key(|view| std::cmp::Reverse(view.job.id));
        Ok(Page::from_overfull(found, page.limit, |view| view.job.id.to_string()))
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let table = self.table();
        let later = table.events.iter().filter(|event| event.seq > filter.after);
        let wanted = later.filter(|event| filter.job_id.is_none() || event.job_id == filter.job_id);
        Ok(wanted.take(filter.limit as usize).cloned().collect())
    }

    async fn latest_jobs(&self, node_ids: &[NodeId]) -> Result<Vec<JobView>, StoreError> {
        let table = self.table();
        let newest = |node: &NodeId| {
            let of_node = table.rows.iter().filter(|row| row.works_on(*node));
            of_node.max_by_key(|row| row.job.id).map(Row::view)
        };
        Ok(node_ids.iter().filter_map(newest).collect())
    }

    async fn jobs_of_interest(&self, site_ids: &[SiteId]) -> Result<Vec<JobView>, StoreError> {
        let table = self.table();
        let of_interest = |site: &SiteId| {
            let of_site = || table.rows.iter().filter(|row| row.job.site_id == Some(*site));
            let oldest = |status| {
                let of_status = of_site().filter(|row| row.job.status == status);
                of_status.min_by_key(|row| row.job.id)
            };
            let open = oldest(JobStatus::Running).or_else(|| oldest(JobStatus::Queued));
            open.or_else(|| of_site().max_by_key(|row| row.job.id)).map(Row::view)
        };
        Ok(site_ids.iter().filter_map(of_interest).collect())
    }

    async fn latest_events(&self, job_id: JobId, limit: u32) -> Result<Vec<Event>, StoreError> {
        let table = self.table();
        let of_job: Vec<_> = table
            .events
            .iter()
            .filter(|event| event.job_id == Some(job_id))
            .collect();
        let skipped = of_job.len().saturating_sub(limit as usize);
        Ok(of_job.into_iter().skip(skipped).cloned().collect())
    }

    async fn course(&self, job_id: JobId, limit: u32) -> Result<Vec<Event>, StoreError> {
        let mut of_job = self.latest_events(job_id, u32::MAX).await?;
        of_job.retain(|event| event.kind != EventKind::Log);
        let skipped = of_job.len().saturating_sub(limit as usize);
        Ok(of_job.split_off(skipped))
    }

    async fn holder(&self, job_id: JobId) -> Result<Option<JobView>, StoreError> {
        let table = self.table();
        let Some(waiting) = table.rows.iter().find(|row| row.job.id == job_id) else {
            return Ok(None);
        };
        let holds = |row: &&Row| {
            let is_at_work = row.job.status == JobStatus::Running && row.job.id != job_id;
            is_at_work && row.keys.iter().any(|key| waiting.keys.contains(key))
        };
        let holders = table.rows.iter().filter(holds);
        Ok(holders.min_by_key(|row| row.job.id).map(Row::view))
    }

    async fn last_seq(&self) -> Result<i64, StoreError> {
        Ok(self.table().events.last().map_or(0, |event| event.seq))
    }

    async fn counts(&self) -> Result<JobCounts, StoreError> {
        let table = self.table();
        let count = |status| table.rows.iter().filter(|row| row.job.status == status).count() as u64;
        Ok(JobCounts {
            queued: count(JobStatus::Queued),
            running: count(JobStatus::Running),
        })
    }

    async fn request_cancel(&self, id: JobId, by: Option<AccountId>) -> Result<CancelReply, StoreError> {
        let now = self.clock.now();
        let mut table = self.table();
        let row = table
            .rows
            .iter_mut()
            .find(|row| row.job.id == id)
            .ok_or(StoreError::NotFound("job"))?;
        if row.job.status.is_terminal() {
            return Ok(CancelReply::AlreadyEnded);
        }
        if !row.job.cancel_requested {
            row.cancelled_by = by;
        }
        row.job.cancel_requested = true;
        row.job.updated_at = now;
        if row.job.status == JobStatus::Queued {
            row.job.run_after = row.job.run_after.min(now);
        }
        Ok(CancelReply::Requested)
    }
}

impl EventFeed for MemoryJobs {
    fn watch(&self) -> Box<dyn EventWatch> {
        Box::new(Told(self.table().told.subscribe()))
    }
}

struct Told(watch::Receiver<()>);

#[async_trait]
impl EventWatch for Told {
    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
