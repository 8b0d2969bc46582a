//! Machines that stopped with their host are started again when the server starts.

use std::pin::pin;
use std::time::Duration;

use domain_kernel::{Clock, JobErrorCode};
use futures_util::poll;
use jobs::{Failure, JobKind, Outcome, RunEnd};
use nodes_domain::NodeStatus;
use test_support::{Fault, ProviderMethod};

use crate::bench::Bench;

#[tokio::test]
async fn a_stopped_machine_of_an_active_node_is_started_and_proved_again() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.machines.change(node_id, |machine| machine.running = false);
    let accepted = bench.service.start_stopped().await.unwrap();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].node_id, node_id);
    assert_eq!(bench.job(accepted[0].job_id).kind, JobKind::NodeProvision);
    assert!(bench.service.start_stopped().await.unwrap().is_empty(), "once");
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.machines.of(node_id).unwrap().running);
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
}

#[tokio::test]
async fn machines_that_run_or_are_gone_or_whose_provider_cannot_tell_are_left_alone() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    assert!(bench.service.start_stopped().await.unwrap().is_empty(), "it runs");

    bench.machines.change(node_id, |machine| machine.running = false);
    let silent = Failure::new(JobErrorCode::LocalProviderNotResponding, "no answer");
    bench
        .provider
        .fail_always(ProviderMethod::Observe, Fault::Refuses(silent));
    let begin = bench.clock.now();
    let asked = bench.to_the_end(pin!(bench.service.start_stopped())).await;
    assert!(asked.unwrap().is_empty(), "nobody knows");
    assert_eq!(bench.clock.now().since(begin), Duration::from_secs(120));
    bench.provider.heal();

    bench.service.delete(node_id, None).await.unwrap();
    assert!(
        bench.service.start_stopped().await.unwrap().is_empty(),
        "it is being given back"
    );
    bench.run().await;
    assert!(bench.service.start_stopped().await.unwrap().is_empty(), "it is gone");
}

#[tokio::test]
async fn a_provider_that_comes_up_after_its_host_is_asked_again() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.machines.change(node_id, |machine| machine.running = false);
    let silent = Failure::new(JobErrorCode::LocalProviderNotResponding, "no answer");
    bench.provider.fail(ProviderMethod::Observe, 1, Fault::Refuses(silent));
    let asked = bench.to_the_end(pin!(bench.service.start_stopped())).await;
    assert_eq!(asked.unwrap()[0].node_id, node_id);
}

#[tokio::test]
async fn a_node_that_cannot_be_started_keeps_none_of_the_others() {
    let bench = Bench::new();
    let mut ids = Vec::new();
    for _ in 0..6 {
        let node_id = bench.active_node().await;
        bench.machines.change(node_id, |machine| machine.running = false);
        ids.push(node_id);
    }
    bench.nodes.refuse_jobs_of(ids[0]);
    bench.nodes.refuse_jobs_of(ids[3]);
    let accepted = bench.service.start_stopped().await.unwrap();
    let mut started: Vec<_> = accepted.iter().map(|job| job.node_id).collect();
    started.sort();
    let mut wanted = vec![ids[1], ids[2], ids[4], ids[5]];
    wanted.sort();
    assert_eq!(started, wanted);
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_asked_about_several_nodes_at_a_time() {
    let bench = Bench::new();
    for _ in 0..6 {
        bench.active_node().await;
    }
    bench
        .provider
        .fail_always(ProviderMethod::Observe, Fault::WaitsUntilStopped);
    let before = bench.provider.count(ProviderMethod::Observe);
    let mut start = pin!(bench.service.start_stopped());
    for _ in 0..20 {
        assert!(poll!(&mut start).is_pending());
    }
    assert_eq!(bench.provider.count(ProviderMethod::Observe) - before, 4);
}

#[tokio::test]
async fn what_the_reconciler_sees_at_the_same_time_leaves_no_machine_stopped() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.machines.change(node_id, |machine| machine.running = false);
    let version = bench.node(node_id).state_version;
    let mut start = pin!(bench.service.start_stopped());
    let before = bench.provider.count(ProviderMethod::Observe);
    while bench.provider.count(ProviderMethod::Observe) == before {
        assert!(poll!(&mut start).is_pending());
    }
    bench.reconciler().round().await.unwrap();
    assert!(
        bench.node(node_id).state_version > version,
        "the reconciler wrote what it saw"
    );
    let accepted = start.await.unwrap();
    assert_eq!(accepted.len(), 1);
    assert_eq!(bench.node(node_id).status, NodeStatus::Provisioning);
}
