//! The job queue as the server has it, SQLite and apalis, over a workflow that does nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, JobId, NodeId, StopReason};
use jobs::{
    Claim, Job, JobKind, JobRunner, JobSignal, JobStore, NewJob, Outcome, RetryPolicy, Step, StepContext, StepError,
    StoreError, WorkerId, Workflow,
};
use nodes_domain::{AcquisitionSource, NewNode, NodeName, NodeStore, ProviderId};
use persistence_diesel::Database;
use process_exec::SystemClock;
use queue_apalis::{Queue, QueueError, QueueSettings};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::report::Row;
use crate::sample::Sample;

/// How many jobs are measured.
const JOBS: usize = 1000;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::Builder::new().prefix("pl-bench-").tempdir_in("/var/tmp")?;
    let database = Arc::new(open(folder.path())?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let starts = one_by_one(&database).await?;
        let per_second = all_at_once(&database).await?;
        Ok(vec![
            Row::new(
                "job: enqueue (commit included) to start, 1,000 jobs",
                "ms",
                starts.spread(),
            )
            .aim("p99", 5.0),
            Row::new("jobs of one empty step, 4 at a time", "jobs/s", vec![("", per_second)]),
        ])
    })
}

fn open(folder: &Path) -> anyhow::Result<Database> {
    let url = format!("sqlite:{}", folder.join("bench.sqlite").display());
    let database = Database::open(&url, Arc::new(SystemClock))?;
    database.migrate()?;
    Ok(database)
}

/// From the call that accepts a job, its commit included, to the begin of its step. Each job is accepted when the one before
/// has ended: the wait is the queue's own, not that for other jobs.
async fn one_by_one(database: &Arc<Database>) -> anyhow::Result<Sample> {
    let mut worker = Worker::start(database);
    let mut waits = Vec::with_capacity(JOBS);
    for _ in 0..JOBS {
        let begin = Instant::now();
        let id = accept(database).await?;
        worker.signal.wake();
        let started = worker.next_start(id).await?;
        waits.push(started.duration_since(begin));
        worker.next_end(id).await?;
    }
    worker.stop().await?;
    Ok(Sample::in_ms(waits))
}

/// All jobs wait when the queue starts; counted until the last one has ended.
async fn all_at_once(database: &Arc<Database>) -> anyhow::Result<f64> {
    for _ in 0..JOBS {
        accept(database).await?;
    }
    let begin = Instant::now();
    let mut worker = Worker::start(database);
    for _ in 0..JOBS {
        let ended = tokio::time::timeout(LIMIT, worker.ends.recv()).await;
        ended.context("a job did not end")?.context("the queue ended")?;
    }
    let took = begin.elapsed();
    worker.stop().await?;
    Ok(JOBS as f64 / took.as_secs_f64())
}

/// Writes a node with a job of its own, in one transaction, as a request does.
async fn accept(database: &Database) -> anyhow::Result<JobId> {
    let id = NodeId::generate();
    let node = NewNode {
        id,
        name: NodeName::default_for(id),
        source: AcquisitionSource::Local,
        provider: ProviderId::new("none"),
        host_id: "bench".to_owned(),
        remote: None,
    };
    let job = NewJob::on_node(JobKind::NodeProvision, id, 1);
    Ok(database.create(node, job, None).await?.job_id)
}

/// A running queue, and what its jobs tell.
struct Worker {
    signal: Arc<dyn JobSignal>,
    starts: UnboundedReceiver<(JobId, Instant)>,
    ends: UnboundedReceiver<JobId>,
    stop: CancelToken,
    task: JoinHandle<Result<(), QueueError>>,
}

impl Worker {
    fn start(database: &Arc<Database>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store: Arc<dyn JobStore> = database.clone();
        let (started, starts) = unbounded_channel();
        let (ended, ends) = unbounded_channel();
        let empty = Empty {
            store: store.clone(),
            started,
            ended,
        };
        let retry = RetryPolicy::default();
        let runner = JobRunner::new(store.clone(), clock.clone(), retry, 5, vec![Arc::new(empty)]);
        let settings = QueueSettings::new(WorkerId::new("bench"));
        let queue = Queue::new(store, Arc::new(runner), clock, settings);
        let signal = queue.signal();
        let stop = CancelToken::new();
        let task = tokio::spawn(queue.run(stop.clone()));
        Self {
            signal,
            starts,
            ends,
            stop,
            task,
        }
    }

    async fn next_start(&mut self, id: JobId) -> anyhow::Result<Instant> {
        let next = tokio::time::timeout(LIMIT, self.starts.recv()).await;
        let (started, at) = next.context("a job did not start")?.context("the queue ended")?;
        ensure!(started == id, "another job was started: {started}");
        Ok(at)
    }

    async fn next_end(&mut self, id: JobId) -> anyhow::Result<()> {
        let next = tokio::time::timeout(LIMIT, self.ends.recv()).await;
        let ended = next.context("a job did not end")?.context("the queue ended")?;
        ensure!(ended == id, "another job has ended: {ended}");
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel(StopReason::Shutdown);
        Ok(self.task.await??)
    }
}

/// The workflow: one step that tells when it began.
struct Empty {
    store: Arc<dyn JobStore>,
    started: UnboundedSender<(JobId, Instant)>,
    ended: UnboundedSender<JobId>,
}

#[async_trait]
impl Workflow for Empty {
    fn kind(&self) -> JobKind {
        JobKind::NodeProvision
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        vec![Arc::new(Tell(self.started.clone()))]
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        self.store.finish(claim, &outcome).await?;
        // Nobody listens any more where the measurement broke off.
        let _ = self.ended.send(job.id);
        Ok(())
    }
}

struct Tell(UnboundedSender<(JobId, Instant)>);

#[async_trait]
impl Step for Tell {
    fn name(&self) -> &'static str {
        "tell"
    }

    async fn run(&self, job: &Job, _context: &StepContext) -> Result<(), StepError> {
        let _ = self.0.send((job.id, Instant::now()));
        Ok(())
    }
}
