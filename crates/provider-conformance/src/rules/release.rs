//! Release: NP-19 to NP-22.

use domain_kernel::JobErrorCode;

use super::acquire::break_off_acquire;
use crate::{Bench, Trouble, World};

/// What an operator has on a machine of their own.
const OPERATORS_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOperatorsOwnKeyOperatorsOwnKeyOperat own key";

pub async fn np_19_a_release_leaves_nothing_but_what_it_names<W: World>(bench: &Bench<W>) {
    let node = bench.node().await;
    let operators = format!("{}{OPERATORS_KEY}\n", bench.others_keys(&node).await);
    bench.world.write_keys(&node.instance, operators.as_bytes()).await;
    bench.put_key_in(&node).await;
    let named = bench.release(&node.instance).await;
    bench.assert_nothing_left(&node.instance).await;
    if bench.is_remote() {
        bench.running(&node.instance).await;
        assert!(!named.is_empty(), "a host that stays is not named");
        assert_eq!(
            bench.keys(&node.instance).await.bytes,
            operators.as_bytes(),
            "the operator's keys"
        );
    }
    assert!(named.iter().all(|what| !what.trim().is_empty()), "{named:?}");
}

pub async fn np_20_an_absent_or_half_made_machine_is_released<W: World>(bench: &Bench<W>) {
    let request = bench.request().await;
    bench.release(&request.instance).await;
    bench.assert_nothing_left(&request.instance).await;

    break_off_acquire(bench, &request).await;
    bench.release(&request.instance).await;
    bench.assert_nothing_left(&request.instance).await;
    bench.release(&request.instance).await;
}

pub async fn np_21_a_release_that_fails_says_what_is_left_and_goes_on_when_asked_again<W: World>(bench: &Bench<W>) {
    let node = bench.node().await;
    bench.put_key_in(&node).await;
    bench.world.trouble(Trouble::ReleaseFails, &node.instance).await;
    for _ in 0..2 {
        let failed = bench.provider.release(&node.instance, &bench.ctx()).await;
        let failure = bench.failure(failed);
        assert_eq!(failure.code, JobErrorCode::NodeReleaseFailed);
        let place = if bench.is_remote() {
            node.acquired.hostname.clone()
        } else {
            node.instance.name()
        };
        assert!(
            failure.detail.contains(&place),
            "it does not say what is left: {failure}"
        );
    }
    bench.world.calm().await;
    bench.release(&node.instance).await;
    bench.assert_nothing_left(&node.instance).await;
}

pub async fn np_22_a_release_leaves_what_is_shared<W: World>(bench: &Bench<W>) {
    let node = bench.node().await;
    let before = bench.world.shared().await;
    assert!(!before.is_empty(), "nothing is shared: leave NP-22 out instead");
    bench.release(&node.instance).await;
    assert_eq!(bench.world.shared().await, before);
}
