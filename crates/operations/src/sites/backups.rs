//! Backups, their schedules, and restores.

use std::time::Duration;

use domain_kernel::{AccountId, BackupId, EnvironmentId, Timestamp};
use jobs::{JobKind, Page, PageRequest};
use nodes_domain::Idempotency;
use sites_domain::{
    Backup, BackupChange, BackupFilter, BackupSchedule, BackupScope, BackupStatus, BackupTrigger, Change,
    CreatedInSite, Environment, EnvironmentStatus, Expected, NewBackup, Site, SiteStatus,
};

use super::removal::{need_resting, need_resting_site};
use super::{SitesService, busy, need_active};
use crate::UseCaseError;

/// The longest that a backup can be kept, in days.
const MOST_DAYS: u32 = 3650;

impl SitesService {
    /// Accepts a backup. Without `retention_days` (1 to 3650) it is kept until its environment is deleted.
    ///
    /// # Errors
    /// `EnvironmentNotActive`.
    pub async fn create_backup(
        &self,
        environment_id: EnvironmentId,
        scope: BackupScope,
        retention_days: Option<u32>,
        idempotency: Option<Idempotency>,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if retention_days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
            return Err(UseCaseError::Invalid(format!(
                "`retention_days`: expected 1 to {MOST_DAYS}."
            )));
        }
        let environment = self.environment(environment_id).await?;
        if let Err(refusal) = need_active(&environment) {
            return self.refuse(refusal, environment.site_id, idempotency).await;
        }
        let day = Duration::from_secs(24 * 60 * 60);
        let until = retention_days.map(|days| self.deps.clock.now().plus(day * days));
        self.enqueue_backup(&environment, scope, BackupTrigger::Manual, until, idempotency, by)
            .await
    }

    /// Accepts the backup that an environment's schedule wants now.
    pub(crate) async fn scheduled_backup(&self, environment: &Environment) -> Result<(), UseCaseError> {
        let Some(schedule) = &environment.backup_schedule else {
            return Ok(());
        };
        let until = Some(self.deps.clock.now().plus(schedule.retention()));
        self.enqueue_backup(
            environment,
            schedule.backup_scope,
            BackupTrigger::Scheduled,
            until,
            None,
            None,
        )
        .await
        .map(|_| ())
    }

    async fn enqueue_backup(
        &self,
        environment: &Environment,
        scope: BackupScope,
        trigger: BackupTrigger,
        retention_until: Option<Timestamp>,
        idempotency: Option<Idempotency>,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        let id = BackupId::generate();
        let job = self.job_on(JobKind::BackupCreate, environment, by).with_backup(id);
        let backup = NewBackup {
            id,
            environment_id: environment.id,
            site_id: environment.site_id,
            scope,
            trigger,
            retention_until,
            job_id: job.id,
        };
        let expected = vec![Expected::Environment(environment.id, environment.state_version)];
        self.accept(expected, vec![Change::AddBackup(backup)], job, idempotency)
            .await
    }

    /// The backups of an environment, newest first.
    pub async fn backups(
        &self,
        environment_id: EnvironmentId,
        page: &PageRequest,
    ) -> Result<Page<Backup>, UseCaseError> {
        self.environment(environment_id).await?;
        let filter = BackupFilter {
            environment_id: Some(environment_id),
            ..BackupFilter::default()
        };
        Ok(self.deps.sites.backups(&filter, page).await?)
    }

    /// When the newest completed backup of each of these environments that has one was completed.
    pub async fn newest_backups(&self, ids: &[EnvironmentId]) -> Result<Vec<(EnvironmentId, Timestamp)>, UseCaseError> {
        Ok(self.deps.sites.newest_backups(ids).await?)
    }

    /// One backup.
    pub async fn backup(&self, id: BackupId) -> Result<Backup, UseCaseError> {
        let backup = self.deps.sites.backup(id).await?;
        backup.ok_or(UseCaseError::NotFound("backup"))
    }

    /// Gives a backup up. What is stored of it is removed soon, by the [`BackupKeeper`](crate::BackupKeeper).
    ///
    /// # Errors
    /// `Conflict` unless it is completed or failed, and while a job restores its environment, which may need it.
    pub async fn expire_backup(&self, id: BackupId, by: Option<AccountId>) -> Result<Backup, UseCaseError> {
        let backup = self.backup(id).await?;
        if !matches!(backup.status, BackupStatus::Completed | BackupStatus::Failed) {
            return Err(UseCaseError::Conflict(format!(
                "The backup is {}; only one that is completed or failed can be given up.",
                backup.status
            )));
        }
        let environment = self.environment(backup.environment_id).await?;
        if environment.status == EnvironmentStatus::Restoring {
            return Err(busy("environment", environment.status.as_str()));
        }
        let expected = vec![Expected::Environment(environment.id, environment.state_version)];
        let expired = Change::Backup(id, BackupChange::Status(BackupStatus::Expired));
        self.deps.sites.apply(expected, vec![expired], by).await?;
        self.backup(id).await
    }

    /// Sets when backups of an environment are taken by themselves, or that none are.
    pub async fn set_schedule(
        &self,
        id: EnvironmentId,
        schedule: Option<BackupSchedule>,
        by: Option<AccountId>,
    ) -> Result<Environment, UseCaseError> {
        if let Some(problem) = schedule.as_ref().and_then(BackupSchedule::problem) {
            return Err(UseCaseError::Invalid(format!("{problem}.")));
        }
        let environment = self.environment(id).await?;
        let expected = vec![Expected::Environment(id, environment.state_version)];
        let changes = vec![Change::Schedule(id, schedule)];
        self.deps.sites.apply(expected, changes, by).await?;
        self.environment(id).await
    }

    /// Accepts that an environment is brought back to what a backup of it holds.
    ///
    /// # Errors
    /// `Conflict` where the environment is neither active nor failed, a job is at work on its site, or the backup is not
    /// completed; `Invalid` where it is of another environment; `NotFound`.
    pub async fn restore(
        &self,
        environment_id: EnvironmentId,
        backup_id: BackupId,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        let environment = self.environment(environment_id).await?;
        let site = self.site(environment.site_id).await?;
        self.restore_as_seen(&site, &environment, backup_id, by).await
    }

    pub(super) async fn restore_as_seen(
        &self,
        site: &Site,
        environment: &Environment,
        backup_id: BackupId,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        let backup = self.backup(backup_id).await?;
        if backup.environment_id != environment.id {
            return Err(UseCaseError::Invalid(
                "`backup_id`: it is a backup of another environment. Name one of this environment.".to_owned(),
            ));
        }
        if backup.status != BackupStatus::Completed {
            return Err(UseCaseError::Conflict(format!(
                "The backup is {}; only a completed one can be restored.",
                backup.status
            )));
        }
        need_resting(environment)?;
        need_resting_site(site)?;
        let expected = vec![
            Expected::Site(site.id, site.state_version),
            Expected::Environment(environment.id, environment.state_version),
        ];
        let changes = vec![
            Change::SiteStatus(site.id, SiteStatus::Restoring),
            Change::EnvironmentStatus(environment.id, EnvironmentStatus::Restoring),
        ];
        let job = self.job_on(JobKind::EnvRestore, environment, by).with_backup(backup_id);
        self.accept(expected, changes, job, None).await
    }
}
