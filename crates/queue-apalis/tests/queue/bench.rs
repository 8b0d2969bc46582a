//! A store, a log of what the steps do, and a queue that can be started over the store again and again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock, JobId, NodeId, StopReason};
use jobs::{
    Job, JobKind, JobRunner, JobSignal, JobStatus, NewJob, RetryPolicy, StepContext, StepError, WorkerId, Workflow,
};
use queue_apalis::{Queue, QueueError, QueueSettings};
use test_support::{MemoryJobs, RealClock, ScriptedWorkflow};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a test waits for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// Longer than any test: a timer set to it never plays a part.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);
/// Lost workers in a row that end a job.
pub(crate) const POISON_LIMIT: u32 = 3;

/// What the steps did, in order.
#[derive(Clone)]
pub(crate) struct Log(Arc<watch::Sender<Vec<String>>>);

impl Log {
    pub(crate) fn write(&self, line: impl Into<String>) {
        self.0.send_modify(|lines| lines.push(line.into()));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Waits for `count` lines that begin with `start`.
    pub(crate) async fn wait_for(&self, start: &str, count: usize) {
        let mut lines = self.0.subscribe();
        let enough = |lines: &Vec<String>| lines.iter().filter(|line| line.starts_with(start)).count() >= count;
        let waited = tokio::time::timeout(LIMIT, lines.wait_for(enough)).await.is_ok();
        assert!(waited, "waited for {count} of {start:?}, saw {:?}", self.lines());
    }
}

/// A queue at work.
pub(crate) struct Started {
    pub(crate) signal: Arc<dyn JobSignal>,
    stop: CancelToken,
    task: JoinHandle<Result<(), QueueError>>,
}

impl Started {
    /// Tells it to stop and waits until it has.
    pub(crate) async fn stop(self) -> Result<(), QueueError> {
        self.tell_to_stop();
        self.ended().await
    }

    pub(crate) fn tell_to_stop(&self) {
        self.stop.cancel(StopReason::Shutdown);
    }

    pub(crate) async fn ended(self) -> Result<(), QueueError> {
        tokio::time::timeout(LIMIT, self.task)
            .await
            .expect("the queue ends in time")
            .expect("the queue does not panic")
    }

    /// Drops it where it is, as the end of its process would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The jobs and what runs them.
pub(crate) struct Bench {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<MemoryJobs>,
    pub(crate) log: Log,
    pub(crate) settings: QueueSettings,
    pub(crate) retry: RetryPolicy,
}

impl Bench {
    /// Timers never play a part, unless a test sets them.
    pub(crate) fn new() -> Self {
        Self::with_clock(Arc::new(RealClock))
    }

    pub(crate) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            store: Arc::new(MemoryJobs::new(Arc::clone(&clock))),
            clock,
            log: Log(Arc::new(watch::Sender::new(Vec::new()))),
            settings: QueueSettings {
                workers: 4,
                lease: NEVER,
                heartbeat: NEVER,
                sweep: NEVER,
                backstop: NEVER,
                ..QueueSettings::new(WorkerId::new("test"))
            },
            retry: RetryPolicy::default(),
        }
    }

    /// A workflow to add steps to.
    pub(crate) fn workflow(&self) -> ScriptedWorkflow {
        ScriptedWorkflow::new(JobKind::NodeProvision, self.store.clone())
    }

    /// Starts a queue for jobs of this workflow.
    pub(crate) fn start(&self, workflow: ScriptedWorkflow) -> Started {
        let workflows: Vec<Arc<dyn Workflow>> = vec![Arc::new(workflow)];
        let store = self.store.clone();
        let runner = JobRunner::new(
            store.clone(),
            self.clock.clone(),
            self.retry.clone(),
            POISON_LIMIT,
            workflows,
        );
        let queue = Queue::new(store, Arc::new(runner), self.clock.clone(), self.settings.clone());
        let signal = queue.signal();
        let stop = CancelToken::new();
        let task = tokio::spawn(queue.run(stop.clone()));
        Started { signal, stop, task }
    }

    /// Starts a queue for jobs of one step.
    pub(crate) fn start_step<Fut>(&self, step: impl Fn(Job, StepContext, Log) -> Fut + Send + Sync + 'static) -> Started
    where
        Fut: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        let log = self.log.clone();
        self.start(
            self.workflow()
                .step("only", move |job, context| step(job, context, log.clone())),
        )
    }

    /// Accepts a job on a node, without a signal.
    pub(crate) fn accept(&self, node: NodeId) -> JobId {
        self.store.enqueue(NewJob::on_node(JobKind::NodeProvision, node, 3))
    }

    /// Accepts a job on a node of its own, without a signal.
    pub(crate) fn accept_alone(&self) -> JobId {
        self.accept(NodeId::generate())
    }

    pub(crate) fn job(&self, id: JobId) -> Job {
        self.store.view(id).job
    }

    /// Waits until a job stands there.
    pub(crate) async fn reach(&self, id: JobId, status: JobStatus) {
        let reached = async {
            while self.job(id).status != status {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(LIMIT, reached).await.is_ok();
        assert!(reached, "{status} was not reached: {:?}", self.job(id));
    }
}

/// Waits until the step is told to stop, as a good step does.
pub(crate) async fn until_stopped(context: &StepContext) -> Result<(), StepError> {
    Err(StepError::Stopped(context.limits.cancel.cancelled().await))
}
