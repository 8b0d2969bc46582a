//! The use cases of jobs.

use domain_kernel::{AccountId, ApiErrorCode, Clock, JobErrorCode, JobId};
use jobs::{EventFilter, EventKind, Failure, JobFilter, JobKind, JobStatus, NewJob, Outcome, PageRequest, RunEnd};
use nodes_domain::NodeStatus;
use operations::{CreateLocalNode, Turn};
use test_support::{Fault, ProviderMethod};

use crate::bench::Bench;

fn fails_for_good() -> Fault {
    Fault::Refuses(Failure::new(JobErrorCode::LocalImageUnavailable, "no image"))
}

#[tokio::test]
async fn only_a_job_that_failed_or_was_cancelled_can_be_asked_for_again() {
    let bench = Bench::new();
    let (_, succeeds) = bench.asked().await;
    let refused = async |id| bench.jobs_service.retry(id, None).await.unwrap_err().code();
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
    let again = bench.jobs_service.retry(failed, None).await.unwrap();
    assert_ne!(again.job_id, failed);
    assert_eq!(
        bench.job(failed).status,
        JobStatus::Failed,
        "what ended stays as it ended"
    );

    bench.jobs_service.cancel(again.job_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    let third = bench.jobs_service.retry(again.job_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(third.node_id, Some(node_id));
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
}

#[tokio::test]
async fn a_failed_decommission_asked_for_again_gives_the_machine_back() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let failure = Failure::new(JobErrorCode::LocalProviderDenied, "not root");
    bench.provider.fail(ProviderMethod::Release, 1, Fault::Refuses(failure));
    let first = bench.service.delete(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.job(first.job_id).status, JobStatus::Failed);
    let again = bench.jobs_service.retry(first.job_id, None).await.unwrap();
    assert_eq!(bench.job(again.job_id).kind, JobKind::NodeDecommission);
    bench.run().await;
    assert!(bench.machines.all().is_empty());
    let refused = bench.jobs_service.retry(first.job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict, "the node is gone by now");
}

#[tokio::test]
async fn an_old_decommission_is_not_asked_for_again_after_the_node_was_provisioned() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let failure = Failure::new(JobErrorCode::LocalProviderDenied, "not root");
    bench.provider.fail(ProviderMethod::Release, 1, Fault::Refuses(failure));
    let delete = bench.service.delete(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.job(delete.job_id).status, JobStatus::Failed);
    bench.service.provision(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
    let refused = bench.jobs_service.retry(delete.job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict);
    assert!(refused.to_string().contains("newest job"), "{refused}");
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
    assert_eq!(bench.machines.all().len(), 1);
}

#[tokio::test]
async fn an_old_provision_is_not_asked_for_again_after_a_later_one() {
    let bench = Bench::new();
    bench.provider.fail(ProviderMethod::Acquire, 1, fails_for_good());
    let (node_id, first) = bench.asked().await;
    bench.run().await;
    bench.provider.fail(ProviderMethod::Acquire, 2, fails_for_good());
    let second = bench.jobs_service.retry(first, None).await.unwrap();
    bench.run().await;
    let refused = bench.jobs_service.retry(first, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict);
    assert!(refused.to_string().contains(&second.job_id.to_string()), "{refused}");
    bench.jobs_service.retry(second.job_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
}

#[tokio::test]
async fn every_job_knows_who_asked_for_it_and_for_its_end() {
    let bench = Bench::new();
    let by = Some(AccountId::generate());
    let request = CreateLocalNode { name: None };
    let created = bench.service.create_local(request, None, by).await.unwrap();
    bench.jobs_service.cancel(created.job_id, by).await.unwrap();
    bench.jobs_service.cancel(created.job_id, None).await.unwrap();
    assert_eq!(bench.jobs.cancelled_by(created.job_id), by, "whoever was first");
    bench.run().await;
    let again = bench.jobs_service.retry(created.job_id, by).await.unwrap();
    bench.run().await;
    let provision = bench.service.provision(created.node_id, by).await.unwrap();
    bench.run().await;
    let delete = bench.service.delete(created.node_id, by).await.unwrap();
    for job_id in [created.job_id, again.job_id, provision.job_id, delete.job_id] {
        assert_eq!(bench.job(job_id).requested_by, by);
    }
    let (_, job_id) = bench.asked().await;
    assert_eq!(bench.job(job_id).requested_by, None);
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_cancelled() {
    let bench = Bench::new();
    let (_, job_id) = bench.asked().await;
    bench.run().await;
    let refused = bench.jobs_service.cancel(job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::JobNotCancellable);
    assert!(bench.signal.cancelled().is_empty());
    let refused = bench.jobs_service.cancel(JobId::generate(), None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::NotFound);
}

#[tokio::test]
async fn a_job_that_waits_is_cancelled_by_the_next_worker_without_a_step() {
    let bench = Bench::new();
    let (node_id, job_id) = bench.asked().await;
    let wakes = bench.signal.wakes();
    bench.jobs_service.cancel(job_id, None).await.unwrap();
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
    let deleted = bench.service.delete(node_id, None).await.unwrap();
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
        [
            "acquire",
            "inject_key",
            "wait_for_ssh",
            "provision",
            "keep_image",
            "readiness"
        ]
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

#[tokio::test]
async fn a_job_that_waits_is_told_what_for() {
    let bench = Bench::new();
    let turn = async |id: JobId| {
        let job = bench.job(id);
        bench.jobs_service.turn(&job, bench.clock.now()).await.unwrap()
    };
    let (_, first) = bench.asked().await;
    assert!(matches!(turn(first).await, Some(Turn::Worker { running: 0 })));
    bench.claim().await;
    assert!(turn(first).await.is_none(), "it is at work");
    let (_, second) = bench.asked().await;
    assert!(matches!(turn(second).await, Some(Turn::Worker { running: 1 })));
    let new = NewJob::on_node(JobKind::NodeDecommission, bench.job(first).node_id.unwrap(), 3);
    let third = bench.jobs.enqueue(new);
    assert!(matches!(turn(third).await, Some(Turn::Job(holder)) if holder.job.id == first));
    bench.jobs_service.cancel(third, None).await.unwrap();
    assert!(turn(third).await.is_none(), "it only ends");
}
