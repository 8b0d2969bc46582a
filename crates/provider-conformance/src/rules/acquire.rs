//! Identity and acquisition: NP-01 to NP-10.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use domain_kernel::JobErrorCode;
use nodes_domain::{AcquireRequest, Acquired, HostKey, Instance, Observation};

use crate::bench::Node;
use crate::{Bench, Trouble, World};

/// How far a call comes before it is broken off, besides the first few times that it waits for something.
const BREAKS: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(600),
];

/// A host key that no machine has.
const OTHER_HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q";

fn other_host_key() -> HostKey {
    OTHER_HOST_KEY.parse().expect("the form of a host key")
}

/// What must stay the same for as long as a machine exists. A local machine may come back at another address.
fn same_machine(one: &Acquired, other: &Acquired) -> bool {
    (&one.host_key, one.ssh_port, &one.ssh_user) == (&other.host_key, other.ssh_port, &other.ssh_user)
}

pub async fn np_01_the_id_and_the_source_are_the_same_after_a_restart<W: World>(bench: &Bench<W>) {
    let next = bench.world.reopened().await;
    assert_eq!(next.id(), bench.provider.id());
    assert_eq!(next.source(), bench.provider.source());
    assert!(!next.id().as_str().is_empty());
}

pub async fn np_02_a_machine_is_known_by_its_instance_alone<W: World>(bench: &Bench<W>) {
    let node = bench.node().await;
    if !bench.is_remote() {
        assert_eq!(bench.world.machine_names().await, [node.instance.name()]);
    }
    // The next process has nothing but the world and the instance.
    let next = bench.world.reopened().await;
    let seen = next.observe(&node.instance, &bench.ctx()).await;
    assert!(matches!(seen, Ok(Observation::Running(_))), "{seen:?}");
    next.release(&node.instance, &bench.ctx()).await.expect("release");
    bench.assert_nothing_left(&node.instance).await;
}

pub async fn np_03_np_09_machines_that_are_acquired_at_the_same_time_do_not_touch_each_other<W: World>(
    bench: &Bench<W>,
) {
    let (one, two) = (bench.request().await, bench.request().await);
    let (one, two) = tokio::join!(bench.acquire(one), bench.acquire(two));
    let place = |node: &Node| (node.acquired.hostname.clone(), node.acquired.ssh_port);
    assert_ne!(place(&one), place(&two), "NP-09");
    assert_ne!(one.acquired.host_key, two.acquired.host_key, "NP-09");

    let before = bench.picture(&two.instance).await;
    bench.put_key_in(&one).await;
    assert_eq!(
        bench.picture(&two.instance).await,
        before,
        "NP-03: a key for the other machine"
    );
    bench.release(&one.instance).await;
    assert_eq!(
        bench.picture(&two.instance).await,
        before,
        "NP-03: a release of the other machine"
    );
    assert!(matches!(bench.observe(&two.instance).await, Observation::Running(_)));
}

pub async fn np_04_a_repeated_acquire_adopts_its_own_machine<W: World>(bench: &Bench<W>) {
    let node = bench.node().await;
    let before = bench.running(&node.instance).await;
    let again = bench.acquire(node.request.clone()).await;
    assert_eq!(again.acquired, node.acquired);
    let next = bench.world.reopened().await;
    let again = bench.acquire_by(&next, node.request.clone()).await;
    assert_eq!(again.acquired, node.acquired);
    assert_eq!(bench.running(&node.instance).await, before, "it was started anew");

    bench.world.stop(&node.instance).await;
    if bench.is_remote() {
        let refused = bench.provider.acquire(&node.request, &bench.ctx()).await;
        assert_eq!(bench.failure(refused).code, JobErrorCode::RemoteHostUnreachable);
        return;
    }
    let started = bench.acquire(node.request.clone()).await;
    assert!(
        same_machine(&started.acquired, &node.acquired),
        "{:?} is not {:?}",
        started.acquired,
        node.acquired
    );
    bench.running(&node.instance).await;
    assert_eq!(bench.world.machine_names().await, [node.instance.name()]);
}

pub async fn np_05_an_acquire_that_is_broken_off_anywhere_is_finished_by_the_next<W: World>(bench: &Bench<W>) {
    let request = bench.request().await;
    break_off_acquire(bench, &request).await;
    let next = bench.world.reopened().await;
    let node = bench.acquire_by(&next, request).await;
    bench.running(&node.instance).await;
    assert_eq!(bench.world.host_key(&node.instance).await, node.acquired.host_key);
    if !bench.is_remote() {
        assert_eq!(bench.world.machine_names().await, [node.instance.name()]);
    }
}

/// Begins an acquire several times and drops it, each time later.
pub(super) async fn break_off_acquire<W: World>(bench: &Bench<W>, request: &AcquireRequest) {
    for waits in 1..=3 {
        let provider = bench.world.reopened().await;
        let ctx = bench.ctx();
        let mut call = pin!(provider.acquire(request, &ctx));
        let mut left = waits;
        poll_fn(|task| {
            left -= 1;
            let done = call.as_mut().poll(task).is_ready();
            if done || left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
    for limit in BREAKS {
        let provider = bench.world.reopened().await;
        let ended = tokio::time::timeout(limit, provider.acquire(request, &bench.ctx())).await;
        assert!(!matches!(ended, Ok(Err(_))), "after {limit:?}: {ended:?}");
    }
}

pub async fn np_06_np_07_np_17_a_machine_runs_where_it_was_told_with_the_host_key_that_was_told<W: World>(
    bench: &Bench<W>,
) {
    let mut request = bench.request().await;
    if let Some(remote) = &mut request.instance.remote {
        // The operator's fingerprint is what counts, where there is one.
        remote.host.host_key_fingerprint = other_host_key().fingerprint();
        let refused = bench.provider.acquire(&request, &bench.ctx()).await;
        assert_eq!(bench.failure(refused).code, JobErrorCode::SshHostKeyMismatch, "NP-07");
        let shown = bench.world.host_key(&request.instance).await;
        if let Some(remote) = &mut request.instance.remote {
            remote.host.host_key_fingerprint = shown.fingerprint();
        }
    }
    let node = bench.acquire(request).await;
    let acquired = &node.acquired;
    bench.running(&node.instance).await;
    assert!(!acquired.hostname.is_empty() && acquired.ssh_port > 0 && !acquired.ssh_user.is_empty());
    assert_eq!(bench.world.host_key(&node.instance).await, acquired.host_key, "NP-07");

    let Observation::Running(addresses) = bench.observe(&node.instance).await else {
        panic!("NP-17: it is not seen to run");
    };
    let preferred = addresses.first().expect("NP-17: no address");
    let told = [acquired.public_ip, acquired.hostname.parse().ok()];
    assert!(
        told.contains(&Some(*preferred)),
        "NP-17: {addresses:?} are not {told:?}"
    );

    bench.put_key_in(&node).await;
    let sudo = bench.world.sudo(acquired).await;
    assert_eq!(sudo, Ok(()), "NP-06");
}

pub async fn np_08_a_machine_that_is_not_the_instances_own_is_refused_and_left_as_it_is<W: World>(bench: &Bench<W>) {
    if bench.is_remote() {
        let mut request = bench.request().await;
        if let Some(remote) = &mut request.instance.remote {
            remote.host_key = Some(other_host_key());
        }
        let before = bench.picture(&request.instance).await;
        let refused = bench.provider.acquire(&request, &bench.ctx()).await;
        assert_eq!(bench.failure(refused).code, JobErrorCode::SshHostKeyMismatch);
        assert_eq!(bench.picture(&request.instance).await, before);
        return;
    }
    // Not given back at the end: it is not the instance's.
    let request = bench.world.request().await;
    let instance: &Instance = &request.instance;
    bench.world.make_foreign(instance).await;
    let before = bench.picture(instance).await;
    let refused = bench.provider.acquire(&request, &bench.ctx()).await;
    let after = bench.picture(instance).await;
    bench.world.remove_foreign(instance).await;
    assert_eq!(bench.failure(refused).code, JobErrorCode::LocalInstanceConflict);
    assert_eq!(after, before);
}

pub async fn np_10_what_a_failed_acquire_left_is_no_obstacle_to_the_next<W: World>(bench: &Bench<W>) {
    let request = bench.request().await;
    bench.world.trouble(Trouble::AcquireFails, &request.instance).await;
    for _ in 0..2 {
        let failed = bench.provider.acquire(&request, &bench.ctx()).await;
        bench.failure(failed);
    }
    bench.world.calm().await;
    let node = bench.acquire(request).await;
    bench.running(&node.instance).await;
    bench.release(&node.instance).await;
    bench.assert_nothing_left(&node.instance).await;

    // Nor does it stand in the way of a release.
    let request = bench.request().await;
    bench.world.trouble(Trouble::AcquireFails, &request.instance).await;
    let failed = bench.provider.acquire(&request, &bench.ctx()).await;
    bench.failure(failed);
    bench.world.calm().await;
    bench.release(&request.instance).await;
    bench.assert_nothing_left(&request.instance).await;
}
