//! A signal to a worker that is not there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use domain_kernel::JobId;
use jobs::JobSignal;

use crate::fake_provider::lock;

/// Remembers what a worker would have been told.
#[derive(Default)]
pub struct RecordingSignal {
    wakes: AtomicU64,
    cancelled: Mutex<Vec<JobId>>,
}

impl RecordingSignal {
    /// How often the worker would have been woken.
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::SeqCst)
    }

    /// The jobs that it would have been told to end.
    pub fn cancelled(&self) -> Vec<JobId> {
        lock(&self.cancelled).clone()
    }
}

impl JobSignal for RecordingSignal {
    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }

    fn cancel(&self, job_id: JobId) {
        lock(&self.cancelled).push(job_id);
    }
}
