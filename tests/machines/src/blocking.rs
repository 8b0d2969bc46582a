//! Asynchronous work for callers that may or may not be inside a runtime.

use std::time::Duration;
use std::{sync::Arc, thread};

use jobs::StepContext;
use process_exec::SystemClock;

/// Runs `work` to its end on a thread of its own, because a runtime cannot be entered from within another.
pub(crate) fn block_on<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work())
    };
    thread::scope(|scope| {
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The limits of work on a machine: building the base image for the first time is the longest.
pub(crate) fn context(name: &'static str) -> StepContext {
    StepContext::outside_job(name, Duration::from_secs(600), Arc::new(SystemClock))
}
