//! `node_decommission`: the machine is given back, whatever state it is in, and a failure can be asked again.

use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, JobKind, JobStatus, NewJob, Outcome, RunEnd};
use nodes_domain::{AcquisitionSource, NewNode, NodeName, NodeStatus, NodeStore, ProviderId};
use operations::UseCaseError;
use test_support::{Fault, ProviderMethod};

use crate::bench::{Bench, HOST};

fn release_fails() -> Fault {
    Fault::Refuses(Failure::new(
        JobErrorCode::NodeReleaseFailed,
        "an interface is left: pl0",
    ))
}

#[tokio::test]
async fn a_decommissioned_node_has_no_machine_and_no_files() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let accepted = bench.service.delete(node_id, None).await.unwrap();
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioning);
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
    assert!(bench.machines.all().is_empty());
    assert!(bench.ssh.known().is_empty());
    assert_eq!(
        bench.step(accepted.job_id, "release").detail.as_deref(),
        Some("nothing is left")
    );
}

#[tokio::test]
async fn a_node_whose_machine_is_absent_is_decommissioned() {
    let bench = Bench::new();
    bench.provider.fail(
        ProviderMethod::Acquire,
        1,
        Fault::Refuses(Failure::new(JobErrorCode::LocalImageUnavailable, "no image")),
    );
    let (node_id, _) = bench.asked().await;
    bench.run().await;
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
    bench.service.delete(node_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
}

#[tokio::test]
async fn what_stays_behind_on_purpose_is_told() {
    let bench = Bench::new();
    bench.provider.leave_in_place("the base image");
    let node_id = bench.active_node().await;
    let accepted = bench.service.delete(node_id, None).await.unwrap();
    bench.run().await;
    let detail = bench.step(accepted.job_id, "release").detail;
    assert_eq!(detail.as_deref(), Some("left in place: the base image"));
}

#[tokio::test]
async fn a_release_that_fails_is_tried_again_then_fails_the_node_and_can_be_asked_again() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.provider.fail_always(ProviderMethod::Release, release_fails());
    let first = bench.service.delete(node_id, None).await.unwrap();
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioning);
    let job = bench.run_all(first.job_id).await;
    assert_eq!((job.status, job.attempt_count), (JobStatus::Failed, 3));
    assert_eq!(bench.error_code(first.job_id), Some(JobErrorCode::NodeReleaseFailed));
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
    assert!(bench.machines.of(node_id).is_some());

    bench.provider.heal();
    bench.service.delete(node_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
    assert!(bench.machines.all().is_empty());
}

#[tokio::test]
async fn a_release_that_fails_for_a_moment_is_recovered_by_the_second_attempt() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.provider.fail(ProviderMethod::Release, 1, release_fails());
    let accepted = bench.service.delete(node_id, None).await.unwrap();
    let job = bench.run_all(accepted.job_id).await;
    assert_eq!((job.status, job.attempt_count), (JobStatus::Succeeded, 2));
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
}

#[tokio::test]
async fn files_that_cannot_be_removed_fail_the_job_and_keep_the_machine() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench
        .ssh
        .fail_forget(Some(Failure::new(JobErrorCode::HostDiskFull, "no space")));
    let accepted = bench.service.delete(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.error_code(accepted.job_id), Some(JobErrorCode::HostDiskFull));
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
    assert_eq!(bench.provider.count(ProviderMethod::Release), 0);
}

#[tokio::test]
async fn a_delete_cancels_a_job_that_waits() {
    let bench = Bench::new();
    bench.provider.fail(
        ProviderMethod::InjectKey,
        1,
        Fault::Refuses(Failure::new(JobErrorCode::SshKeyInjectionFailed, "")),
    );
    let (node_id, waiting) = bench.asked().await;
    bench.run().await;
    assert_eq!(bench.job(waiting).status, JobStatus::Queued);
    bench.service.delete(node_id, None).await.unwrap();
    assert_eq!(bench.job(waiting).status, JobStatus::Cancelled);
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
    assert!(bench.machines.all().is_empty());
}

#[tokio::test]
async fn a_delete_while_a_job_runs_is_a_conflict_that_names_the_job() {
    let bench = Bench::new();
    let (node_id, running) = bench.asked().await;
    let claimed = bench.claim().await;
    let refused = bench.service.delete(node_id, None).await.unwrap_err();
    assert!(
        matches!(&refused, UseCaseError::Conflict(text) if text.contains(&running.to_string())),
        "{refused}"
    );
    assert_eq!(bench.node(node_id).status, NodeStatus::Provisioning);
    assert_eq!(bench.job(running).claim_epoch, claimed.claim.epoch);
}

#[tokio::test]
async fn a_node_of_a_provider_that_the_server_does_not_have_is_not_given_back_by_another() {
    let bench = Bench::new();
    let id = NodeId::generate();
    let node = NewNode {
        id,
        name: NodeName::default_for(id),
        source: AcquisitionSource::Local,
        provider: ProviderId::new("gone"),
        host_id: HOST.to_owned(),
        remote: None,
    };
    bench
        .nodes
        .create(node, NewJob::on_node(JobKind::NodeProvision, id, 3), None)
        .await
        .unwrap();
    bench.run().await;
    let accepted = bench.service.delete(id, None).await.unwrap();
    bench.run().await;
    assert_eq!(
        bench.error_code(accepted.job_id),
        Some(JobErrorCode::LocalProviderUnavailable)
    );
    assert_eq!(bench.job(accepted.job_id).attempt_count, 1);
    assert_eq!(bench.node(id).status, NodeStatus::Failed);
    assert_eq!(bench.provider.calls(), []);
}
