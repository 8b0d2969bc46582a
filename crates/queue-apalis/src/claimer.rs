//! Decides when to look for a job: after a wake-up, when the next one is due, and now and then in any case.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain_kernel::{CancelToken, Clock, Timestamp};
use jobs::{ClaimedJob, JobStore, Recover, StoreError, WorkerId};

use crate::running::Running;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Looks for jobs. One look is at work at a time.
pub(crate) struct Claimer {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) running: Arc<Running>,
    /// Cancelled when no job may be claimed any more.
    pub(crate) closing: CancelToken,
    pub(crate) worker: WorkerId,
    pub(crate) lease: Duration,
    pub(crate) sweep: Duration,
    /// When the store is looked over next, wake-up or not.
    pub(crate) sweep_at: Mutex<Timestamp>,
}

impl Claimer {
    /// Waits for a job and claims it; `None` once the queue stops. A store that fails is asked again, with a growing
    /// wait between.
    pub(crate) async fn next(&self) -> Option<ClaimedJob> {
        let mut backoff = FIRST_BACKOFF;
        while self.closing.reason().is_none() {
            match self.look().await {
                Ok(Some(claimed)) => return Some(claimed),
                Ok(None) => {
                    backoff = FIRST_BACKOFF;
                    let wait = self.sweep_at().since(self.clock.now());
                    tokio::select! {
                        () = self.running.woken() => {}
                        () = self.clock.sleep(wait) => {}
                        _ = self.closing.cancelled() => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        wait = ?backoff,
                        "the store failed and is asked again"
                    );
                    // A wake-up does not shorten this wait: it stays for the next look.
                    tokio::select! {
                        () = self.clock.sleep(backoff) => {}
                        _ = self.closing.cancelled() => {}
                    }
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
        None
    }

    async fn look(&self) -> Result<Option<ClaimedJob>, StoreError> {
        let now = self.clock.now();
        if self.sweep_at() <= now {
            let lost = self.store.recover(Recover::Expired).await?;
            for job_id in lost {
                tracing::warn!(%job_id, "the job lost its worker and is queued again");
            }
            self.set_sweep_at(now.plus(self.sweep));
        }
        if let Some(claimed) = self.claim().await? {
            return Ok(Some(claimed));
        }
        // A moment in the past is none to wait for: what was due then and not claimed waits for another job's end.
        if let Some(due) = self.store.next_due().await?.filter(|due| *due > now) {
            self.set_sweep_at(self.sweep_at().min(due));
        }
        // What became due between the first claim and the question is in neither answer.
        self.claim().await
    }

    async fn claim(&self) -> Result<Option<ClaimedJob>, StoreError> {
        self.store.claim(&self.worker, self.lease).await
    }

    fn sweep_at(&self) -> Timestamp {
        *self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_sweep_at(&self, moment: Timestamp) {
        *self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }
}
