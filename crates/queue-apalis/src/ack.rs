//! The outermost layer: sees how every run ended. A run writes its outcome itself; one that was cut short did not, and
//! gets it here.

use std::sync::Arc;

use apalis_core::error::BoxDynError;
use apalis_core::task::ExecutionContext;
use apalis_core::worker::ext::ack::Acknowledge;
use domain_kernel::JobErrorCode;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::{Failure, JobRunner, JobSignal, Outcome, StoreError};
use tower::timeout::error::Elapsed;

use crate::backend::Held;
use crate::handler::CutShort;
use crate::running::Running;

/// Settles the runs that were cut short.
#[derive(Clone)]
pub(crate) struct EndOfRun {
    pub(crate) runner: Arc<JobRunner>,
    pub(crate) running: Arc<Running>,
}

impl Acknowledge<()> for EndOfRun {
    type Error = StoreError;
    type Future = BoxFuture<'static, Result<(), StoreError>>;

    fn ack(&mut self, ended: &Result<(), BoxDynError>, context: &ExecutionContext) -> Self::Future {
        let Err(error) = ended else {
            return std::future::ready(Ok(())).boxed();
        };
        let Some(Held { job, claim }) = context.data().get::<Held>().cloned() else {
            tracing::error!(%error, "a task without a job ended");
            return std::future::ready(Ok(())).boxed();
        };
        tracing::error!(job_id = %job.id, %error, "the run was cut short");
        let Some(outcome) = outcome_of(error) else {
            return std::future::ready(Ok(())).boxed();
        };
        let Self { runner, running } = self.clone();
        async move {
            let written = runner.end(&job, &claim, outcome).await;
            running.wake();
            if let Err(error) = written {
                let error = &error as &dyn std::error::Error;
                tracing::error!(job_id = %job.id, error, "the job's end could not be written: its lease runs out");
            }
            Ok(())
        }
        .boxed()
    }
}

/// What a run that ended in `error` comes to; `None` where it cannot be written anyway, so that the lease runs out.
fn outcome_of(error: &BoxDynError) -> Option<Outcome> {
    if error.is::<Elapsed>() {
        let detail = "It did not stop by itself after its limit and was dropped";
        return Some(Outcome::Failed(Failure::new(JobErrorCode::JobTimeout, detail)));
    }
    match error.downcast_ref::<CutShort>() {
        Some(CutShort::Store(_)) => None,
        Some(CutShort::Aborted) => Some(Outcome::Yielded),
        None => Some(Outcome::Failed(Failure::new(
            JobErrorCode::Internal,
            "The job's run panicked",
        ))),
    }
}
