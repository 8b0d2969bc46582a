//! What holds for every step of every workflow: it can be interrupted and repeated, and the end is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, JobId, NodeId, StopReason};
use futures_util::poll;
use jobs::{
    Claim, Job, JobKind, JobStatus, JobStore, Outcome, Recover, RunEnd, Step, StepContext, StepError, StepStatus,
    StoreError, Workflow,
};
use nodes_domain::Instance;
use test_support::{FakeKeys, fake_host_key};

use crate::bench::Bench;

/// The steps of a workflow, as they are shown: a new workflow or step must be entered here.
fn steps_of(kind: JobKind) -> &'static [&'static str] {
    match kind {
        JobKind::NodeProvision => &[
            "acquire",
            "inject_key",
            "wait_for_ssh",
            "provision",
            "keep_image",
            "readiness",
        ],
        JobKind::NodeDecommission => &["disconnect", "release"],
    }
}

/// A job of the kind that waits, with the world that it needs.
async fn waiting(bench: &Bench, kind: JobKind) -> (NodeId, JobId) {
    match kind {
        JobKind::NodeProvision => bench.asked().await,
        JobKind::NodeDecommission => {
            let node_id = bench.active_node().await;
            let accepted = bench.service.delete(node_id, None).await.unwrap();
            (node_id, accepted.job_id)
        }
    }
}

/// All that a workflow leaves behind, with the node's own names replaced so that two runs can be compared.
fn left_behind(bench: &Bench, node_id: NodeId, job_id: JobId) -> String {
    let node = bench.node(node_id);
    let job = bench.job(job_id);
    let steps: Vec<_> = bench
        .steps(job_id)
        .into_iter()
        .map(|step| (step.name, step.status, step.attempt))
        .collect();
    let text = format!(
        "{:#?}",
        (
            (
                node.status,
                node.target,
                node.readiness,
                node.last_seen_at,
                node.probe_failures
            ),
            (job.status, job.attempt_count, job.error, job.locked_by),
            steps,
            bench.machines.all(),
            bench.ssh.known(),
        )
    );
    let name = Instance::of(node_id).name();
    let text = text.replace(fake_host_key(&name).as_str(), "<host key>");
    text.replace(&name, "<machine>").replace(&node_id.to_string(), "<node>")
}

/// What an uninterrupted run leaves behind.
async fn undisturbed(kind: JobKind) -> String {
    let bench = Bench::new();
    let (node_id, job_id) = waiting(&bench, kind).await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    left_behind(&bench, node_id, job_id)
}

/// What must hold of the machine after a job of the kind, besides the comparison.
fn check_machines(bench: &Bench, kind: JobKind, place: &str) {
    let machines: Vec<_> = bench.machines.all().into_values().collect();
    match kind {
        JobKind::NodeProvision => {
            assert_eq!(machines.len(), 1, "{place}");
            assert_eq!(machines[0].authorized_keys, [FakeKeys::PUBLIC_KEY], "{place}");
        }
        JobKind::NodeDecommission => assert!(machines.is_empty(), "{place}"),
    }
}

/// How a run is interrupted.
#[derive(Debug, Clone, Copy)]
enum Interruption {
    /// The process dies: the run is never polled again.
    Death,
    /// The server is stopped in order.
    Shutdown,
}

/// Runs the due job, interrupts it after `polls` polls, and says where that was; `None` where it had ended before.
async fn interrupted(bench: &Bench, job_id: JobId, polls: u32, how: Interruption) -> Option<String> {
    let claimed = bench.claim().await;
    let cancel = CancelToken::new();
    let mut run = pin!(bench.runner.run(claimed, cancel.clone()));
    for _ in 0..polls {
        if poll!(&mut run).is_ready() {
            return None;
        }
    }
    let place = place(bench, job_id);
    match how {
        Interruption::Death => {}
        Interruption::Shutdown => {
            cancel.cancel(StopReason::Shutdown);
            bench.to_the_end(run).await.unwrap();
        }
    }
    Some(place)
}

/// Where a run is: `in <step>`, `after <step>`, or `before`.
fn place(bench: &Bench, job_id: JobId) -> String {
    match bench.steps(job_id).last() {
        None => "before".to_owned(),
        Some(step) if step.status == StepStatus::Started => format!("in {}", step.name),
        Some(step) => format!("after {}", step.name),
    }
}

async fn every_interruption_ends_as_if_there_had_been_none(how: Interruption) {
    for kind in JobKind::ALL.iter().copied() {
        let expected = undisturbed(kind).await;
        let mut places = BTreeMap::<String, u32>::new();
        for polls in 0.. {
            let bench = Bench::new();
            let (node_id, job_id) = waiting(&bench, kind).await;
            let Some(place) = interrupted(&bench, job_id, polls, how).await else {
                break;
            };
            let told = format!("{kind}, {how:?} {place} ({polls})");
            *places.entry(place).or_default() += 1;
            bench.jobs.recover(Recover::All).await.unwrap();
            // A run that was interrupted after its last write has nothing left to do.
            if bench.job(job_id).status != JobStatus::Succeeded {
                assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{told}");
            }
            assert_eq!(left_behind(&bench, node_id, job_id), expected, "{told}");
            check_machines(&bench, kind, &told);
        }
        for step in steps_of(kind) {
            assert!(
                places.get(&format!("in {step}")).is_some_and(|times| *times > 1),
                "{step}: {places:?}"
            );
            assert!(places.contains_key(&format!("after {step}")), "{step}: {places:?}");
        }
        let known: BTreeSet<_> = places
            .keys()
            .filter_map(|place| place.split_once(' '))
            .map(|(_, step)| step)
            .collect();
        assert_eq!(known, steps_of(kind).iter().copied().collect(), "{kind}");
    }
}

#[tokio::test]
async fn a_run_that_dies_in_or_after_any_step_of_any_workflow_and_is_resumed_ends_the_same() {
    every_interruption_ends_as_if_there_had_been_none(Interruption::Death).await;
}

#[tokio::test]
async fn a_run_shut_down_in_or_after_any_step_of_any_workflow_and_resumed_ends_the_same() {
    every_interruption_ends_as_if_there_had_been_none(Interruption::Shutdown).await;
}

#[tokio::test]
async fn a_run_whose_lease_is_lost_in_any_step_of_any_workflow_leaves_the_job_to_the_next() {
    for kind in JobKind::ALL.iter().copied() {
        let expected = undisturbed(kind).await;
        for polls in 0.. {
            let bench = Bench::new();
            let (node_id, job_id) = waiting(&bench, kind).await;
            let claimed = bench.claim().await;
            let mut old = pin!(bench.runner.run(claimed, CancelToken::new()));
            let mut ended = false;
            for _ in 0..polls {
                ended = ended || poll!(&mut old).is_ready();
                if ended {
                    break;
                }
            }
            if ended {
                break;
            }
            bench.jobs.recover(Recover::All).await.unwrap();
            if bench.job(job_id).status != JobStatus::Succeeded {
                assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{kind} {polls}");
            }
            let end = bench.to_the_end(old).await.unwrap();
            let harmless = [RunEnd::LostLease, RunEnd::Settled(Outcome::Succeeded)];
            assert!(harmless.contains(&end), "{kind} {polls}: {end:?}");
            if kind == JobKind::NodeProvision {
                assert_eq!(left_behind(&bench, node_id, job_id), expected, "{kind} {polls}");
            }
            check_machines(&bench, kind, &format!("{kind} {polls}"));
        }
    }
}

/// A workflow that does every step twice.
struct Twice(Arc<dyn Workflow>);

struct TwiceStep(Arc<dyn Step>);

#[async_trait]
impl Workflow for Twice {
    fn kind(&self) -> JobKind {
        self.0.kind()
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        let steps = self.0.steps().into_iter();
        steps.map(|step| Arc::new(TwiceStep(step)) as Arc<dyn Step>).collect()
    }

    fn time_limit(&self) -> Duration {
        self.0.time_limit()
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        self.0.settle(job, claim, outcome).await
    }
}

#[async_trait]
impl Step for TwiceStep {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        self.0.run(job, context).await?;
        self.0.run(job, context).await
    }
}

#[tokio::test]
async fn a_workflow_that_does_every_step_twice_ends_the_same() {
    for kind in JobKind::ALL.iter().copied() {
        let bench = Bench::wrapping(|workflow| Arc::new(Twice(workflow)));
        let (node_id, job_id) = waiting(&bench, kind).await;
        assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{kind}");
        assert_eq!(left_behind(&bench, node_id, job_id), undisturbed(kind).await, "{kind}");
        check_machines(&bench, kind, kind.as_str());
    }
}
