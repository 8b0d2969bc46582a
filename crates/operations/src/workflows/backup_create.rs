//! `backup_create`: stage a backup on its node, store it and read it back, remove what was staged.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::BackupId;
use jobs::{
    Claim, Job, JobFilter, JobKind, JobStatus, JobView, Outcome, PageRequest, Step, StepContext, StepError, StoreError,
    Workflow,
};
use sites_domain::{BackupChange, BackupStatus, Change, Site, SiteStatus, size_words};

use super::SiteWork;
use super::backup_copy::BackupCopy;
use super::site_work::internal;

/// The pause before a backup that waits for another job of its site looks again.
const PAUSE: Duration = Duration::from_secs(15);

/// The workflow.
#[derive(Clone)]
pub struct BackupCreate(BackupCopy);

impl BackupCreate {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        Self(BackupCopy::new(&work))
    }
}

fn backup_id(job: &Job) -> Result<BackupId, StepError> {
    job.backup_id.ok_or_else(|| internal("The job names no backup"))
}

#[async_trait]
impl Workflow for BackupCreate {
    fn kind(&self) -> JobKind {
        JobKind::BackupCreate
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        vec![
            Arc::new(Stage(self.0.clone())),
            Arc::new(Store(self.0.clone())),
            Arc::new(Unstage(self.0.clone())),
        ]
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let ended_badly = matches!(outcome, Outcome::Failed(_) | Outcome::Cancelled);
        let backup = match job.backup_id {
            Some(id) if ended_badly => self.0.work.sites.backup(id).await?,
            _ => None,
        };
        let changes = backup.as_ref().and_then(given_up).into_iter().collect();
        self.0.work.settle(claim, &outcome, changes).await
    }
}

/// What becomes of a backup whose job ended badly: one that was complete by then stays so.
pub(super) fn given_up(backup: &sites_domain::Backup) -> Option<Change> {
    let open = matches!(backup.status, BackupStatus::Pending | BackupStatus::Running);
    open.then_some(Change::Backup(backup.id, BackupChange::Status(BackupStatus::Failed)))
}

/// Waits while a job that restores or removes something of the site is between two runs: what is live then is neither what
/// was there before nor what was proved. One that has not begun comes after the job that asks here.
pub(super) async fn need_rest(work: &SiteWork, site: &Site, context: &StepContext) -> Result<(), StepError> {
    if !matches!(site.status, SiteStatus::Restoring | SiteStatus::Deleting) {
        return Ok(());
    }
    let filter = JobFilter {
        site_id: Some(site.id),
        status: Some(JobStatus::Queued),
        ..JobFilter::default()
    };
    let page = PageRequest {
        limit: 100,
        after: None,
    };
    let waiting = work.catalog.jobs(&filter, &page).await?.items;
    let waits_itself = |kind| matches!(kind, JobKind::BackupCreate | JobKind::EnvReaddress);
    let begun = |view: &JobView| !waits_itself(view.job.kind) && view.job.started_at.is_some();
    match waiting.iter().find(|view| begun(view)) {
        None => Ok(()),
        Some(JobView { job, .. }) => Err(StepError::Parked {
            run_after: context.now().plus(PAUSE),
            detail: format!("The site is {}: this waits for the end of job {}", site.status, job.id),
        }),
    }
}

/// Writes the backup into a file on the node.
struct Stage(BackupCopy);

#[async_trait]
impl Step for Stage {
    fn name(&self) -> &'static str {
        "stage"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let backup = self.0.backup(backup_id(job)?).await?;
        if backup.status == BackupStatus::Completed {
            return Ok(());
        }
        let subject = self.0.work.subject(job).await?;
        need_rest(&self.0.work, &subject.site, context).await?;
        self.0.work.need_ready(&subject.node, context).await?;
        let staged = self.0.stage(job, &subject, &backup, false, context).await?;
        context.detail(&size_words(staged.object.size_bytes)).await;
        Ok(())
    }
}

/// Stores it, and reads it back.
struct Store(BackupCopy);

#[async_trait]
impl Step for Store {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let backup = self.0.backup(backup_id(job)?).await?;
        if backup.status == BackupStatus::Completed {
            return Ok(());
        }
        let subject = self.0.work.subject(job).await?;
        let staged = self.0.store(job, &subject, &backup, false, context).await?;
        let storage = self.0.work.storages.default().id();
        let told = format!("{} in `{storage}`, read back", size_words(staged.object.size_bytes));
        context.detail(&told).await;
        Ok(())
    }
}

/// Removes what was staged.
struct Unstage(BackupCopy);

#[async_trait]
impl Step for Unstage {
    fn name(&self) -> &'static str {
        "unstage"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.work.subject(job).await?;
        self.0.unstage(&subject, backup_id(job)?, context).await
    }
}
