//! Keeps a claim: renews its lease while the job runs, and brings an operator's cancel request to it.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock, StopReason, Timestamp};
use futures_util::future::{Either, select};
use jobs::{Claim, JobStore, StoreError};
use tokio::task::JoinHandle;

/// How a claim is kept.
pub(crate) struct Lease {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) claim: Claim,
    pub(crate) cancel: CancelToken,
    /// How long the claim is good without a renewal.
    pub(crate) length: Duration,
    /// How often it is renewed.
    pub(crate) every: Duration,
}

/// Renewals in a task of their own, so that a busy step does not hold them up; ended when dropped.
pub(crate) struct Heartbeats(JoinHandle<()>);

impl Lease {
    /// Renews the lease, last renewed at `renewed`, until the claim is lost.
    pub(crate) fn keep(self, renewed: Timestamp) -> Heartbeats {
        Heartbeats(tokio::spawn(self.beat(renewed)))
    }

    async fn beat(self, mut renewed: Timestamp) {
        loop {
            self.clock.sleep(self.every).await;
            let asked = self.clock.now();
            match self.renew(renewed).await {
                Some(Ok(answer)) => {
                    renewed = asked;
                    if answer.cancel_requested {
                        self.cancel.cancel(StopReason::Cancelled);
                    }
                }
                Some(Err(StoreError::LostLease)) => {
                    tracing::warn!(job_id = %self.claim.job_id, epoch = self.claim.epoch, "the claim was lost");
                    return self.cancel.cancel(StopReason::LeaseLost);
                }
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(job_id = %self.claim.job_id, error, "the claim was not renewed and is tried again");
                }
                None => {
                    tracing::error!(job_id = %self.claim.job_id, "the claim could not be renewed in time: the job stops here");
                    return self.cancel.cancel(StopReason::LeaseLost);
                }
            }
        }
    }

    /// Asks for one renewal; `None` where the lease was not renewed for so long that the work must stop.
    async fn renew(&self, renewed: Timestamp) -> Option<Result<jobs::Heartbeat, StoreError>> {
        // A third of the lease is for ending what the step started: another worker may take the job when it has passed.
        let last = renewed.plus(self.length - self.length / 3);
        let ask = self.store.heartbeat(&self.claim, self.length);
        match select(ask, self.clock.sleep(last.since(self.clock.now()))).await {
            Either::Left((Err(StoreError::LostLease), _)) => Some(Err(StoreError::LostLease)),
            Either::Left((Err(_), _)) if self.clock.now() >= last => None,
            Either::Left((answer, _)) => Some(answer),
            Either::Right(((), _)) => None,
        }
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.0.abort();
    }
}
