//! What a step is given: its limits, the time, and a way to tell what it does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, JobId, Limits, Timestamp};
use futures_util::future::{Either, select};

use crate::{LogStream, NewEvent, StepError, TaskProgress};

/// Takes the events of a running step.
#[async_trait]
pub trait ProgressSink: Send + Sync {
    /// Stores an event. A sink that finds its claim lost cancels the step; other trouble it logs, because progress is
    /// never worth the work itself.
    async fn record(&self, event: NewEvent);

    /// Replaces the step's line for the operator.
    async fn detail(&self, detail: &str);
}

/// A sink for work outside a job, such as probes: it drops everything.
pub struct NullProgress;

#[async_trait]
impl ProgressSink for NullProgress {
    async fn record(&self, _event: NewEvent) {}

    async fn detail(&self, _detail: &str) {}
}

/// The context of one run of one step. Cheap to clone.
#[derive(Clone)]
pub struct StepContext {
    /// The job, where there is one.
    pub job_id: Option<JobId>,
    /// The claim's epoch; 0 outside a job. Node-side work writes it into its lock.
    pub epoch: i64,
    /// The step's name, or what the work is called outside a job.
    pub step: &'static str,
    /// When the work was begun: for a step that parked, before it parked for the first time in this attempt.
    pub begun_at: Timestamp,
    /// What bounds the work.
    pub limits: Limits,
    clock: Arc<dyn Clock>,
    progress: Arc<dyn ProgressSink>,
}

impl StepContext {
    /// The context of a step of a job.
    pub fn for_job(
        job_id: JobId,
        epoch: i64,
        step: &'static str,
        limits: Limits,
        clock: Arc<dyn Clock>,
        progress: Arc<dyn ProgressSink>,
    ) -> Self {
        Self {
            job_id: Some(job_id),
            epoch,
            step,
            begun_at: clock.now(),
            limits,
            clock,
            progress,
        }
    }

    /// The same context of work that was begun earlier, and parked.
    #[must_use]
    pub fn begun_at(self, begun_at: Timestamp) -> Self {
        Self { begun_at, ..self }
    }

    /// The context of work outside a job (a probe, a doctor's check) that may take `limit`.
    pub fn outside_job(name: &'static str, limit: Duration, clock: Arc<dyn Clock>) -> Self {
        let limits = Limits {
            cancel: CancelToken::new(),
            deadline: clock.now().plus(limit),
        };
        Self {
            job_id: None,
            epoch: 0,
            step: name,
            begun_at: clock.now(),
            limits,
            clock,
            progress: Arc::new(NullProgress),
        }
    }

    /// The same context with a deadline no later than `limit` from now.
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            limits: self.limits.until(self.now().plus(limit)),
            ..self.clone()
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// How much time is left until the deadline.
    pub fn time_left(&self) -> Duration {
        self.limits.deadline.since(self.now())
    }

    /// Fails where the work should stop: call it between pieces of work.
    pub fn check(&self) -> Result<(), StepError> {
        if let Some(reason) = self.limits.cancel.reason() {
            return Err(StepError::Stopped(reason));
        }
        if self.time_left().is_zero() {
            return Err(StepError::DeadlineExceeded);
        }
        Ok(())
    }

    /// Waits for `duration`, less where the work should stop before.
    pub async fn sleep(&self, duration: Duration) -> Result<(), StepError> {
        self.check()?;
        let wait = self.clock.sleep(duration.min(self.time_left()));
        let cancelled = self.limits.cancel.cancelled();
        futures_util::pin_mut!(cancelled);
        match select(wait, cancelled).await {
            Either::Left(_) => self.check(),
            Either::Right((reason, _)) => Err(StepError::Stopped(reason)),
        }
    }

    /// Tells a line of Pressluft's own.
    pub async fn log(&self, line: &str) {
        self.output(LogStream::Pressluft, line).await;
    }

    /// Tells a line of a process.
    pub async fn output(&self, stream: LogStream, line: &str) {
        self.progress.record(NewEvent::log(self.step, stream, line)).await;
    }

    /// Tells of a task within the step.
    pub async fn task(&self, task: &TaskProgress) {
        self.progress.record(NewEvent::task(self.step, task)).await;
    }

    /// Replaces the step's line for the operator.
    pub async fn detail(&self, detail: &str) {
        self.progress.detail(detail).await;
    }

    /// A named point within a step, `<step>.<what is done>`. Does nothing in a product build; with the feature
    /// `hold-points` tests can hold the process here (see `docs/testing.md`).
    pub async fn point(&self, name: &str) {
        crate::hold::reach(name).await;
    }
}
