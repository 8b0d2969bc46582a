//! Keys: NP-11 to NP-13.

use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::StepError;

use crate::bench::{Node, line};
use crate::{Bench, World};

/// Longer than any provider waits for an operator.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What an operator has put there: a line of their own, and one that lacks its end.
const OPERATORS: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOperatorsOwnKeyOperatorsOwnKeyOperat own key\n# without an end";

pub async fn np_11_np_12_np_13_a_key_stands_once_beside_the_others_in_a_file_that_sshd_accepts<W: World>(
    bench: &Bench<W>,
) {
    let node = bench.node().await;
    // Some providers have a key of theirs there, which their own channel needs.
    let before = if bench.is_remote() {
        the_operator_is_waited_for(bench, &node).await;
        let unended = bench.keys(&node.instance).await.bytes;
        let with_key = [unended, b"\n".to_vec(), line(&node.request.public_key)].concat();
        bench.world.write_keys(&node.instance, &with_key).await;
        bench.inject(&node).await;
        String::new()
    } else {
        bench.inject(&node).await;
        let lines = bench.keys(&node.instance).await.bytes;
        let lines = String::from_utf8_lossy(&lines).into_owned();
        let ours = lines.lines().filter(|line| *line == node.request.public_key).count();
        assert_eq!((ours, lines.ends_with('\n')), (1, true), "NP-11: {lines}");
        let before = bench.others_keys(&node).await;
        let others = format!("{before}{OPERATORS}");
        bench.world.write_keys(&node.instance, others.as_bytes()).await;
        bench.inject(&node).await;
        before
    };
    let put_in = bench.keys(&node.instance).await;
    let expected = format!("{before}{OPERATORS}\n{}\n", node.request.public_key);
    assert_eq!(String::from_utf8_lossy(&put_in.bytes), expected, "NP-11, NP-12");

    let user = node.acquired.ssh_user.as_str();
    assert_eq!((put_in.owner.as_str(), put_in.mode), (user, 0o600), "NP-13: the file");
    assert_eq!(
        (put_in.folder_owner.as_str(), put_in.folder_mode),
        (user, 0o700),
        "NP-13: its folder"
    );

    bench.inject(&node).await;
    let next = bench.world.reopened().await;
    let again = next
        .inject_key(&node.instance, &node.request.public_key, &bench.ctx())
        .await;
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(bench.keys(&node.instance).await, put_in, "NP-11: asked again");
}

/// NP-11 where SSH is the only way in: the step parks and says what to run, and ends when its patience is over.
async fn the_operator_is_waited_for<W: World>(bench: &Bench<W>, node: &Node) {
    bench.world.write_keys(&node.instance, OPERATORS.as_bytes()).await;
    let key = &node.request.public_key;
    let ctx = bench.ctx();
    let waits = bench.provider.inject_key(&node.instance, key, &ctx).await;
    let Err(StepError::Parked { run_after, detail }) = waits else {
        panic!("NP-11: not parked: {waits:?}");
    };
    assert!(run_after > ctx.now(), "NP-11: it is looked again at once");
    assert!(
        detail.contains(key.as_str()),
        "NP-11: it does not say what to put in: {detail}"
    );

    let long_ago = ctx.now().minus(PATIENCE);
    let gave_up = bench
        .provider
        .inject_key(&node.instance, key, &bench.ctx().begun_at(long_ago))
        .await;
    let failure = bench.failure(gave_up);
    assert_eq!(failure.code, JobErrorCode::SshAuthRejected, "NP-11");
    assert!(
        failure.detail.contains(key.as_str()),
        "NP-11: it does not say what to put in: {failure}"
    );
    assert_eq!(
        bench.keys(&node.instance).await.bytes,
        OPERATORS.as_bytes(),
        "NP-11: it wrote by itself"
    );
}
