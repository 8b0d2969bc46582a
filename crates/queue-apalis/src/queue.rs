//! The queue: an apalis worker over a store's jobs, started once per process and stopped without losing work.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apalis::prelude::{ParallelizeExt, WorkerBuilder, WorkerBuilderExt, WorkerContext};
use apalis_core::error::WorkerError;
use domain_kernel::{CancelToken, Clock, JobId, StopReason};
use futures_util::FutureExt;
use jobs::{ClaimedJob, JobRunner, JobSignal, JobStore, WorkerId};

use crate::ack::EndOfRun;
use crate::backend::JobBackend;
use crate::claimer::Claimer;
use crate::handler::Handler;
use crate::running::Running;

/// How long running jobs have to stop by themselves when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long their ends may take to be written after they were dropped.
const ABORT_LIMIT: Duration = Duration::from_secs(5);

/// How the queue works.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// The name that claims carry.
    pub worker: WorkerId,
    /// How many jobs run at a time; never more are claimed.
    pub workers: usize,
    /// How long a claim is good without a heartbeat. A job whose claim could not be renewed for two thirds of it stops.
    pub lease: Duration,
    /// How often a claim is renewed; so long a cancel request that came without a signal may take to arrive.
    pub heartbeat: Duration,
    /// How often the store is looked over without a wake-up: for jobs of other processes and for lost ones.
    pub sweep: Duration,
    /// When a run that does not end by itself is dropped: later than any workflow's limit.
    pub backstop: Duration,
}

impl QueueSettings {
    /// The defaults: 4 at a time, a lease of 30 s renewed every 5 s, a sweep every 15 s, dropped after 61 minutes.
    pub fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            workers: 4,
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            sweep: Duration::from_secs(15),
            backstop: Duration::from_secs(61 * 60),
        }
    }
}

/// Why the queue did not run until it was told to stop, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The worker ended by itself.
    #[error("the worker ended by itself")]
    Worker(#[source] WorkerError),
    /// The worker ended without an error although nobody told it to.
    #[error("the worker ended without being told to")]
    Ended,
    /// Jobs did not stop in time and were dropped. They go on after the next start.
    #[error("{} jobs did not stop in time and were dropped", jobs.len())]
    Dropped {
        /// Those jobs.
        jobs: Vec<JobId>,
    },
}

/// Runs the jobs of a store.
pub struct Queue {
    store: Arc<dyn JobStore>,
    runner: Arc<JobRunner>,
    clock: Arc<dyn Clock>,
    settings: QueueSettings,
    running: Arc<Running>,
}

impl Queue {
    /// A queue that does nothing yet. It does not recover jobs of a process that died before
    /// ([`jobs::Recover::All`]): whoever holds the data directory's lock does, after their children were ended.
    pub fn new(
        store: Arc<dyn JobStore>,
        runner: Arc<JobRunner>,
        clock: Arc<dyn Clock>,
        settings: QueueSettings,
    ) -> Self {
        Self {
            store,
            runner,
            clock,
            settings,
            running: Arc::new(Running::default()),
        }
    }

    /// Tells this queue what was committed. Safe to use before, while and after it runs.
    pub fn signal(&self) -> Arc<dyn JobSignal> {
        Arc::clone(&self.running) as Arc<dyn JobSignal>
    }

    /// Runs jobs until `stop`. Then claims no more, tells the running ones to stop, and returns when each has been given
    /// back; those that have not after 20 s are dropped and given back.
    ///
    /// Dropping the future drops the running jobs where they are, as a kill of the process would.
    ///
    /// # Errors
    /// See [`QueueError`]. A store that fails is no error: it is asked again.
    pub async fn run(self, stop: CancelToken) -> Result<(), QueueError> {
        let closing = CancelToken::new();
        let _end = End {
            running: Arc::clone(&self.running),
            closing: closing.clone(),
        };
        let context = WorkerContext::new(self.settings.worker.as_str());
        let handler = Arc::new(self.handler());
        let mut worker = WorkerBuilder::new(&context)
            .backend(self.backend(closing.clone()))
            .concurrency(self.settings.workers)
            .parallelize(tokio::spawn)
            .timeout(self.settings.backstop)
            .enable_tracing()
            .catch_panic()
            .build(move |claimed: ClaimedJob| {
                let handler = Arc::clone(&handler);
                async move { handler.run(claimed).await }.boxed()
            })
            .run()
            .boxed();

        tokio::select! {
            // First, so that the worker is started before it is told to stop.
            biased;
            ended = &mut worker => return Err(ended.map_or_else(QueueError::Worker, |()| QueueError::Ended)),
            _ = stop.cancelled() => {}
        }
        closing.cancel(StopReason::Shutdown);
        self.running.stop();
        context.stop().map_err(QueueError::Worker)?;
        tokio::select! {
            ended = &mut worker => return ended.map_err(QueueError::Worker),
            () = self.clock.sleep(STOP_LIMIT) => {}
        }
        let jobs = self.running.abort();
        tokio::select! {
            ended = &mut worker => ended.map_err(QueueError::Worker)?,
            () = self.clock.sleep(ABORT_LIMIT) => {}
        }
        Err(QueueError::Dropped { jobs })
    }

    fn handler(&self) -> Handler {
        Handler {
            store: Arc::clone(&self.store),
            runner: Arc::clone(&self.runner),
            clock: Arc::clone(&self.clock),
            running: Arc::clone(&self.running),
            lease: self.settings.lease,
            heartbeat: self.settings.heartbeat,
        }
    }

    fn backend(&self, closing: CancelToken) -> JobBackend {
        let claimer = Claimer {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            running: Arc::clone(&self.running),
            closing,
            worker: self.settings.worker.clone(),
            lease: self.settings.lease,
            sweep: self.settings.sweep,
            // The first look is a sweep.
            sweep_at: Mutex::new(self.clock.now()),
        };
        let end_of_run = EndOfRun {
            runner: Arc::clone(&self.runner),
            running: Arc::clone(&self.running),
        };
        JobBackend::new(claimer, Arc::clone(&self.runner), end_of_run)
    }
}

/// Ends the claims and the runs with the queue's future: they are in tasks of their own and would outlive it.
struct End {
    running: Arc<Running>,
    closing: CancelToken,
}

impl Drop for End {
    fn drop(&mut self) {
        self.closing.cancel(StopReason::Shutdown);
        self.running.abort();
    }
}
