//! The use cases of jobs.

use domain_kernel::{ApiErrorCode, JobErrorCode, JobId};
use jobs::{EventFilter, EventKind, Failure, JobFilter, JobKind, JobStatus, Outcome, PageRequest, RunEnd};
use nodes_domain::NodeStatus;
use test_support::{Fault, ProviderMethod};

use crate::bench::Bench;

fn fails_for_good() -> Fault {
    Fault::Refuses(Failure::new(JobErrorCode::LocalImageUnavailable, "no image"))
}

#[tokio::test]
async fn only_a_job_that_failed_or_was_cancelled_can_be_asked_for_again() {
    let bench = Bench::new();
    let (_, succeeds) = bench.asked().await;
    let refused = async |id| bench.jobs_service.retry(id).await.unwrap_err().code();
    assert_eq!(refused(succeeds).await, ApiErrorCode::Conflict, "queued");
    let claimed = bench.claim().await;
    assert_eq!(refused(succeeds).await, ApiErrorCode::Conflict, "running");
    bench
        .runner
        .run(claimed, domain_kernel::CancelToken::new())
        .await
        .unwrap();
    assert_eq!(refused(succeeds).await, ApiErrorCode::Conflict, "succeeded");
    assert_eq!(refused(JobId::generate()).await, ApiErrorCode::NotFound);

    bench.provider.fail(ProviderMethod::Acquire, 2, fails_for_good());
    let (node_id, failed) = bench.asked().await;
    bench.run().await;
    assert_eq!(bench.job(failed).status, JobStatus::Failed);
    let again = bench.jobs_service.retry(failed).await.unwrap();
    assert_ne!(again.job_id, failed);
    assert_eq!(
        bench.job(failed).status,
        JobStatus::Failed,
        "what ended stays as it ended"
    );

    bench.jobs_service.cancel(again.job_id).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    let third = bench.jobs_service.retry(again.job_id).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(third.node_id, node_id);
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
}

#[tokio::test]
async fn a_failed_decommission_asked_for_again_gives_the_machine_back() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let failure = Failure::new(JobErrorCode::LocalProviderDenied, "not root");
    bench.provider.fail(ProviderMethod::Release, 1, Fault::Refuses(failure));
    let first = bench.service.delete(node_id).await.unwrap();
    bench.run().await;
    assert_eq!(bench.job(first.job_id).status, JobStatus::Failed);
    let again = bench.jobs_service.retry(first.job_id).await.unwrap();
    assert_eq!(bench.job(again.job_id).kind, JobKind::NodeDecommission);
    bench.run().await;
    assert!(bench.machines.all().is_empty());
    let refused = bench.jobs_service.retry(first.job_id).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict, "the node is gone by now");
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_cancelled() {
    let bench = Bench::new();
    let (_, job_id) = bench.asked().await;
    bench.run().await;
    let refused = bench.jobs_service.cancel(job_id).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::JobNotCancellable);
    assert!(bench.signal.cancelled().is_empty());
    let refused = bench.jobs_service.cancel(JobId::generate()).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::NotFound);
}

#[tokio::test]
async fn a_job_that_waits_is_cancelled_by_the_next_worker_without_a_step() {
    let bench = Bench::new();
    let (node_id, job_id) = bench.asked().await;
    let wakes = bench.signal.wakes();
    bench.jobs_service.cancel(job_id).await.unwrap();
    assert_eq!(
        (bench.signal.cancelled(), bench.signal.wakes()),
        (vec![job_id], wakes + 1)
    );
    bench.run().await;
    assert_eq!(bench.job(job_id).status, JobStatus::Cancelled);
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
    assert!(bench.steps(job_id).is_empty() && bench.provider.calls().is_empty());
}

#[tokio::test]
async fn jobs_are_listed_by_status_kind_and_node() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let deleted = bench.service.delete(node_id).await.unwrap();
    bench.asked().await;
    let page = PageRequest { limit: 10, after: None };
    let count = |filter: JobFilter| {
        let page = page.clone();
        let service = &bench.jobs_service;
        async move { service.list(&filter, &page).await.unwrap().items.len() }
    };
    assert_eq!(count(JobFilter::default()).await, 3);
    let queued = JobFilter {
        status: Some(JobStatus::Queued),
        ..JobFilter::default()
    };
    assert_eq!(count(queued).await, 2);
    let of_node = JobFilter {
        node_id: Some(node_id),
        ..JobFilter::default()
    };
    assert_eq!(count(of_node).await, 2);
    let kind = JobFilter {
        kind: Some(JobKind::NodeDecommission),
        ..JobFilter::default()
    };
    let found = bench.jobs_service.list(&kind, &page).await.unwrap();
    assert_eq!(found.items[0].job.id, deleted.job_id);
}

#[tokio::test]
async fn the_events_of_a_run_tell_its_steps_and_tasks_in_order() {
    let bench = Bench::new();
    let (_, job_id) = bench.asked().await;
    bench.run().await;
    let filter = EventFilter {
        after: 0,
        job_id: Some(job_id),
        limit: 1000,
    };
    let events = bench.jobs_service.events(&filter).await.unwrap();
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let started = events
        .iter()
        .filter(|event| event.data["status"] == "started" && event.kind == EventKind::Step);
    let mut steps: Vec<_> = started.filter_map(|event| event.data["step"].as_str()).collect();
    // A step's line for the operator comes as an event of the step that is still at work.
    steps.dedup();
    assert_eq!(
        steps,
        ["acquire", "inject_key", "wait_for_ssh", "provision", "readiness"]
    );
    assert!(
        events
            .iter()
            .any(|event| event.kind == EventKind::Task && event.data["status"] == "changed")
    );
    let half = events.len() / 2;
    let rest = EventFilter {
        after: events[half].seq,
        ..filter
    };
    assert_eq!(bench.jobs_service.events(&rest).await.unwrap(), events[half + 1..]);
}

#[tokio::test]
async fn the_metrics_count_jobs_and_nodes() {
    let bench = Bench::new();
    bench.active_node().await;
    bench.asked().await;
    bench.asked().await;
    bench.claim().await;
    let metrics = bench.jobs_service.metrics().await.unwrap();
    assert_eq!((metrics.jobs_running, metrics.jobs_queued), (1, 1));
    assert_eq!((metrics.nodes_active, metrics.sites_total), (1, 0));
}
