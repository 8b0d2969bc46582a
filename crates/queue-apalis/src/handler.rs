//! Runs one claimed job: keeps its claim, registers its cancel token, and leaves the rest to the [`JobRunner`].

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock};
use futures_util::future::{AbortHandle, Abortable};
use jobs::{ClaimedJob, JobRunner, JobStore, RunEnd, StoreError};

use crate::lease::Lease;
use crate::running::Running;

/// Why a run ended without having written its outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutShort {
    /// The store failed for too long.
    #[error("the outcome could not be stored")]
    Store(#[source] StoreError),
    /// It did not stop in time when the server was stopped.
    #[error("the run did not stop in time")]
    Aborted,
}

/// What every run needs.
pub(crate) struct Handler {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) runner: Arc<JobRunner>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) running: Arc<Running>,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
}

impl Handler {
    /// Runs a job until its outcome is written, its claim is lost, or it is cut short.
    pub(crate) async fn run(&self, claimed: ClaimedJob) -> Result<(), CutShort> {
        let job_id = claimed.job.id;
        let cancel = CancelToken::new();
        let lease = Lease {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            claim: claimed.claim.clone(),
            cancel: cancel.clone(),
            length: self.lease,
            every: self.heartbeat,
        };
        let claimed_at = claimed.job.locked_at.unwrap_or_else(|| self.clock.now());
        let _heartbeats = lease.keep(claimed_at);
        let (abort, aborted) = AbortHandle::new_pair();
        let _place = self.running.enter(&claimed.claim, cancel.clone(), abort).await;
        match Abortable::new(self.runner.run(claimed, cancel), aborted).await {
            Ok(Ok(RunEnd::Settled(outcome))) => {
                tracing::info!(%job_id, status = outcome.status().as_str(), "the run ended");
                Ok(())
            }
            Ok(Ok(RunEnd::LostLease)) => {
                tracing::warn!(%job_id, "the run ended without its claim: nothing was written");
                Ok(())
            }
            Ok(Err(error)) => Err(CutShort::Store(error)),
            Err(_) => Err(CutShort::Aborted),
        }
    }
}
