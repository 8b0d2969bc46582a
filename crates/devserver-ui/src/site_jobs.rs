//! The jobs that the pages of a site speak of beside its newest: the one at work, and those that environments and backups
//! failed by.

use std::collections::HashMap;

use domain_kernel::{BackupId, EnvironmentId, SiteId};
use http_session::ApiError;
use jobs::{JobFilter, JobKind, JobStatus, JobView, PageRequest};
use sites_domain::{Backup, BackupStatus, Environment, EnvironmentStatus};

use crate::UiState;
use crate::view::environment::FailedBy;
use crate::view::job_line::JobLine;
use crate::view::job_link::JobLink;

/// So many of an environment's newest jobs are looked through for one that changed it; between two of these are backups only.
const LOOKED_THROUGH: u32 = 20;

/// Jobs that are read of backups: as many as a page of the store has.
const OF_BACKUPS: u32 = 100;

/// The job that works on a site, or else one that waits for its turn; one that changes the site goes before a backup.
pub(crate) async fn at_work(ui: &UiState, site: SiteId) -> Result<Option<JobLink>, ApiError> {
    let mut open = Vec::new();
    for status in [JobStatus::Running, JobStatus::Queued] {
        let filter = JobFilter {
            status: Some(status),
            site_id: Some(site),
            ..JobFilter::default()
        };
        open.extend(newest(ui, &filter, LOOKED_THROUGH).await?);
    }
    let changing = open.iter().find(|view| view.job.kind != JobKind::BackupCreate);
    Ok(changing.or(open.first()).map(JobLink::new))
}

/// The job of each of these backups of a site that is not there yet, or failed.
pub(crate) async fn of_backups(
    ui: &UiState,
    site: SiteId,
    backups: impl IntoIterator<Item = &Backup>,
) -> Result<HashMap<BackupId, JobLink>, ApiError> {
    let is_done = |backup: &Backup| matches!(backup.status, BackupStatus::Completed | BackupStatus::Expired);
    let wanted = backups.into_iter().filter(|backup| !is_done(backup));
    let backup_ids: Vec<BackupId> = wanted.map(|backup| backup.id).collect();
    let mut found = HashMap::new();
    if backup_ids.is_empty() {
        return Ok(found);
    }
    let filter = JobFilter {
        site_id: Some(site),
        backup_ids,
        ..JobFilter::default()
    };
    for view in newest(ui, &filter, OF_BACKUPS).await? {
        if let Some(backup) = view.job.backup_id {
            // The newest comes first.
            found.entry(backup).or_insert_with(|| JobLink::new(&view));
        }
    }
    Ok(found)
}

/// The jobs that these environments of a site failed by, those of them that are failed. `above` is the job that the page
/// begins with.
pub(crate) async fn failed_by(
    ui: &UiState,
    site: SiteId,
    environments: &[Environment],
    above: Option<&JobView>,
) -> Result<HashMap<EnvironmentId, FailedBy>, ApiError> {
    let mut found = HashMap::new();
    let is_failed = |environment: &&Environment| environment.status == EnvironmentStatus::Failed;
    let failed: Vec<&Environment> = environments.iter().filter(is_failed).collect();
    if failed.is_empty() {
        return Ok(found);
    }
    let of_site = JobFilter {
        site_id: Some(site),
        ..JobFilter::default()
    };
    // A deletion of the site fails all of its environments at once.
    let mut of_all = Vec::new();
    for kind in [JobKind::SiteDelete, JobKind::SiteAbandon] {
        let filter = JobFilter {
            kind: Some(kind),
            ..of_site.clone()
        };
        of_all.extend(newest(ui, &filter, 1).await?);
    }
    let now = ui.clock.now();
    for environment in failed {
        let filter = JobFilter {
            environment_id: Some(environment.id),
            ..of_site.clone()
        };
        let own = newest(ui, &filter, LOOKED_THROUGH).await?;
        let changing = own.iter().find(|view| view.job.kind != JobKind::BackupCreate);
        let latest = changing.into_iter().chain(&of_all).max_by_key(|view| view.job.id);
        let ended_badly = |view: &&JobView| matches!(view.job.status, JobStatus::Failed | JobStatus::Cancelled);
        let Some(view) = latest.filter(ended_badly) else {
            continue;
        };
        let failed_by = FailedBy {
            is_above: above.is_some_and(|above| above.job.id == view.job.id),
            may_retry: ui.jobs.may_retry(&view.job).await?,
            line: JobLine::new(view, None, now),
        };
        found.insert(environment.id, failed_by);
    }
    Ok(found)
}

async fn newest(ui: &UiState, filter: &JobFilter, limit: u32) -> Result<Vec<JobView>, ApiError> {
    let page = PageRequest { limit, after: None };
    Ok(ui.jobs.list(filter, &page).await?.items)
}
