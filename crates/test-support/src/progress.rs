//! A sink that remembers, and contexts for calling adapters outside a job.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, JobId, Limits};
use jobs::{NewEvent, ProgressSink, StepContext};

/// Remembers every event and detail.
#[derive(Default)]
pub struct RecordingProgress {
    events: Mutex<Vec<NewEvent>>,
    details: Mutex<Vec<String>>,
}

impl RecordingProgress {
    /// The events so far.
    pub fn events(&self) -> Vec<NewEvent> {
        self.events.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The details so far.
    pub fn details(&self) -> Vec<String> {
        self.details.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

#[async_trait]
impl ProgressSink for RecordingProgress {
    async fn record(&self, event: NewEvent) {
        self.events.lock().unwrap_or_else(|e| e.into_inner()).push(event);
    }

    async fn detail(&self, detail: &str) {
        self.details
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(detail.to_owned());
    }
}

/// A step's context with `limit` left, its cancel token, and what it records.
pub fn step_context(
    step: &'static str,
    limit: Duration,
    clock: Arc<dyn Clock>,
) -> (StepContext, CancelToken, Arc<RecordingProgress>) {
    let cancel = CancelToken::new();
    let limits = Limits {
        cancel: cancel.clone(),
        deadline: clock.now().plus(limit),
    };
    let progress = Arc::new(RecordingProgress::default());
    let sink: Arc<dyn ProgressSink> = progress.clone();
    let context = StepContext::for_job(JobId::generate(), 1, step, limits, clock, sink);
    (context, cancel, progress)
}
