//! Asking for the work of a job of a site once more.

use domain_kernel::AccountId;
use jobs::{Job, JobKind};
use sites_domain::{
    BackupChange, BackupStatus, Change, CreatedInSite, Environment, EnvironmentStatus, Expected, Site, SiteStatus,
};

use super::{SitesService, busy, need_active};
use crate::UseCaseError;

impl SitesService {
    /// Accepts the work of a job that ended badly once more, refused where the site changed since it was read.
    pub(crate) async fn retry_as_seen(
        &self,
        site: &Site,
        job: &Job,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        let id = job.environment_id.ok_or(UseCaseError::NotFound("environment"))?;
        let environment = self.environment(id).await?;
        match job.kind {
            JobKind::SiteCreate => self.create_again(site, &environment, by).await,
            JobKind::EnvCreate => self.copy_again(site, &environment, by).await,
            kind @ (JobKind::SiteDelete | JobKind::SiteAbandon) => self.remove_site_as_seen(site, kind, by).await,
            kind @ (JobKind::EnvDelete | JobKind::EnvAbandon) => {
                self.remove_environment_as_seen(site, &environment, kind, by).await
            }
            JobKind::EnvReaddress => self.readdress_as_seen(&environment, by).await,
            JobKind::EnvRestore => {
                let backup_id = job.backup_id.ok_or(UseCaseError::NotFound("backup"))?;
                self.restore_as_seen(site, &environment, backup_id, by).await
            }
            JobKind::BackupCreate => self.back_up_again(&environment, job, by).await,
            JobKind::NodeProvision | JobKind::NodeDecommission => Err(UseCaseError::NotFound("site")),
        }
    }

    async fn create_again(
        &self,
        site: &Site,
        environment: &Environment,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if site.status != SiteStatus::Failed {
            return Err(busy("site", site.status.as_str()));
        }
        need_failed(environment)?;
        let changes = vec![
            Change::SiteStatus(site.id, SiteStatus::Creating),
            Change::EnvironmentStatus(environment.id, EnvironmentStatus::Creating),
        ];
        let job = self.job_on(JobKind::SiteCreate, environment, by);
        self.accept(versions(site, environment), changes, job, None).await
    }

    async fn copy_again(
        &self,
        site: &Site,
        environment: &Environment,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if site.status != SiteStatus::Active {
            return Err(busy("site", site.status.as_str()));
        }
        need_failed(environment)?;
        let source = environment
            .source_environment_id
            .ok_or(UseCaseError::NotFound("environment"))?;
        let source = self.environment(source).await?;
        need_active(&source)?;
        let changes = vec![
            Change::SiteStatus(site.id, SiteStatus::Cloning),
            Change::EnvironmentStatus(environment.id, EnvironmentStatus::Cloning),
        ];
        let mut expected = versions(site, environment);
        expected.push(Expected::Environment(source.id, source.state_version));
        let job = self.job_on(JobKind::EnvCreate, environment, by);
        self.accept(expected, changes, job, None).await
    }

    async fn back_up_again(
        &self,
        environment: &Environment,
        job: &Job,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        need_active(environment)?;
        let id = job.backup_id.ok_or(UseCaseError::NotFound("backup"))?;
        let backup = self.backup(id).await?;
        if backup.status != BackupStatus::Failed {
            return Err(UseCaseError::Conflict(format!(
                "The backup is {}; there is nothing to ask for again.",
                backup.status
            )));
        }
        if backup
            .retention_until
            .is_some_and(|until| until <= self.deps.clock.now())
        {
            return Err(UseCaseError::Conflict(
                "The time that the backup was to be kept is over. Ask for a new one.".to_owned(),
            ));
        }
        let expected = vec![Expected::Environment(environment.id, environment.state_version)];
        let changes = vec![Change::Backup(id, BackupChange::Status(BackupStatus::Pending))];
        let job = self.job_on(JobKind::BackupCreate, environment, by).with_backup(id);
        self.accept(expected, changes, job, None).await
    }
}

fn versions(site: &Site, environment: &Environment) -> Vec<Expected> {
    vec![
        Expected::Site(site.id, site.state_version),
        Expected::Environment(environment.id, environment.state_version),
    ]
}

fn need_failed(environment: &Environment) -> Result<(), UseCaseError> {
    if environment.status == EnvironmentStatus::Failed {
        Ok(())
    } else {
        Err(busy("environment", environment.status.as_str()))
    }
}
