//! Takes the backups that schedules want, and removes those whose time is over, again and again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock};
use futures_util::future::{Either, select};
use sites_domain::{Backup, BackupChange, BackupStatus, Change, EnvironmentStatus, Expected};

use crate::backup_storages::key_of;
use crate::{BackupStorages, SitesService, UseCaseError};

/// The pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(60);

/// Keeps the backups of all environments.
pub struct BackupKeeper {
    sites: Arc<SitesService>,
    storages: BackupStorages,
    clock: Arc<dyn Clock>,
}

impl BackupKeeper {
    /// A keeper of these storages.
    pub fn new(sites: Arc<SitesService>, storages: BackupStorages, clock: Arc<dyn Clock>) -> Self {
        Self { sites, storages, clock }
    }

    /// Keeps backups until told to stop. What fails is tried again the next time. A storage that does not answer keeps no
    /// schedule waiting.
    pub async fn run(&self, stop: CancelToken) {
        let schedules = async {
            loop {
                note(self.take_scheduled().await);
                self.clock.sleep(INTERVAL).await;
            }
        };
        let retention = async {
            loop {
                note(self.remove_expired().await);
                self.clock.sleep(INTERVAL).await;
            }
        };
        let (schedules, retention) = (pin!(schedules), pin!(retention));
        match select(select(schedules, retention), pin!(stop.cancelled())).await {
            Either::Left((Either::Left((never, _)) | Either::Right((never, _)), _)) => never,
            // A removal that is broken off is taken up again: its backup stays expired, with something stored.
            Either::Right(_) => {}
        }
    }

    /// Does everything that is due now. Trouble with one backup is logged and keeps none of the others.
    pub async fn round(&self) -> Result<(), UseCaseError> {
        self.take_scheduled().await?;
        self.remove_expired().await
    }

    async fn take_scheduled(&self) -> Result<(), UseCaseError> {
        let due = self.sites.deps.sites.due_backups(self.clock.now(), None).await?;
        for environment in &due.scheduled {
            let environment_id = environment.id;
            match self.sites.scheduled_backup(environment).await {
                // A request was faster; the next round looks again.
                Ok(()) | Err(UseCaseError::Conflict(_) | UseCaseError::NotFound(_)) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%environment_id, error, "a scheduled backup could not be asked for");
                }
            }
        }
        Ok(())
    }

    async fn remove_expired(&self) -> Result<(), UseCaseError> {
        let mut after = None;
        loop {
            let due = self.sites.deps.sites.due_backups(self.clock.now(), after).await?;
            let Some(last) = due.expired.last() else { return Ok(()) };
            after = Some(last.id);
            for backup in &due.expired {
                match self.expire(backup).await {
                    Ok(()) | Err(UseCaseError::Conflict(_) | UseCaseError::NotFound(_)) => {}
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(backup_id = %backup.id, error, "what is stored of an expired backup could not be removed");
                    }
                }
            }
        }
    }

    /// A backup that may be needed by a restore that is under way stays until that has ended.
    async fn expire(&self, backup: &Backup) -> Result<(), UseCaseError> {
        let store = &self.sites.deps.sites;
        let environment = self.sites.environment(backup.environment_id).await?;
        if environment.status == EnvironmentStatus::Restoring {
            return Ok(());
        }
        if backup.status != BackupStatus::Expired {
            let expected = vec![Expected::Environment(environment.id, environment.state_version)];
            let expired = Change::Backup(backup.id, BackupChange::Status(BackupStatus::Expired));
            store.apply(expected, vec![expired], None).await?;
        }
        let storage = self.storages.of(backup)?;
        let removed = storage.remove(&key_of(backup)).await;
        removed.map_err(|error| UseCaseError::Internal(Box::new(error)))?;
        let gone = Change::Backup(backup.id, BackupChange::Removed);
        Ok(store.apply(Vec::new(), vec![gone], None).await?)
    }
}

fn note(round: Result<(), UseCaseError>) {
    if let Err(error) = round {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "it could not be found out which backups are due");
    }
}
