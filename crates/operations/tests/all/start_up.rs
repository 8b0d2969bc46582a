//! Machines that stopped with their host are started again when the server starts.

use domain_kernel::JobErrorCode;
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
    assert!(bench.service.start_stopped().await.unwrap().is_empty(), "nobody knows");
    bench.provider.heal();

    bench.service.delete(node_id, None).await.unwrap();
    assert!(
        bench.service.start_stopped().await.unwrap().is_empty(),
        "it is being given back"
    );
    bench.run().await;
    assert!(bench.service.start_stopped().await.unwrap().is_empty(), "it is gone");
}
