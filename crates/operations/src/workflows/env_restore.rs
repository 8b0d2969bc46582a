//! `env_restore`: check the backup, keep a checkpoint of what is there, send the backup to the node, restore it beside
//! what is live and switch, prove the preview or switch back, and remove what was live before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{BackupId, JobErrorCode};
use jobs::{
    Claim, Failure, Job, JobKind, Outcome, PageRequest, Step, StepContext, StepError, StepStatus, StoreError, Workflow,
};
use sha2::{Digest, Sha256};
use sites_domain::{
    Backup, BackupFilter, BackupScope, BackupStatus, BackupTrigger, Change, Environment, EnvironmentStatus, NewBackup,
    RestoreEnd, RestoreRequest, Site, StagedBackup, StoredObject, size_words,
};

use super::backup_copy::{BackupCopy, clean_up_context, staged_path, staged_paths};
use super::backup_create::given_up;
use super::node_files::Sent;
use super::site_work::{Subject, as_stopped, internal, is_final};
use super::{SiteWork, backup_copy};
use crate::backup_storages::key_of;

/// How long the checkpoint of a restore is kept.
const CHECKPOINT_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long going back may take when the job has no time left: less than the worker waits for it.
const ROLL_BACK_LIMIT: Duration = Duration::from_secs(45);

/// The step from which on something of the environment is touched.
const RESTORE: &str = "restore";

/// The workflow.
#[derive(Clone)]
pub struct EnvRestore {
    work: SiteWork,
    copy: BackupCopy,
}

impl EnvRestore {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        Self {
            copy: BackupCopy::new(&work),
            work,
        }
    }
}

#[async_trait]
impl Workflow for EnvRestore {
    fn kind(&self) -> JobKind {
        JobKind::EnvRestore
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        vec![
            Arc::new(CheckBackup(self.clone())),
            Arc::new(Checkpoint(self.clone())),
            Arc::new(Stage(self.clone())),
            Arc::new(Restore(self.clone())),
            Arc::new(ProvePreview(self.clone())),
            Arc::new(Keep(self.clone())),
        ]
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let changes = self.changes(job, &outcome).await?;
        self.work.settle(claim, &outcome, changes).await
    }
}

/// Failures of the step `restore` after which what was live is live: the runtime refused, or went back by itself.
const fn left_alone(code: JobErrorCode) -> bool {
    matches!(
        code,
        JobErrorCode::BackupArtifactInvalid | JobErrorCode::RestoreRolledBack
    )
}

impl EnvRestore {
    async fn changes(&self, job: &Job, outcome: &Outcome) -> Result<Vec<Change>, StoreError> {
        let ended_well = match outcome {
            Outcome::Succeeded => true,
            Outcome::Failed(_) | Outcome::Cancelled => false,
            Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => return Ok(Vec::new()),
        };
        let Some((site, environment)) = self.work.at_the_end(job).await? else {
            return Ok(Vec::new());
        };
        if ended_well {
            let change = Change::EnvironmentStatus(environment.id, EnvironmentStatus::Active);
            return self
                .at_rest(&site, &environment, EnvironmentStatus::Active, vec![change])
                .await;
        }
        let checkpoint = self.checkpoint_of(job).await?;
        let mut changes: Vec<_> = checkpoint.as_ref().and_then(given_up).into_iter().collect();
        let status = if environment.status != EnvironmentStatus::Restoring {
            // The step that failed has switched back, and said so.
            environment.status
        } else if self.is_as_before(job, outcome).await? {
            changes.push(Change::EnvironmentRests(environment.id));
            environment.resting_status
        } else {
            changes.push(Change::EnvironmentStatus(environment.id, EnvironmentStatus::Failed));
            EnvironmentStatus::Failed
        };
        self.at_rest(&site, &environment, status, changes).await
    }

    /// Whether a restore that ended badly has left the environment as it was: its step `restore` never began, in no attempt, or
    /// is the one that ended, in a way that says so. Where an earlier attempt may have switched, nobody knows.
    async fn is_as_before(&self, job: &Job, outcome: &Outcome) -> Result<bool, StoreError> {
        let view = self.work.catalog.job(job.id).await?;
        let steps = view.map(|view| view.steps).unwrap_or_default();
        let Some(restore) = steps.iter().find(|step| step.name == RESTORE) else {
            return Ok(true);
        };
        let said_so = matches!(outcome, Outcome::Failed(failure) if left_alone(failure.code));
        let is_of_this_attempt = restore.attempt == job.attempt_count;
        Ok(said_so && is_of_this_attempt && restore.status == StepStatus::Failed)
    }

    async fn at_rest(
        &self,
        site: &Site,
        environment: &Environment,
        status: EnvironmentStatus,
        mut changes: Vec<Change>,
    ) -> Result<Vec<Change>, StoreError> {
        let rests = self.work.site_rests(site, environment.id, status).await?;
        changes.push(Change::SiteStatus(site.id, rests));
        Ok(changes)
    }

    /// The checkpoint that this job makes, if it has begun it.
    async fn checkpoint_of(&self, job: &Job) -> Result<Option<Backup>, StoreError> {
        let filter = BackupFilter {
            job_id: Some(job.id),
            ..BackupFilter::default()
        };
        let page = PageRequest { limit: 10, after: None };
        let made = self.work.sites.backups(&filter, &page).await?.items;
        Ok(made
            .into_iter()
            .find(|backup| backup.trigger == BackupTrigger::Checkpoint))
    }

    /// The backup that is restored, which has to be a complete one of this environment.
    async fn backup(&self, job: &Job) -> Result<(Backup, StoredObject), StepError> {
        let invalid = |detail: &str| StepError::failed(JobErrorCode::BackupArtifactInvalid, detail);
        let id = job.backup_id.ok_or_else(|| internal("The job names no backup"))?;
        let backup = self.work.sites.backup(id).await?;
        let backup = backup.ok_or_else(|| invalid("There is no such backup any more"))?;
        if Some(backup.environment_id) != job.environment_id {
            return Err(invalid("It is a backup of another environment"));
        }
        if backup.status != BackupStatus::Completed {
            return Err(invalid(&format!("The backup is {}, not completed", backup.status)));
        }
        let object = backup.size_bytes.zip(backup.checksum.clone());
        let Some((size_bytes, sha256)) = object else {
            return Err(invalid("What was stored of the backup is not known"));
        };
        Ok((backup, StoredObject { size_bytes, sha256 }))
    }

    /// What the runtime is asked for.
    async fn request(&self, job: &Job, subject: &Subject, context: &StepContext) -> Result<RestoreRequest, StepError> {
        let (backup, object) = self.backup(job).await?;
        let environment = &subject.environment;
        Ok(RestoreRequest {
            place: subject.place()?,
            url: environment.preview_url.clone(),
            environment_type: environment.environment_type,
            secrets: self.work.secrets_of(environment.id).await?,
            wp_cli: self.work.artifacts.ensure(context).await?.wp_cli,
            backup_id: backup.id,
            scope: backup.scope,
            staged: StagedBackup {
                path: staged_path(backup.id),
                object,
            },
        })
    }

    /// After a failure for good: what was live before is made live again where it is not, and the environment rests.
    /// What cannot be done now is told; then the job's end says that the environment failed.
    async fn go_back(&self, job: &Job, subject: &Subject, error: StepError, context: &StepContext) -> StepError {
        let error = as_stopped(error, context);
        if !is_final(job, &error) {
            return error;
        }
        let own = clean_up_context(context, ROLL_BACK_LIMIT);
        if matches!(&error, StepError::Failed(failure) if left_alone(failure.code)) {
            if let Some(id) = job.backup_id {
                self.remove_staged(subject, id, &own).await;
            }
            return error;
        }
        match self.roll_back(job, subject, &own).await {
            Ok(()) => error,
            Err(StepError::Store(lost)) => lost.into(),
            Err(left) => {
                context
                    .log(&format!("What was live before could not be made live again: {left}"))
                    .await;
                error
            }
        }
    }

    /// Makes what was live before live again. That it is decided is written first: a run that dies in the middle must not
    /// be followed by one that takes the proof of what was there before for a proof of what was restored.
    async fn roll_back(&self, job: &Job, subject: &Subject, context: &StepContext) -> Result<(), StepError> {
        let (id, place) = (subject.environment.id, subject.place()?);
        if subject.environment.status == EnvironmentStatus::Restoring {
            self.work
                .change(job, context, vec![Change::EnvironmentRests(id)])
                .await?;
        }
        context.point("prove_preview.going_back").await;
        if let Err(error) = self
            .work
            .runtime
            .end_restore(&place, RestoreEnd::RollBack, context)
            .await
        {
            let restoring = Change::EnvironmentStatus(id, EnvironmentStatus::Restoring);
            self.work.change(job, context, vec![restoring]).await?;
            return Err(error);
        }
        if let Some(id) = job.backup_id {
            self.remove_staged(subject, id, context).await;
        }
        Ok(())
    }

    /// Removes the staged backup; one that stays is told, and does no harm but to the disk.
    async fn remove_staged(&self, subject: &Subject, id: BackupId, context: &StepContext) {
        let removed = self.work.remove_files(&subject.node, &staged_paths(id), context).await;
        if let Err(left) = removed {
            context
                .log(&format!("The staged backup could not be removed: {left}"))
                .await;
        }
    }
}

/// Reads what is stored through, before anything is touched.
struct CheckBackup(EnvRestore);

#[async_trait]
impl Step for CheckBackup {
    fn name(&self) -> &'static str {
        "check_backup"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let (backup, expected) = self.0.backup(job).await?;
        let storage = self.0.work.storages.of(&backup)?;
        let mut source = storage.open(&key_of(&backup)).await?;
        let (mut digest, mut size_bytes) = (Sha256::new(), 0);
        while let Some(chunk) = source.next().await? {
            context.check()?;
            digest.update(&chunk);
            size_bytes += chunk.len() as u64;
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let found = StoredObject { size_bytes, sha256 };
        if found != expected {
            let detail = format!(
                "`{}` in `{}` has {} bytes with the SHA-256 {}; {} with {} were stored",
                key_of(&backup),
                storage.id(),
                found.size_bytes,
                found.sha256,
                expected.size_bytes,
                expected.sha256
            );
            return Err(StepError::failed(JobErrorCode::BackupChecksumMismatch, detail));
        }
        context
            .detail(&format!("{}, as it was stored", size_words(size_bytes)))
            .await;
        Ok(())
    }
}

/// Keeps what is about to be replaced, as far as it is there, as a backup like any other.
struct Checkpoint(EnvRestore);

impl Checkpoint {
    async fn begun(&self, job: &Job, subject: &Subject, context: &StepContext) -> Result<Backup, StepError> {
        if let Some(backup) = self.0.checkpoint_of(job).await? {
            return Ok(backup);
        }
        let new = NewBackup {
            id: BackupId::generate(),
            environment_id: subject.environment.id,
            site_id: subject.site.id,
            scope: BackupScope::Full,
            trigger: BackupTrigger::Checkpoint,
            retention_until: Some(context.now().plus(CHECKPOINT_RETENTION)),
            job_id: job.id,
        };
        let id = new.id;
        self.0.work.change(job, context, vec![Change::AddBackup(new)]).await?;
        self.0.copy.backup(id).await
    }
}

#[async_trait]
impl Step for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.work.subject(job).await?;
        self.0.work.need_ready(&subject.node, context).await?;
        let backup = self.begun(job, &subject, context).await?;
        if backup.status != BackupStatus::Completed {
            self.0.copy.stage(job, &subject, &backup, true, context).await?;
            let backup = self.0.copy.backup(backup.id).await?;
            self.0.copy.store(job, &subject, &backup, true, context).await?;
        }
        self.0.copy.unstage(&subject, backup.id, context).await?;
        context.detail(&format!("backup {}", backup.id)).await;
        Ok(())
    }
}

/// Sends the backup to the node, and what restoring needs.
struct Stage(EnvRestore);

impl Stage {
    async fn send(&self, job: &Job, subject: &Subject, context: &StepContext) -> Result<(), StepError> {
        let work = &self.0.work;
        let (backup, object) = self.0.backup(job).await?;
        let path = backup_copy::staged_path(backup.id);
        if work.has_file(&subject.node, &path, &object, context).await? {
            return Ok(());
        }
        let mut source = work.storages.of(&backup)?.open(&key_of(&backup)).await?;
        let sent = work
            .send_file(&subject.node, &path, &object, "0600", source.as_mut(), context)
            .await?;
        if sent == Sent::Mismatch {
            let detail = "What arrived on the node is not what is stored";
            return Err(Failure::new(JobErrorCode::BackupStorageFailed, detail).into());
        }
        Ok(())
    }
}

#[async_trait]
impl Step for Stage {
    fn name(&self) -> &'static str {
        "stage"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.work.subject(job).await?;
        let made_from = self.0.work.artifacts.ensure(context).await?;
        self.0.work.push(&subject.node, &[&made_from.wp_cli], context).await?;
        self.0
            .work
            .link_wp_cli(&subject.node, &made_from.wp_cli, context)
            .await?;
        self.send(job, &subject, context).await
    }
}

/// Restores beside what is live, and switches.
struct Restore(EnvRestore);

#[async_trait]
impl Step for Restore {
    fn name(&self) -> &'static str {
        RESTORE
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.work.subject(job).await?;
        let request = self.0.request(job, &subject, context).await?;
        if subject.environment.status != EnvironmentStatus::Restoring {
            // An earlier run went back, and died before it could end the job.
            let restoring = Change::EnvironmentStatus(subject.environment.id, EnvironmentStatus::Restoring);
            self.0.work.change(job, context, vec![restoring]).await?;
        }
        match self.0.work.runtime.restore(&request, context).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.0.go_back(job, &subject, error, context).await),
        }
    }
}

/// Proves what was restored, or goes back.
struct ProvePreview(EnvRestore);

#[async_trait]
impl Step for ProvePreview {
    fn name(&self) -> &'static str {
        "prove_preview"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.work.subject(job).await?;
        let environment = &subject.environment;
        let detail = if environment.status == EnvironmentStatus::Restoring {
            let secrets = self.0.work.secrets_of(environment.id).await?;
            let (url, place) = (&environment.preview_url, subject.place()?);
            let proof = self
                .0
                .work
                .prove_preview(url, &place.target, &secrets.proof_secret, context);
            match proof.await {
                Ok(()) => return Ok(()),
                Err(StepError::Failed(failure)) => failure.detail,
                Err(error) => return Err(self.0.go_back(job, &subject, error, context).await),
            }
        } else {
            "a run that died before its end was going back".to_owned()
        };
        // Whatever another attempt would show: what does not prove itself is not left live meanwhile.
        self.0.roll_back(job, &subject, context).await?;
        let detail = format!("The preview did not prove itself: {detail}");
        Err(StepError::failed(JobErrorCode::RestoreRolledBack, detail))
    }
}

/// Removes what was live before, and the staged backup.
struct Keep(EnvRestore);

#[async_trait]
impl Step for Keep {
    fn name(&self) -> &'static str {
        "keep"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.work.subject(job).await?;
        let id = job.backup_id.ok_or_else(|| internal("The job names no backup"))?;
        let runtime = &self.0.work.runtime;
        runtime
            .end_restore(&subject.place()?, RestoreEnd::Keep, context)
            .await?;
        self.0
            .work
            .remove_files(&subject.node, &staged_paths(id), context)
            .await
    }
}
