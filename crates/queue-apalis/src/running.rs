//! The jobs that run in this process, and the signal that reaches them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain_kernel::{CancelToken, JobId, StopReason};
use futures_util::future::AbortHandle;
use jobs::{Claim, JobSignal};
use tokio::sync::Notify;

/// The jobs that run here. It is the [`JobSignal`] of this process.
#[derive(Default)]
pub(crate) struct Running {
    table: Mutex<Table>,
    wake: Notify,
    left: Notify,
}

#[derive(Default)]
struct Table {
    stopping: bool,
    jobs: HashMap<JobId, Entry>,
}

struct Entry {
    cancel: CancelToken,
    abort: AbortHandle,
}

/// A run's place among the running jobs; leaves it when dropped.
pub(crate) struct Place {
    running: Arc<Running>,
    job_id: JobId,
    cancel: CancelToken,
}

impl Running {
    /// Enters a run. Where an older run of the same job is still stopping (its lease was lost), waits until it has left:
    /// the two never work at the same time. Once the queue stops, a run is told so as it enters.
    pub(crate) async fn enter(self: &Arc<Self>, claim: &Claim, cancel: CancelToken, abort: AbortHandle) -> Place {
        let job_id = claim.job_id;
        loop {
            let left = self.left.notified();
            futures_util::pin_mut!(left);
            // From here on a run that leaves is noticed, so none can leave between the look and the wait.
            left.as_mut().enable();
            {
                let mut table = self.table();
                let stopping = table.stopping;
                match table.jobs.get(&job_id) {
                    Some(older) => older.cancel.cancel(StopReason::LeaseLost),
                    None => {
                        let entry = Entry {
                            cancel: cancel.clone(),
                            abort,
                        };
                        table.jobs.insert(job_id, entry);
                        if stopping {
                            cancel.cancel(StopReason::Shutdown);
                        }
                        break;
                    }
                }
            }
            left.await;
        }
        Place {
            running: Arc::clone(self),
            job_id,
            cancel,
        }
    }

    /// Returns at the next wake-up, or at once where one came since the last time.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Tells every run, also those yet to enter, that the server stops.
    pub(crate) fn stop(&self) {
        let mut table = self.table();
        table.stopping = true;
        for entry in table.jobs.values() {
            entry.cancel.cancel(StopReason::Shutdown);
        }
    }

    /// Drops the runs that are left, whatever they do, and returns their jobs.
    pub(crate) fn abort(&self) -> Vec<JobId> {
        let table = self.table();
        for entry in table.jobs.values() {
            entry.abort.abort();
        }
        table.jobs.keys().copied().collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobSignal for Running {
    fn wake(&self) {
        // Kept until the next wait where nobody waits now.
        self.wake.notify_one();
    }

    fn cancel(&self, job_id: JobId) {
        if let Some(entry) = self.table().jobs.get(&job_id) {
            entry.cancel.cancel(StopReason::Cancelled);
        }
        // Where the job is queued, all that is left to do is to end it.
        self.wake();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.table().jobs.remove(&self.job_id);
        // Whoever still works for this run (it may have been dropped half way) must not go on.
        self.cancel.cancel(StopReason::LeaseLost);
        self.running.left.notify_waiters();
        // A worker is free, and so are the job's exclusion keys.
        self.running.wake();
    }
}
