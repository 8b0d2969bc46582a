//! Runs a claimed job: its workflow's steps in order, then its one recorded outcome.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, JobErrorCode, Limits, StopReason};

use crate::{
    Claim, ClaimedJob, Failure, Job, JobKind, JobStore, NewEvent, Outcome, ProgressSink, RetryPolicy, Step,
    StepContext, StepError, StepRecord, StepStatus, StoreError, Workflow,
};

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
    pub async fn run(&self, claimed: ClaimedJob, cancel: CancelToken) -> Result<RunEnd, StoreError> {
        let ClaimedJob { job, steps, claim } = claimed;
        let Some(workflow) = self.workflows.get(&job.kind) else {
            let failure = Failure::new(JobErrorCode::Internal, format!("no workflow for {}", job.kind));
            let outcome = Outcome::Failed(failure);
            return settled(self.store.finish(&claim, &outcome).await, outcome);
        };
        let outcome = if job.cancel_requested {
            Outcome::Cancelled
        } else if job.lost_workers >= self.poison_limit {
            Outcome::Failed(worker_lost(&job, &steps))
        } else {
            match self.run_steps(&job, &steps, &claim, workflow.as_ref(), cancel).await {
                Ok(()) => Outcome::Succeeded,
                Err(StepError::Store(StoreError::LostLease) | StepError::Stopped(StopReason::LeaseLost)) => {
                    return Ok(RunEnd::LostLease);
                }
                Err(error) => self.outcome_of(&job, error),
            }
        };
        settled(workflow.settle(&job, &claim, outcome.clone()).await, outcome)
    }

    async fn run_steps(
        &self,
        job: &Job,
        done: &[StepRecord],
        claim: &Claim,
        workflow: &dyn Workflow,
        cancel: CancelToken,
    ) -> Result<(), StepError> {
        let limits = Limits {
            cancel: cancel.clone(),
            deadline: self.clock.now().plus(workflow.time_limit()),
        };
        for (ordinal, step) in (0u32..).zip(workflow.steps()) {
            // A run that goes on after a lost worker or a park begins at the step that was not completed; a new
            // attempt looks at everything again.
            let completed = done.iter().any(|record| {
                record.name == step.name()
                    && record.status == StepStatus::Succeeded
                    && record.attempt == job.attempt_count
            });
            if completed {
                continue;
            }
            self.run_step(job, claim, ordinal, step.as_ref(), &limits).await?;
        }
        Ok(())
    }

    async fn run_step(
        &self,
        job: &Job,
        claim: &Claim,
        ordinal: u32,
        step: &dyn Step,
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
        context.check()?;
        self.store.step_started(claim, ordinal, name).await?;
        context.point(&format!("{name}.started")).await;
        let result = step.run(job, &context).await;
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
        self.store.step_finished(claim, name, status, detail.as_deref()).await?;
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

fn settled(written: Result<(), StoreError>, outcome: Outcome) -> Result<RunEnd, StoreError> {
    match written {
        Ok(()) => Ok(RunEnd::Settled(outcome)),
        Err(StoreError::LostLease) => Ok(RunEnd::LostLease),
        Err(error) => Err(error),
    }
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
