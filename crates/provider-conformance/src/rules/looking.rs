//! Observation, capability and images: NP-15, NP-16, NP-18, NP-29.

use domain_kernel::JobErrorCode;
use nodes_domain::{Capability, KeptImage, Observation, RuntimeImage};

use crate::{Bench, Trouble, World};

pub async fn np_15_looking_changes_nothing<W: World>(bench: &Bench<W>) {
    let request = bench.request().await;
    let before = bench.picture(&request.instance).await;
    let able = bench.provider.capability(&bench.ctx()).await.expect("capability");
    assert_eq!(able, Capability::Available);
    bench.observe(&request.instance).await;
    assert_eq!(
        bench.picture(&request.instance).await,
        before,
        "before there is a machine"
    );

    let node = bench.acquire(request).await;
    let before = bench.picture(&node.instance).await;
    bench.provider.capability(&bench.ctx()).await.expect("capability");
    bench.observe(&node.instance).await;
    assert_eq!(bench.picture(&node.instance).await, before, "while it runs");

    bench.world.stop(&node.instance).await;
    let before = bench.picture(&node.instance).await;
    bench.observe(&node.instance).await;
    assert_eq!(bench.picture(&node.instance).await, before, "while it is stopped");
}

pub async fn np_16_only_a_machine_that_is_known_not_to_be_there_is_absent<W: World>(bench: &Bench<W>) {
    let request = bench.request().await;
    if !bench.is_remote() {
        assert_eq!(bench.observe(&request.instance).await, Observation::Absent);
    }
    let node = bench.acquire(request).await;
    bench.world.trouble(Trouble::CannotTell, &node.instance).await;
    let seen = bench.observe(&node.instance).await;
    assert!(
        matches!(&seen, Observation::Unknown(why) if !why.trim().is_empty()),
        "it cannot tell, and says {seen:?}"
    );
    bench.world.calm().await;

    bench.release(&node.instance).await;
    if bench.is_remote() {
        bench.world.stop(&node.instance).await;
        let seen = bench.observe(&node.instance).await;
        assert!(
            !matches!(seen, Observation::Absent | Observation::Running(_)),
            "{seen:?}"
        );
    } else {
        assert_eq!(bench.observe(&node.instance).await, Observation::Absent);
    }
}

pub async fn np_18_a_provider_that_cannot_work_says_what_is_missing_and_makes_nothing<W: World>(bench: &Bench<W>) {
    let provider = bench.world.incapable().await;
    let Capability::Unavailable(missing) = provider.capability(&bench.ctx()).await.expect("capability") else {
        panic!("it says that it can work");
    };
    let allowed = [
        JobErrorCode::LocalProviderUnavailable,
        JobErrorCode::LocalProviderDenied,
        JobErrorCode::LocalConfigInvalid,
    ];
    assert!(allowed.contains(&missing.code), "{missing:?}");
    assert!(
        !missing.reason.trim().is_empty() && !missing.remedy.trim().is_empty(),
        "{missing:?}"
    );

    let request = bench.request().await;
    let refused = bench.failure(provider.acquire(&request, &bench.ctx()).await);
    assert_eq!(refused.code, missing.code);
    bench.assert_nothing_left(&request.instance).await;
}

pub async fn np_29_a_machine_of_which_no_new_image_is_made_is_left_alone<W: World>(bench: &Bench<W>) {
    let node = bench.node().await;
    let runtime = RuntimeImage {
        key: "0c".repeat(32),
        secrets: Vec::new(),
    };
    let before = bench.running(&node.instance).await;
    let kept = bench.provider.keep_image(&node.instance, &runtime, &bench.ctx()).await;
    let kept = kept.unwrap_or_else(|error| panic!("keep_image: {error}"));
    let after = bench.running(&node.instance).await;
    let of_it = match kept {
        KeptImage::NotOffered => [KeptImage::NotOffered].as_slice(),
        KeptImage::Existing => panic!("there is none of this key yet"),
        KeptImage::Made => &[KeptImage::Existing],
        KeptImage::Failed => panic!("nothing is in its way, and it failed"),
    };
    if kept == KeptImage::NotOffered {
        assert_eq!(after, before, "NP-29: the machine was not left alone");
    }
    let again = bench.provider.keep_image(&node.instance, &runtime, &bench.ctx()).await;
    let again = again.unwrap_or_else(|error| panic!("keep_image: {error}"));
    assert!(of_it.contains(&again), "NP-29: first {kept:?}, then {again:?}");
    assert_eq!(
        bench.running(&node.instance).await,
        after,
        "NP-29: the machine was not left alone"
    );
}
