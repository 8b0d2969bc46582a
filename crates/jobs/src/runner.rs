//! Runs a claimed job: its workflow's steps in order, then its one recorded outcome.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, JobErrorCode, Limits, StopReason, Timestamp};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::{
    Claim, ClaimedJob, Failure, Job, JobKind, JobStore, NewEvent, Outcome, ProgressSink, RetryPolicy, Step,
    StepContext, StepError, StepRecord, StepStatus, StoreError, Workflow,
};

/// The waits before a write of the runner is tried again while the database fails: 7 s in all, well within a lease.
const WRITE_DELAYS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1500),
    Duration::from_secs(5),
];

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// The outcome was written.
    Settled(Outcome),
    /// The claim was lost: somebody else runs the job, nothing more was written.
    LostLease,
}

/// Runs jobs by their workflows.
pub struct JobRunner {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    poison_limit: u32,
    workflows: HashMap<JobKind, Arc<dyn Workflow>>,
}

impl JobRunner {
    /// A runner. After `poison_limit` lost workers in a row on one step a job ends in `WORKER_LOST`.
    pub fn new(
        store: Arc<dyn JobStore>,
        clock: Arc<dyn Clock>,
        retry: RetryPolicy,
        poison_limit: u32,
        workflows: Vec<Arc<dyn Workflow>>,
    ) -> Self {
        let workflows = workflows
            .into_iter()
            .map(|workflow| (workflow.kind(), workflow))
            .collect();
        Self {
            store,
            clock,
            retry,
            poison_limit,
            workflows,
        }
    }

    /// Runs a claimed job to the end of this run. `cancel` stops it: the steps end what they started, then the outcome
    /// is written as the reason asks.
    ///
    /// # Errors
    /// The store failed for longer than a write is repeated. Then no outcome is written: the lease runs out and
    /// [`JobStore::recover`] queues the job again.
    pub async fn run(&self, claimed: ClaimedJob, cancel: CancelToken) -> Result<RunEnd, StoreError> {
        let ClaimedJob { job, steps, claim } = claimed;
        let Some(workflow) = self.workflows.get(&job.kind) else {
            return self.end(&job, &claim, Outcome::Failed(no_workflow(&job))).await;
        };
        let outcome = if job.cancel_requested {
            Outcome::Cancelled
        } else if job.lost_workers >= self.poison_limit {
            Outcome::Failed(worker_lost(&job, &steps))
        } else {
            match self.run_steps(&job, &steps, &claim, workflow.as_ref(), &cancel).await {
                Ok(()) => Outcome::Succeeded,
                Err(StepError::Store(StoreError::LostLease) | StepError::Stopped(StopReason::LeaseLost)) => {
                    return Ok(RunEnd::LostLease);
                }
                Err(_) if cancel.reason() == Some(StopReason::LeaseLost) => return Ok(RunEnd::LostLease),
                // The database failed in the middle of a step. Nothing is known to be wrong with the work: it is taken
                // up again when the lease has run out, as often as the poison limit allows.
                Err(StepError::Store(error @ StoreError::Backend(_))) => return Err(error),
                Err(error) => self.outcome_of(&job, error),
            }
        };
        self.end(&job, &claim, outcome).await
    }

    /// Writes the outcome of a run. For the worker too: a run that was dropped (its backstop passed, it panicked outside
    /// a step) has written none.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn end(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<RunEnd, StoreError> {
        let written = match self.workflows.get(&job.kind) {
            Some(workflow) => self.written(|| workflow.settle(job, claim, outcome.clone())).await,
            None => self.written(|| self.store.finish(claim, &outcome)).await,
        };
        let written = match written {
            // An end that can never be written would run the job for ever: then at least the job's own row ends.
            Err(error) if job.lost_workers >= self.poison_limit && !matches!(error, StoreError::LostLease) => {
                tracing::error!(
                    job_id = %job.id,
                    error = &error as &dyn std::error::Error,
                    "the job's end could not be settled: only the job itself is ended"
                );
                self.written(|| self.store.finish(claim, &outcome)).await
            }
            written => written,
        };
        match written {
            Ok(()) => Ok(RunEnd::Settled(outcome)),
            Err(StoreError::LostLease) => Ok(RunEnd::LostLease),
            Err(error) => Err(error),
        }
    }

    /// Repeats a write while the database itself fails, so that a moment's trouble costs no work. A panic counts as
    /// such a failure: a job's end must not depend on it.
    async fn written<'a>(&self, write: impl Fn() -> BoxFuture<'a, Result<(), StoreError>>) -> Result<(), StoreError> {
        let write = async || {
            let written = AssertUnwindSafe(write()).catch_unwind().await;
            written.unwrap_or_else(|_panic| Err(StoreError::Backend("the write panicked".into())))
        };
        for delay in WRITE_DELAYS {
            match write().await {
                Err(StoreError::Backend(error)) => {
                    tracing::warn!(
                        error = &*error as &dyn std::error::Error,
                        "a write failed and is tried again"
                    );
                    self.clock.sleep(delay).await;
                }
                written => return written,
            }
        }
        write().await
    }

    async fn run_steps(
        &self,
        job: &Job,
        done: &[StepRecord],
        claim: &Claim,
        workflow: &dyn Workflow,
        cancel: &CancelToken,
    ) -> Result<(), StepError> {
        let limits = Limits {
            cancel: cancel.clone(),
            deadline: self.clock.now().plus(workflow.time_limit()),
        };
        for (ordinal, step) in (0u32..).zip(workflow.steps()) {
            // A run that goes on after a lost worker or a park begins at the step that was not completed; a new
            // attempt looks at everything again.
            let known = done
                .iter()
                .find(|record| record.name == step.name() && record.attempt == job.attempt_count);
            if known.is_some_and(|record| record.status == StepStatus::Succeeded) {
                continue;
            }
            let parked = known.filter(|record| record.status == StepStatus::Parked);
            let begun_at = parked.map_or_else(|| self.clock.now(), |record| record.started_at);
            self.run_step(job, claim, ordinal, step.as_ref(), begun_at, &limits)
                .await?;
        }
        Ok(())
    }

    async fn run_step(
        &self,
        job: &Job,
        claim: &Claim,
        ordinal: u32,
        step: &dyn Step,
        begun_at: Timestamp,
        limits: &Limits,
    ) -> Result<(), StepError> {
        let name = step.name();
        let progress = StoredProgress {
            store: Arc::clone(&self.store),
            claim: claim.clone(),
            step: name,
            cancel: limits.cancel.clone(),
        };
        let clock = Arc::clone(&self.clock);
        let context = StepContext::for_job(job.id, claim.epoch, name, limits.clone(), clock, Arc::new(progress));
        let context = context.begun_at(begun_at);
        context.check()?;
        self.written(|| self.store.step_started(claim, ordinal, name)).await?;
        context.point(&format!("{name}.started")).await;
        // A panic ends the step, not the worker: the job fails with its keys freed instead of running for ever.
        let result = AssertUnwindSafe(step.run(job, &context)).catch_unwind().await;
        let result = result.unwrap_or_else(|_panic| {
            tracing::error!(job_id = %job.id, step = name, "the step panicked");
            Err(StepError::failed(
                JobErrorCode::Internal,
                format!("The step {name} panicked"),
            ))
        });
        // Work that is told to stop often ends in a failure of its own (its process was killed): the reason counts.
        let result = match (result, limits.cancel.reason()) {
            (Err(_), Some(reason)) => Err(StepError::Stopped(reason)),
            (result, _) => result,
        };
        let (status, detail) = match &result {
            Ok(()) => (StepStatus::Succeeded, None),
            Err(StepError::Failed(failure)) => (StepStatus::Failed, Some(failure.detail.clone())),
            Err(StepError::Parked { detail, .. }) => (StepStatus::Parked, Some(detail.clone())),
            Err(StepError::Stopped(StopReason::Cancelled)) => (StepStatus::Cancelled, None),
            Err(StepError::DeadlineExceeded) => (StepStatus::Failed, Some("the time limit passed".to_owned())),
            // Interrupted, not ended: it stays `started` until the next run takes it up.
            Err(StepError::Stopped(StopReason::LeaseLost | StopReason::Shutdown) | StepError::Store(_)) => {
                return result;
            }
        };
        self.written(|| self.store.step_finished(claim, name, status, detail.as_deref()))
            .await?;
        context.point(&format!("{name}.finished")).await;
        result
    }

    fn outcome_of(&self, job: &Job, error: StepError) -> Outcome {
        match error {
            StepError::Failed(failure) => self.failed(job, failure),
            StepError::DeadlineExceeded => Outcome::Failed(Failure::new(JobErrorCode::JobTimeout, "")),
            StepError::Stopped(StopReason::Shutdown | StopReason::LeaseLost) => Outcome::Yielded,
            StepError::Stopped(StopReason::Cancelled) => Outcome::Cancelled,
            StepError::Parked { run_after, .. } => Outcome::Parked { run_after },
            StepError::Store(error) => {
                tracing::error!(job_id = %job.id, error = &error as &dyn std::error::Error, "a step could not store its result");
                Outcome::Failed(Failure::new(
                    JobErrorCode::Internal,
                    "A step could not store its result",
                ))
            }
        }
    }

    fn failed(&self, job: &Job, failure: Failure) -> Outcome {
        if failure.code.retryable() && job.attempt_count < job.max_attempts {
            let run_after = self.clock.now().plus(self.retry.delay_after(job.attempt_count));
            Outcome::Retry { failure, run_after }
        } else {
            Outcome::Failed(failure)
        }
    }
}

fn no_workflow(job: &Job) -> Failure {
    Failure::new(JobErrorCode::Internal, format!("There is no workflow for {}", job.kind))
}

fn worker_lost(job: &Job, steps: &[StepRecord]) -> Failure {
    let step = steps.iter().find(|step| step.status == StepStatus::Started);
    let place = step.map_or("before its first step".to_owned(), |step| {
        format!("in step {}", step.name)
    });
    let detail = format!("{} workers were lost {place}", job.lost_workers);
    Failure::new(JobErrorCode::WorkerLost, detail)
}

/// Progress of a step, stored under its claim.
struct StoredProgress {
    store: Arc<dyn JobStore>,
    claim: Claim,
    step: &'static str,
    cancel: CancelToken,
}

impl StoredProgress {
    fn note(&self, written: Result<(), StoreError>) {
        match written {
            Ok(()) => {}
            Err(StoreError::LostLease) => self.cancel.cancel(StopReason::LeaseLost),
            Err(error) => {
                tracing::warn!(job_id = %self.claim.job_id, error = &error as &dyn std::error::Error, "progress was not stored");
            }
        }
    }
}

#[async_trait]
impl ProgressSink for StoredProgress {
    async fn record(&self, event: NewEvent) {
        self.note(self.store.append(&self.claim, event).await);
    }

    async fn detail(&self, detail: &str) {
        self.note(self.store.step_detail(&self.claim, self.step, detail).await);
    }
}
