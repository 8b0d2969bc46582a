//! A backup's way off its node: staged there, stored, and taken from there again. `backup_create` does it in three steps,
//! a restore's checkpoint in one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain_kernel::{BackupId, CancelToken, Limits};
use jobs::{Job, StepContext, StepError};
use nodes_domain::ByteSink;
use sites_domain::{Backup, BackupChange, BackupStatus, Change, StageBackup, StagedBackup};

use super::SiteWork;
use super::site_work::{Subject, as_stopped, internal, is_final};
use crate::backup_storages::key_of;

/// How long cleaning up after a failure may take.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(30);

/// Where a backup is staged on its node.
pub(super) fn staged_path(id: BackupId) -> String {
    format!("/var/lib/pressluft/staging/{}.tar.zst", id.short())
}

/// Everything of a backup that may lie on its node: the file, what the module that wrote it knows of it, and what it was
/// still working on when it was ended.
pub(super) fn staged_paths(id: BackupId) -> [String; 4] {
    let id = id.short();
    ["tar.zst", "tar.zst.part", "json", "work"].map(|ending| format!("/var/lib/pressluft/staging/{id}.{ending}"))
}

/// A context for cleaning up what was stopped: it is not stopped itself, and has little time.
pub(super) fn clean_up_context(context: &StepContext, limit: Duration) -> StepContext {
    let mut own = context.clone();
    own.limits = Limits {
        cancel: CancelToken::new(),
        deadline: context.now().plus(limit),
    };
    own
}

/// Copies backups. What was staged in this process is remembered, so that it need not be asked for again; a process that
/// does not remember stages again, which looks first.
#[derive(Clone)]
pub(super) struct BackupCopy {
    pub(super) work: SiteWork,
    staged: Arc<Mutex<HashMap<BackupId, StagedBackup>>>,
}

impl BackupCopy {
    pub(super) fn new(work: &SiteWork) -> Self {
        Self {
            work: work.clone(),
            staged: Arc::default(),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, HashMap<BackupId, StagedBackup>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backup that a job makes.
    pub(super) async fn backup(&self, id: BackupId) -> Result<Backup, StepError> {
        let backup = self.work.sites.backup(id).await?;
        backup.ok_or_else(|| internal("The backup is gone: its environment was deleted while the job waited"))
    }

    /// Writes the backup into a file on the node.
    pub(super) async fn stage(
        &self,
        job: &Job,
        subject: &Subject,
        backup: &Backup,
        as_far_as_there: bool,
        context: &StepContext,
    ) -> Result<StagedBackup, StepError> {
        if backup.status != BackupStatus::Running {
            let running = Change::Backup(backup.id, BackupChange::Status(BackupStatus::Running));
            self.work.change(job, context, vec![running]).await?;
        }
        let request = StageBackup {
            place: subject.place()?,
            url: subject.environment.preview_url.clone(),
            backup_id: backup.id,
            scope: backup.scope,
            as_far_as_there,
        };
        let staged = self.work.runtime.stage_backup(&request, context).await;
        let staged = self.or_clean_up(job, subject, backup.id, staged, context).await?;
        self.memory().insert(backup.id, staged.clone());
        Ok(staged)
    }

    /// Stores what is staged, and takes the backup for complete when it was read back.
    pub(super) async fn store(
        &self,
        job: &Job,
        subject: &Subject,
        backup: &Backup,
        as_far_as_there: bool,
        context: &StepContext,
    ) -> Result<StagedBackup, StepError> {
        let known = self.memory().get(&backup.id).cloned();
        let staged = match known {
            Some(staged) => staged,
            None => self.stage(job, subject, backup, as_far_as_there, context).await?,
        };
        let stored = self.upload(job, subject, backup, &staged, context).await;
        self.or_clean_up(job, subject, backup.id, stored, context).await?;
        context.point("store.stored").await;
        let completed = BackupChange::Completed {
            storage: self.work.storages.default().id(),
            path: key_of(backup),
            object: staged.object.clone(),
        };
        self.work
            .change(job, context, vec![Change::Backup(backup.id, completed)])
            .await?;
        Ok(staged)
    }

    async fn upload(
        &self,
        job: &Job,
        subject: &Subject,
        backup: &Backup,
        staged: &StagedBackup,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let storage = self.work.storages.default();
        let mut upload = storage.begin(&key_of(backup)).await?;
        let read = self.read(job, subject, backup, staged, upload.as_mut(), context).await;
        match read {
            Ok(()) => Ok(upload.finish(&staged.object).await?),
            Err(error) => {
                if let Err(left) = upload.abort().await {
                    context
                        .log(&format!("What was written of the backup could not be removed: {left}"))
                        .await;
                }
                Err(error)
            }
        }
    }

    /// Reads what is staged into the storage. Then the claim is looked at once more: a run that lost it must not put other
    /// bytes in the place of those that the next one has stored. One that loses it later finds its upload gone.
    async fn read(
        &self,
        job: &Job,
        subject: &Subject,
        backup: &Backup,
        staged: &StagedBackup,
        upload: &mut dyn ByteSink,
        context: &StepContext,
    ) -> Result<(), StepError> {
        self.work
            .read_file(&subject.node, &staged.path, upload, context)
            .await?;
        let still = Change::Backup(backup.id, BackupChange::Status(BackupStatus::Running));
        self.work.change(job, context, vec![still]).await
    }

    /// Removes the staged file.
    pub(super) async fn unstage(
        &self,
        subject: &Subject,
        id: BackupId,
        context: &StepContext,
    ) -> Result<(), StepError> {
        self.memory().remove(&id);
        self.work.remove_files(&subject.node, &staged_paths(id), context).await
    }

    /// Where the work failed for good, what is staged is removed: nobody would ask for it again.
    async fn or_clean_up<T>(
        &self,
        job: &Job,
        subject: &Subject,
        id: BackupId,
        result: Result<T, StepError>,
        context: &StepContext,
    ) -> Result<T, StepError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => as_stopped(error, context),
        };
        // The next attempt stages anew: the file may be what is wrong.
        self.memory().remove(&id);
        if is_final(job, &error) {
            let own = clean_up_context(context, CLEAN_UP_LIMIT);
            if let Err(left) = self.unstage(subject, id, &own).await {
                context
                    .log(&format!("The staged backup could not be removed: {left}"))
                    .await;
            }
        }
        Err(error)
    }
}
