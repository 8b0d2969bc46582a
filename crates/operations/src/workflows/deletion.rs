//! Removing environments: the steps that `env_delete` and `site_delete` share.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Job, Outcome, PageRequest, Step, StepContext, StepError, StoreError};
use nodes_domain::NodeStatus;
use sites_domain::{
    Backup, BackupFilter, BackupStatus, Change, Environment, EnvironmentStatus, Site, SiteStatus, SiteStore,
};

use super::SiteWork;
use super::backup_copy::staged_paths;
use super::site_work::{environment_id, place_of, site_id};
use crate::backup_storages::key_of;

/// How much is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// One environment.
    Environment,
    /// A site with all of them.
    Site,
}

/// Whether the node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// What is on the node is removed too.
    Node,
    /// The node is gone for good: what is on it is left to itself.
    Records,
}

/// The steps.
pub(super) fn steps(work: &SiteWork, extent: Extent, reach: Reach) -> Vec<Arc<dyn Step>> {
    let backups: Arc<dyn Step> = Arc::new(DeleteBackups(work.clone(), extent));
    match reach {
        Reach::Node => vec![Arc::new(Delete(work.clone(), extent)), backups],
        Reach::Records => vec![backups],
    }
}

/// What the end of an environment's removal means.
pub(super) async fn environment_changes(
    work: &SiteWork,
    job: &Job,
    outcome: &Outcome,
) -> Result<Vec<Change>, StoreError> {
    let change: fn(&Environment) -> Change = match outcome {
        Outcome::Succeeded => |environment| Change::RemoveEnvironment(environment.id),
        Outcome::Failed(_) | Outcome::Cancelled => {
            |environment| Change::EnvironmentStatus(environment.id, EnvironmentStatus::Failed)
        }
        Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => return Ok(Vec::new()),
    };
    let Some((site, environment)) = work.at_the_end(job).await? else {
        return Ok(Vec::new());
    };
    let rests = work
        .site_rests(&site, environment.id, EnvironmentStatus::Failed)
        .await?;
    Ok(vec![change(&environment), Change::SiteStatus(site.id, rests)])
}

/// What the end of a site's removal means.
pub(super) async fn site_changes(work: &SiteWork, job: &Job, outcome: &Outcome) -> Result<Vec<Change>, StoreError> {
    let Some((site, _)) = work.at_the_end(job).await? else {
        return Ok(Vec::new());
    };
    match outcome {
        Outcome::Succeeded => Ok(vec![Change::RemoveSite(site.id)]),
        Outcome::Failed(_) | Outcome::Cancelled => {
            let environments = work.sites.environments(site.id).await?;
            let failed = |of: &Environment| Change::EnvironmentStatus(of.id, EnvironmentStatus::Failed);
            let mut changes: Vec<_> = environments.iter().map(failed).collect();
            changes.push(Change::SiteStatus(site.id, SiteStatus::Failed));
            Ok(changes)
        }
        Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => Ok(Vec::new()),
    }
}

/// Every backup of these, whatever its status.
async fn all_backups(sites: &dyn SiteStore, filter: &BackupFilter) -> Result<Vec<Backup>, StoreError> {
    let mut all = Vec::new();
    let mut page = PageRequest {
        limit: 100,
        after: None,
    };
    loop {
        let found = sites.backups(filter, &page).await?;
        all.extend(found.items);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(all),
        }
    }
}

/// Removes from the node.
struct Delete(SiteWork, Extent);

impl Delete {
    async fn remove(&self, site: &Site, environment: &Environment, context: &StepContext) -> Result<(), StepError> {
        let node = self.0.node_store.node(environment.node_id).await?;
        let Some(node) = node.filter(|node| node.status != NodeStatus::Decommissioned) else {
            let slug = environment.slug.as_str();
            context
                .log(&format!(
                    "The node of `{slug}` is gone: there is nothing to remove from it."
                ))
                .await;
            return Ok(());
        };
        let whole_site = self.1 == Extent::Site && environment.id == site.primary_environment_id;
        let place = place_of(&node, site, environment)?;
        self.0.runtime.delete(&place, whole_site, context).await?;
        // What a backup that was broken off has left names no environment: only its backups are known.
        let filter = BackupFilter {
            environment_id: Some(environment.id),
            ..BackupFilter::default()
        };
        let backups = all_backups(self.0.sites.as_ref(), &filter).await?;
        let staged: Vec<_> = backups.iter().flat_map(|backup| staged_paths(backup.id)).collect();
        for some in staged.chunks(200) {
            self.0.remove_files(&node, some, context).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Step for Delete {
    fn name(&self) -> &'static str {
        "delete"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let site = self.0.site(job).await?;
        let mut environments = self.0.sites.environments(site.id).await?;
        if self.1 == Extent::Environment {
            let wanted = environment_id(job)?;
            environments.retain(|environment| environment.id == wanted);
        }
        // The site's folder goes with its production environment, when nothing else is in it.
        environments.sort_by_key(|environment| environment.id == site.primary_environment_id);
        for environment in &environments {
            self.remove(&site, environment, context).await?;
        }
        Ok(())
    }
}

/// Removes from the storages what was stored of the backups, finished or not.
struct DeleteBackups(SiteWork, Extent);

#[async_trait]
impl Step for DeleteBackups {
    fn name(&self) -> &'static str {
        "delete_backups"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let filter = match self.1 {
            Extent::Environment => BackupFilter {
                environment_id: Some(environment_id(job)?),
                ..BackupFilter::default()
            },
            Extent::Site => BackupFilter {
                site_id: Some(site_id(job)?),
                ..BackupFilter::default()
            },
        };
        let backups = all_backups(self.0.sites.as_ref(), &filter).await?;
        // Of those that the keeper has emptied nothing is left, and there may be thousands.
        let is_emptied = |backup: &Backup| {
            backup.status == BackupStatus::Expired && backup.storage.is_some() && backup.storage_path.is_none()
        };
        for backup in backups.iter().filter(|backup| !is_emptied(backup)) {
            context.check()?;
            match self.0.storages.of(backup) {
                Ok(storage) => storage.remove(&key_of(backup)).await?,
                // Nobody can reach it from here; the backup's row goes with its environment all the same.
                Err(failure) => {
                    let key = key_of(backup);
                    context
                        .log(&format!("{}: `{key}` is left there.", failure.detail))
                        .await;
                }
            }
        }
        context.detail(&format!("{} backups", backups.len())).await;
        Ok(())
    }
}
