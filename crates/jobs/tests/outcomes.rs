//! What the runner makes of each way in which a step can end.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, JobErrorCode, JobId, NodeId, StopReason};
use jobs::{
    Claim, ClaimedJob, Failure, Job, JobCatalog, JobKind, JobRunner, JobStatus, JobStore, NewJob, Outcome, Recover,
    RetryPolicy, RunEnd, Step, StepError, StepStatus, StoreError, WorkerId, Workflow,
};
use test_support::{ManualClock, MemoryJobs, ScriptedWorkflow};

const LEASE: Duration = Duration::from_secs(30);
const POISON_LIMIT: u32 = 5;

struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<MemoryJobs>,
    id: JobId,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = Arc::new(MemoryJobs::new(clock.clone()));
        let id = store.enqueue(NewJob::on_node(JobKind::NodeProvision, NodeId::generate(), 3));
        Self { clock, store, id }
    }

    fn workflow(&self) -> ScriptedWorkflow {
        ScriptedWorkflow::new(JobKind::NodeProvision, self.store.clone())
    }

    fn runner(&self, workflow: impl Workflow + 'static) -> JobRunner {
        let workflows: Vec<Arc<dyn Workflow>> = vec![Arc::new(workflow)];
        JobRunner::new(
            self.store.clone(),
            self.clock.clone(),
            RetryPolicy::default(),
            POISON_LIMIT,
            workflows,
        )
    }

    async fn claim(&self) -> ClaimedJob {
        let claimed = self.store.claim(&WorkerId::new("test"), LEASE).await.unwrap();
        claimed.expect("a job is due")
    }

    /// Runs the job once with one step that ends in what `step` makes.
    async fn run(&self, step: impl Fn() -> Result<(), StepError> + Send + Sync + 'static) -> RunEnd {
        let runner = self.runner(self.workflow().step("only", move |_, _| std::future::ready(step())));
        runner.run(self.claim().await, CancelToken::new()).await.unwrap()
    }

    fn job(&self) -> Job {
        self.store.view(self.id).job
    }

    fn step_status(&self) -> StepStatus {
        self.store.view(self.id).steps[0].status
    }

    fn error_code(&self) -> Option<JobErrorCode> {
        self.job().error.map(|failure| failure.code)
    }
}

#[tokio::test]
async fn a_job_whose_steps_succeed_succeeds() {
    let bench = Bench::new();
    assert_eq!(bench.run(|| Ok(())).await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.job().status, JobStatus::Succeeded);
    assert_eq!(bench.job().finished_at, Some(bench.clock.now()));
    assert_eq!(bench.step_status(), StepStatus::Succeeded);
}

#[tokio::test]
async fn a_retryable_failure_is_tried_again_after_the_policys_waits_and_then_fails() {
    let bench = Bench::new();
    for (attempt, wait) in [(1, 60), (2, 300)] {
        let failure = Failure::new(JobErrorCode::AnsibleHostFailed, "a task failed");
        let run_after = bench.clock.now().plus(Duration::from_secs(wait));
        assert_eq!(bench.job().attempt_count, attempt);
        let end = bench
            .run(|| Err(StepError::failed(JobErrorCode::AnsibleHostFailed, "a task failed")))
            .await;
        assert_eq!(end, RunEnd::Settled(Outcome::Retry { failure, run_after }));
        assert_eq!(bench.job().status, JobStatus::Queued);
        assert_eq!(bench.step_status(), StepStatus::Failed);
        bench
            .clock
            .advance(Duration::from_secs(wait) - Duration::from_micros(1));
        assert!(
            bench
                .store
                .claim(&WorkerId::new("early"), LEASE)
                .await
                .unwrap()
                .is_none()
        );
        bench.clock.advance(Duration::from_micros(1));
    }
    bench
        .run(|| Err(StepError::failed(JobErrorCode::AnsibleHostFailed, "a task failed")))
        .await;
    assert_eq!(bench.job().status, JobStatus::Failed);
    assert_eq!(bench.error_code(), Some(JobErrorCode::AnsibleHostFailed));
    assert_eq!(bench.job().attempt_count, 3);
}

#[tokio::test]
async fn a_failure_that_is_not_retryable_ends_the_job_at_the_first_attempt() {
    let bench = Bench::new();
    bench
        .run(|| Err(StepError::failed(JobErrorCode::AnsibleSyntaxError, "")))
        .await;
    assert_eq!(bench.job().status, JobStatus::Failed);
    assert_eq!(bench.error_code(), Some(JobErrorCode::AnsibleSyntaxError));
}

#[tokio::test]
async fn a_step_stopped_by_an_operator_ends_the_job_as_cancelled() {
    let bench = Bench::new();
    bench.run(|| Err(StepError::Stopped(StopReason::Cancelled))).await;
    assert_eq!(bench.job().status, JobStatus::Cancelled);
    assert_eq!(bench.step_status(), StepStatus::Cancelled);
}

#[tokio::test]
async fn a_step_stopped_by_a_shutdown_leaves_the_job_queued_and_the_step_interrupted() {
    let bench = Bench::new();
    let end = bench.run(|| Err(StepError::Stopped(StopReason::Shutdown))).await;
    assert_eq!(end, RunEnd::Settled(Outcome::Yielded));
    assert_eq!((bench.job().status, bench.job().attempt_count), (JobStatus::Queued, 1));
    assert_eq!(bench.step_status(), StepStatus::Started);
    assert_eq!(bench.job().lost_workers, 0);
}

#[tokio::test]
async fn a_run_without_its_lease_writes_nothing_more() {
    for lost in [
        || StepError::Stopped(StopReason::LeaseLost),
        || StepError::Store(StoreError::LostLease),
    ] {
        let bench = Bench::new();
        assert_eq!(bench.run(move || Err(lost())).await, RunEnd::LostLease);
        assert_eq!(bench.job().status, JobStatus::Running);
        assert_eq!(bench.step_status(), StepStatus::Started);
    }
}

#[tokio::test]
async fn a_step_past_its_deadline_fails_the_job_with_a_timeout() {
    let bench = Bench::new();
    bench.run(|| Err(StepError::DeadlineExceeded)).await;
    assert_eq!(bench.error_code(), Some(JobErrorCode::JobTimeout));
    assert_eq!(bench.step_status(), StepStatus::Failed);
}

#[tokio::test]
async fn the_time_limit_bounds_all_steps_together() {
    let bench = Bench::new();
    let clock = bench.clock.clone();
    let workflow = bench
        .workflow()
        .time_limit(Duration::from_secs(60))
        .step("slow", move |_, _| {
            clock.advance(Duration::from_secs(61));
            std::future::ready(Ok(()))
        });
    let runner = bench.runner(workflow.step("never", |_, _| async { panic!("the time is over") }));
    runner.run(bench.claim().await, CancelToken::new()).await.unwrap();
    assert_eq!(bench.error_code(), Some(JobErrorCode::JobTimeout));
    assert_eq!(bench.store.view(bench.id).steps.len(), 1);
}

#[tokio::test]
async fn a_parked_step_is_looked_at_again_later_in_the_same_attempt() {
    let bench = Bench::new();
    let run_after = bench.clock.now().plus(Duration::from_secs(10));
    let detail = "waits for the key".to_owned();
    let end = bench
        .run(move || {
            Err(StepError::Parked {
                run_after,
                detail: detail.clone(),
            })
        })
        .await;
    assert_eq!(end, RunEnd::Settled(Outcome::Parked { run_after }));
    let job = bench.job();
    assert_eq!(
        (job.status, job.attempt_count, job.run_after),
        (JobStatus::Queued, 1, run_after)
    );
    let step = &bench.store.view(bench.id).steps[0];
    assert_eq!(
        (step.status, step.detail.as_deref()),
        (StepStatus::Parked, Some("waits for the key"))
    );
}

#[tokio::test]
async fn a_step_that_cannot_store_what_it_found_fails_the_job_as_internal() {
    let bench = Bench::new();
    bench
        .run(|| Err(StepError::Store(StoreError::VersionConflict("node"))))
        .await;
    assert_eq!(bench.error_code(), Some(JobErrorCode::Internal));
}

#[tokio::test]
async fn a_panic_in_a_step_fails_the_job_as_internal() {
    let bench = Bench::new();
    bench.run(|| panic!("a bug")).await;
    assert_eq!(bench.job().status, JobStatus::Failed);
    assert_eq!(bench.error_code(), Some(JobErrorCode::Internal));
    assert_eq!(bench.step_status(), StepStatus::Failed);
}

#[tokio::test]
async fn a_failure_of_a_step_that_was_told_to_stop_counts_as_the_stop() {
    for (reason, status) in [
        (StopReason::Cancelled, JobStatus::Cancelled),
        (StopReason::Shutdown, JobStatus::Queued),
    ] {
        let bench = Bench::new();
        let workflow = bench.workflow().step("killed", move |_, context| {
            context.limits.cancel.cancel(reason);
            std::future::ready(Err(StepError::failed(
                JobErrorCode::AnsibleUnknownExit,
                "its process was killed",
            )))
        });
        bench
            .runner(workflow)
            .run(bench.claim().await, CancelToken::new())
            .await
            .unwrap();
        assert_eq!((bench.job().status, bench.error_code()), (status, None));
    }
}

#[tokio::test]
async fn a_job_with_a_cancel_request_ends_without_a_step() {
    let bench = Bench::new();
    bench.store.request_cancel(bench.id, None).await.unwrap();
    bench.run(|| panic!("nothing may run")).await;
    assert_eq!(bench.job().status, JobStatus::Cancelled);
    assert!(bench.store.view(bench.id).steps.is_empty());
}

#[tokio::test]
async fn a_cancel_request_during_the_last_moments_of_a_failing_run_is_due_at_once() {
    let bench = Bench::new();
    let (store, id) = (bench.store.clone(), bench.id);
    let workflow = bench.workflow().step("fails", move |_, _| {
        let store = store.clone();
        async move {
            store.request_cancel(id, None).await?;
            Err(StepError::failed(JobErrorCode::NodeNotReady, ""))
        }
    });
    let runner = bench.runner(workflow);
    runner.run(bench.claim().await, CancelToken::new()).await.unwrap();
    assert_eq!(bench.job().status, JobStatus::Queued);
    runner.run(bench.claim().await, CancelToken::new()).await.unwrap();
    assert_eq!(bench.job().status, JobStatus::Cancelled);
}

#[tokio::test]
async fn a_job_of_an_unknown_kind_fails_as_internal() {
    let bench = Bench::new();
    let runner = JobRunner::new(
        bench.store.clone(),
        bench.clock.clone(),
        RetryPolicy::default(),
        POISON_LIMIT,
        vec![],
    );
    runner.run(bench.claim().await, CancelToken::new()).await.unwrap();
    assert_eq!(bench.error_code(), Some(JobErrorCode::Internal));
}

#[tokio::test]
async fn five_lost_workers_on_one_step_end_the_job_as_worker_lost() {
    let bench = Bench::new();
    for _ in 0..POISON_LIMIT {
        let claimed = bench.claim().await;
        bench.store.step_started(&claimed.claim, 0, "deadly").await.unwrap();
        bench.store.recover(Recover::All).await.unwrap();
    }
    bench.run(|| panic!("nothing may run")).await;
    let failure = bench.job().error.unwrap();
    assert_eq!(failure.code, JobErrorCode::WorkerLost);
    assert_eq!(failure.detail, "5 workers were lost in step deadly");
}

#[tokio::test]
async fn a_completed_step_ends_the_count_of_lost_workers() {
    let bench = Bench::new();
    for _ in 0..POISON_LIMIT - 1 {
        bench.claim().await;
        bench.store.recover(Recover::All).await.unwrap();
    }
    assert_eq!(bench.job().lost_workers, POISON_LIMIT - 1);
    bench.run(|| Ok(())).await;
    assert_eq!(
        (bench.job().status, bench.job().lost_workers),
        (JobStatus::Succeeded, 0)
    );
}

#[tokio::test]
async fn a_write_that_fails_for_a_moment_is_repeated() {
    let bench = Bench::new();
    let store = bench.store.clone();
    let workflow = bench.workflow().step("works", move |_, _| {
        store.set_failing(true);
        std::future::ready(Ok(()))
    });
    let runner = bench.runner(workflow);
    let claimed = bench.claim().await;
    let running = tokio::spawn(async move { runner.run(claimed, CancelToken::new()).await });
    while bench.clock.sleeps().len() < 2 {
        bench.clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    bench.store.set_failing(false);
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(running.await.unwrap().unwrap(), RunEnd::Settled(Outcome::Succeeded));
}

/// A workflow whose end cannot be written.
struct Unsettled(AtomicU32);

#[async_trait]
impl Workflow for Unsettled {
    fn kind(&self) -> JobKind {
        JobKind::NodeProvision
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        Vec::new()
    }

    async fn settle(&self, _job: &Job, _claim: &Claim, _outcome: Outcome) -> Result<(), StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::NotFound("node"))
    }
}

#[tokio::test]
async fn a_job_whose_end_can_never_be_settled_does_not_run_for_ever() {
    let bench = Bench::new();
    let runner = bench.runner(Unsettled(AtomicU32::new(0)));
    for _ in 0..POISON_LIMIT {
        assert!(runner.run(bench.claim().await, CancelToken::new()).await.is_err());
        assert_eq!(bench.job().status, JobStatus::Running);
        bench.clock.advance(LEASE);
        assert_eq!(bench.store.recover(Recover::Expired).await.unwrap(), [bench.id]);
    }
    runner.run(bench.claim().await, CancelToken::new()).await.unwrap();
    assert_eq!(bench.error_code(), Some(JobErrorCode::WorkerLost));
}
