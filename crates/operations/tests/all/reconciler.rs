//! The reconciler: when a node counts as unreachable, and when it is back.

use std::pin::pin;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock, NodeId, StopReason};
use futures_util::poll;
use jobs::{JobKind, NewJob};
use nodes_domain::{NodeStatus, ReasonCode, SshError};

use crate::bench::{Bench, INTERVAL};

fn silence() -> [SshError; 4] {
    [
        SshError::Refused,
        SshError::Unreachable("no route to host".to_owned()),
        SshError::TimedOut(Duration::from_secs(10)),
        SshError::Other("kex_exchange_identification".to_owned()),
    ]
}

/// An active node whose provisioning probes are forgotten.
async fn watched(bench: &Bench) -> (NodeId, usize) {
    let node_id = bench.active_node().await;
    (node_id, bench.probe.probed().len())
}

#[tokio::test]
async fn one_or_two_silent_probes_change_nothing_that_is_shown_and_the_third_makes_the_node_unreachable() {
    for error in silence() {
        let bench = Bench::new();
        let (node_id, _) = watched(&bench).await;
        let before = bench.node(node_id).readiness;
        bench.probe.always(Some(error.clone()));
        for failures in 1..=2 {
            bench.reconciler().round().await.unwrap();
            let node = bench.node(node_id);
            assert_eq!(
                (node.status, node.probe_failures),
                (NodeStatus::Active, failures),
                "{error}"
            );
            assert_eq!(node.readiness, before, "{error}");
        }
        bench.reconciler().round().await.unwrap();
        let node = bench.node(node_id);
        assert_eq!(node.status, NodeStatus::Unreachable, "{error}");
        let codes = node.readiness.unwrap().reason_codes;
        assert_eq!(
            codes,
            [ReasonCode::NodeStatusNotActive, ReasonCode::NodeUnreachable],
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_answer_between_silent_probes_begins_the_count_anew() {
    let bench = Bench::new();
    let (node_id, _) = watched(&bench).await;
    for _ in 0..3 {
        bench.probe.next(SshError::Refused);
        bench.probe.next(SshError::Refused);
        for _ in 0..3 {
            bench.reconciler().round().await.unwrap();
        }
        let node = bench.node(node_id);
        assert_eq!((node.status, node.probe_failures), (NodeStatus::Active, 0));
    }
}

#[tokio::test]
async fn a_rejected_key_or_another_host_key_makes_the_node_unreachable_at_once() {
    for (error, code) in [
        (SshError::AuthRejected, ReasonCode::SshAuthRejected),
        (SshError::HostKeyMismatch, ReasonCode::HostKeyMismatch),
    ] {
        let bench = Bench::new();
        let (node_id, _) = watched(&bench).await;
        bench.probe.next(error);
        bench.reconciler().round().await.unwrap();
        let node = bench.node(node_id);
        assert_eq!(node.status, NodeStatus::Unreachable);
        assert!(node.readiness.unwrap().reason_codes.contains(&code));
    }
}

#[tokio::test]
async fn one_login_brings_an_unreachable_node_back() {
    let bench = Bench::new();
    let (node_id, _) = watched(&bench).await;
    bench.machines.change(node_id, |machine| machine.running = false);
    for _ in 0..5 {
        bench.reconciler().round().await.unwrap();
    }
    assert_eq!(bench.node(node_id).status, NodeStatus::Unreachable);
    bench.machines.change(node_id, |machine| machine.running = true);
    bench.clock.advance(INTERVAL);
    bench.reconciler().round().await.unwrap();
    let node = bench.node(node_id);
    assert_eq!((node.status, node.probe_failures), (NodeStatus::Active, 0));
    assert!(node.readiness.unwrap().is_ready);
    assert_eq!(node.last_seen_at, Some(bench.clock.now()));
}

#[tokio::test]
async fn a_login_that_finds_the_runtime_missing_keeps_the_node_active_and_not_ready() {
    let bench = Bench::new();
    let (node_id, _) = watched(&bench).await;
    bench.machines.change(node_id, |machine| machine.provisioned = false);
    bench.reconciler().round().await.unwrap();
    let node = bench.node(node_id);
    assert_eq!(node.status, NodeStatus::Active);
    let readiness = node.readiness.unwrap();
    assert_eq!(readiness.reason_codes, [ReasonCode::RuntimeMissing]);
    assert!(readiness.guidance[0].message.contains("nginx"));
}

#[tokio::test]
async fn a_node_with_a_job_waiting_or_running_is_not_probed() {
    let bench = Bench::new();
    let (node_id, probes) = watched(&bench).await;
    bench.jobs.enqueue(NewJob::on_node(JobKind::NodeProvision, node_id, 3));
    bench.reconciler().round().await.unwrap();
    bench.claim().await;
    bench.reconciler().round().await.unwrap();
    assert_eq!(bench.probe.probed().len(), probes);
}

#[tokio::test]
async fn only_active_and_unreachable_nodes_of_this_host_are_probed() {
    for status in NodeStatus::ALL.iter().copied() {
        for host in ["host-a", "host-b"] {
            let bench = Bench::new();
            let (node_id, probes) = watched(&bench).await;
            let mut node = bench.node(node_id);
            node.status = status;
            node.host_id = host.to_owned();
            bench.nodes.put(node);
            bench.reconciler().round().await.unwrap();
            let probed = bench.probe.probed().len() > probes;
            let watched = matches!(status, NodeStatus::Active | NodeStatus::Unreachable);
            assert_eq!(probed, watched && host == "host-a", "{status} on {host}");
        }
    }
}

#[tokio::test]
async fn a_node_that_changes_while_it_is_probed_keeps_the_change() {
    let bench = Bench::new();
    let (node_id, _) = watched(&bench).await;
    let nodes = bench.nodes.clone();
    bench.probe.during(move |id| {
        let mut node = nodes.get(id);
        node.state_version += 1;
        node.probe_failures = 2;
        nodes.put(node);
    });
    bench.probe.always(Some(SshError::AuthRejected));
    bench.reconciler().round().await.unwrap();
    let node = bench.node(node_id);
    assert_eq!((node.status, node.probe_failures), (NodeStatus::Active, 2));
}

#[tokio::test]
async fn a_node_that_gets_a_job_while_it_is_probed_is_left_to_the_job() {
    let bench = Bench::new();
    let (node_id, _) = watched(&bench).await;
    let jobs = bench.jobs.clone();
    bench.probe.during(move |id| {
        jobs.enqueue(NewJob::on_node(JobKind::NodeProvision, id, 3));
    });
    bench.probe.always(Some(SshError::AuthRejected));
    let before = bench.node(node_id);
    bench.reconciler().round().await.unwrap();
    let node = bench.node(node_id);
    assert_eq!((node.status, node.state_version), (before.status, before.state_version));
}

#[tokio::test]
async fn every_node_is_looked_at_although_more_wait_than_are_looked_at_at_a_time() {
    let bench = Bench::new();
    let mut expected = Vec::new();
    for _ in 0..9 {
        expected.push(bench.active_node().await);
    }
    let before = bench.probe.probed().len();
    bench.reconciler().round().await.unwrap();
    let mut probed = bench.probe.probed().split_off(before);
    probed.sort();
    assert_eq!(probed, expected);
}

#[tokio::test]
async fn a_round_in_which_the_store_fails_is_followed_by_the_next() {
    let bench = Bench::new();
    let (_, probes) = watched(&bench).await;
    let reconciler = bench.reconciler();
    let stop = CancelToken::new();
    bench.jobs.set_failing(true);
    let mut run = pin!(reconciler.run(stop.clone()));
    while bench.clock.sleeps().is_empty() {
        assert!(poll!(&mut run).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(
        (bench.probe.probed().len(), bench.clock.sleeps()),
        (probes, vec![INTERVAL])
    );
    bench.jobs.set_failing(false);
    bench.clock.advance(INTERVAL);
    while bench.clock.sleeps().len() < 2 {
        assert!(poll!(&mut run).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.probe.probed().len(), probes + 1);
    stop.cancel(StopReason::Shutdown);
    run.await;
}
