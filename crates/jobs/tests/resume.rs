//! A run that dies at any point is taken up again where it was, and a new attempt begins at the first step.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests"
)]

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain_kernel::{CancelToken, JobErrorCode, JobId, NodeId};
use futures_util::poll;
use jobs::{
    JobKind, JobRunner, JobStatus, JobStore, NewJob, Outcome, Recover, RetryPolicy, RunEnd, StepError, StepStatus,
    WorkerId, Workflow,
};
use test_support::{ManualClock, MemoryJobs, ScriptedWorkflow};

const STEPS: [&str; 3] = ["acquire", "provision", "readiness"];
const LEASE: Duration = Duration::from_secs(30);

type Runs = Arc<Mutex<HashMap<&'static str, u32>>>;

struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<MemoryJobs>,
    runner: JobRunner,
    runs: Runs,
    id: JobId,
}

/// A job of three steps that count how often they begin; `last` says how the last one ends, given its count.
fn bench(last: impl Fn(u32) -> Result<(), StepError> + Clone + Send + Sync + 'static) -> Bench {
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(MemoryJobs::new(clock.clone()));
    let runs = Runs::default();
    let mut workflow = ScriptedWorkflow::new(JobKind::NodeProvision, store.clone());
    for name in STEPS {
        let (runs, last) = (runs.clone(), last.clone());
        workflow = workflow.step(name, move |_, context| {
            let (runs, last) = (runs.clone(), last.clone());
            async move {
                let count = {
                    let mut runs = runs.lock().unwrap();
                    let count = runs.entry(name).or_default();
                    *count += 1;
                    *count
                };
                context.detail("half way").await;
                if name == STEPS[2] { last(count) } else { Ok(()) }
            }
        });
    }
    let workflows: Vec<Arc<dyn Workflow>> = vec![Arc::new(workflow)];
    let runner = JobRunner::new(store.clone(), clock.clone(), RetryPolicy::default(), 5, workflows);
    let id = store.enqueue(NewJob::on_node(JobKind::NodeProvision, NodeId::generate(), 3));
    Bench {
        clock,
        store,
        runner,
        runs,
        id,
    }
}

impl Bench {
    async fn run(&self) -> RunEnd {
        let claimed = self
            .store
            .claim(&WorkerId::new("test"), LEASE)
            .await
            .unwrap()
            .expect("a job is due");
        self.runner.run(claimed, CancelToken::new()).await.unwrap()
    }

    /// Claims the job, polls its run `polls` times and drops it, as a dying process would. True where it ended before.
    async fn run_and_die(&self, polls: u32) -> bool {
        let claimed = self
            .store
            .claim(&WorkerId::new("doomed"), LEASE)
            .await
            .unwrap()
            .expect("a job is due");
        let mut run = pin!(self.runner.run(claimed, CancelToken::new()));
        for _ in 0..polls {
            if poll!(&mut run).is_ready() {
                return true;
            }
        }
        false
    }

    fn completed(&self) -> Vec<String> {
        let steps = self.store.view(self.id).steps;
        steps
            .into_iter()
            .filter(|step| step.status == StepStatus::Succeeded)
            .map(|step| step.name)
            .collect()
    }

    fn runs(&self, step: &str) -> u32 {
        self.runs.lock().unwrap().get(step).copied().unwrap_or(0)
    }
}

#[tokio::test]
async fn a_run_killed_at_any_point_and_repeated_ends_the_same_without_repeating_a_completed_step() {
    let mut kills_in_step = HashMap::new();
    for polls in 0.. {
        let bench = bench(|_| Ok(()));
        if bench.run_and_die(polls).await {
            break;
        }
        let view = bench.store.view(bench.id);
        if view.job.status == JobStatus::Succeeded {
            // It died after its last write.
            continue;
        }
        let completed = bench.completed();
        let started = view.steps.iter().find(|step| step.status == StepStatus::Started);
        if let Some(step) = started {
            *kills_in_step.entry(step.name.clone()).or_insert(0) += 1;
        }
        let before: Vec<u32> = STEPS.iter().map(|step| bench.runs(step)).collect();

        bench.store.recover(Recover::All).await.unwrap();
        assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));

        let view = bench.store.view(bench.id);
        assert_eq!(
            (view.job.status, view.job.attempt_count),
            (JobStatus::Succeeded, 1),
            "killed at {polls}"
        );
        assert_eq!(bench.completed(), STEPS, "killed at {polls}");
        for (step, before) in STEPS.iter().zip(before) {
            let again = if completed.iter().any(|name| name == step) {
                0
            } else {
                1
            };
            assert_eq!(bench.runs(step), before + again, "{step} after a kill at {polls}");
        }
    }
    for step in STEPS {
        assert!(
            kills_in_step.get(step).is_some_and(|kills| *kills > 1),
            "{step} was never killed: {kills_in_step:?}"
        );
    }
}

#[tokio::test]
async fn a_run_killed_again_and_again_still_ends_as_one_attempt() {
    let bench = bench(|_| Ok(()));
    while bench.store.view(bench.id).job.status != JobStatus::Succeeded {
        // Seven polls reach into a step and past the one before, so that the count of lost workers never adds up.
        bench.run_and_die(7).await;
        bench.store.recover(Recover::All).await.unwrap();
    }
    assert_eq!(bench.store.view(bench.id).job.attempt_count, 1);
    assert!(bench.runs(STEPS[2]) > 0);
}

#[tokio::test]
async fn a_retry_looks_at_every_step_again() {
    let bench = bench(|count| match count {
        1 => Err(StepError::failed(JobErrorCode::NodeNotReady, "")),
        _ => Ok(()),
    });
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    for step in STEPS {
        assert_eq!(bench.runs(step), 2, "{step}");
    }
    let view = bench.store.view(bench.id);
    assert_eq!(view.job.attempt_count, 2);
    assert!(view.steps.iter().all(|step| step.attempt == 2));
}

#[tokio::test]
async fn a_parked_job_goes_on_at_the_step_that_parked() {
    let bench = {
        let clock = ManualClock::new();
        let run_after = domain_kernel::Clock::now(&clock).plus(Duration::from_secs(10));
        bench(move |count| match count {
            1 => Err(StepError::Parked {
                run_after,
                detail: "waits".to_owned(),
            }),
            _ => Ok(()),
        })
    };
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Parked { .. })));
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(
        (bench.runs(STEPS[0]), bench.runs(STEPS[1]), bench.runs(STEPS[2])),
        (1, 1, 2)
    );
}

#[tokio::test]
async fn a_worker_whose_claim_was_taken_over_writes_nothing() {
    let bench = bench(|_| Ok(()));
    let old = bench.store.claim(&WorkerId::new("old"), LEASE).await.unwrap().unwrap();
    bench.clock.advance(LEASE);
    bench.store.recover(Recover::Expired).await.unwrap();
    let new = bench.store.claim(&WorkerId::new("new"), LEASE).await.unwrap().unwrap();
    assert!(new.claim.epoch > old.claim.epoch);

    let before = bench.store.all_events();
    assert_eq!(
        bench.runner.run(old, CancelToken::new()).await.unwrap(),
        RunEnd::LostLease
    );
    assert_eq!(bench.store.all_events(), before);
    assert_eq!(bench.runs(STEPS[0]), 0);

    assert_eq!(
        bench.runner.run(new, CancelToken::new()).await.unwrap(),
        RunEnd::Settled(Outcome::Succeeded)
    );
}
