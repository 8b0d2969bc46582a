//! Launches that end otherwise than well.

use std::sync::Arc;

use domain_kernel::{JobErrorCode, StopReason};
use jobs::StepError;
use multipass_stand_in::{Fault, Profile, VmState};
use nodes_domain::NodeProvider;
use test_support::{RealClock, step_context};

use crate::support::{CLOUD_INIT_TIMEOUT, SSH_TIMEOUT, Site, context, millis};

#[tokio::test]
async fn scenario_07_real_machine_whose_cloud_init_timed_out_is_gone_on_with() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let fault = Fault::on("launch").leaves(VmState::Running).reports(CLOUD_INIT_TIMEOUT);
        site.stand_in.push(fault);
        let acquired = site.acquire().await;
        site.inject().await;
        assert!(site.login(&acquired, "true").status.success());
        assert_eq!(site.count("launch"), 1);
    }
}

#[tokio::test]
async fn scenario_08_real_machine_whose_ssh_timed_out_is_recovered_once_and_then_given_up() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let launch = Fault::on("launch").leaves(VmState::Unknown).reports(SSH_TIMEOUT);
        site.stand_in.push(launch);
        let start = Fault::on("start")
            .times(9)
            .leaves(VmState::Unknown)
            .reports(SSH_TIMEOUT);
        site.stand_in.push(start);
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalInstanceUnusable);
        assert_eq!(
            (site.count("launch"), site.count("stop"), site.count("start")),
            (1, 1, 1)
        );

        // What a later attempt meets once the machine can be started.
        site.stand_in.clear_faults();
        site.acquire().await;
        assert_eq!(
            (site.count("launch"), site.count("stop"), site.count("start")),
            (1, 2, 2)
        );
    }
}

#[tokio::test]
async fn scenario_09_real_machine_that_comes_after_the_client_gave_up_is_waited_for() {
    for profile in Profile::ALL {
        let site = Site::new(profile).with(|config| config.launch_limit = millis(1_000));
        site.stand_in.push(Fault::on("launch").daemon_waits(millis(2_500)));
        site.acquire().await;
        assert_eq!(site.count("launch"), 1);
        site.inject().await;
        assert_eq!(site.keys_in_place(), 1);
    }
}

#[tokio::test]
async fn scenario_09_a_machine_that_never_comes_is_a_timeout_that_is_tried_again() {
    for profile in Profile::ALL {
        let site = Site::of_records(profile).with(|config| config.settle_limit = millis(400));
        let text = "launch failed: Timed out waiting for instance launch.";
        site.stand_in.push(Fault::on("launch").fails(5, text));
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalAcquisitionTimeout);
        assert!(failure.code.retryable());
        assert_eq!(site.count("launch"), 1);
        assert!(site.count("list") > 2, "it polled");
    }
}

#[tokio::test]
async fn scenario_20_real_machine_asked_for_twice_at_once_is_launched_once() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let (provider, request, ctx) = (site.provider(), site.request(), context());
        let (one, two) = tokio::join!(provider.acquire(&request, &ctx), provider.acquire(&request, &ctx));
        assert_eq!(one.unwrap(), two.unwrap());
        assert_eq!(site.count("launch"), 1);
    }
}

/// Two servers know nothing of each other's locks: Multipass itself turns one of them away.
#[tokio::test]
async fn scenario_20_real_machine_asked_for_by_two_servers_at_once_is_made_once() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        site.stand_in
            .push(Fault::on("launch").times(2).daemon_waits(millis(300)));
        let (one, two) = tokio::join!(site.acquire(), site.acquire());
        assert_eq!(one, two);
        assert_eq!(site.stand_in.instances(), std::slice::from_ref(&site.name));
    }
}

#[tokio::test]
async fn scenario_20_a_warning_before_the_failure_leaves_its_class_unchanged() {
    for profile in Profile::ALL {
        let site = Site::of_records(profile);
        site.stand_in.set(|settings| settings.kvm = false);
        let mut noise = b"\x1b[33m*** Warning! ***\x1b[0m This is deprecated: launch\r\n\xff\xfe\n".to_vec();
        noise.extend(std::iter::repeat_n(b'x', 64 * 1024));
        noise.push(b'\n');
        site.stand_in.push(Fault::on("launch").preamble(noise));
        assert_eq!(site.acquire_fails().await.code, JobErrorCode::LocalProviderUnavailable);
    }
}

/// The client is killed when the machine is already made: nobody launches a second one.
#[tokio::test]
async fn a_real_machine_outlives_the_client_that_launched_it() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        site.stand_in.push(Fault::on("launch").dies_after());
        site.acquire().await;
        assert_eq!(site.count("launch"), 1);

        // And one that is ended with all of its family, while the daemon is still at the image.
        let site = Site::new(profile);
        site.stand_in.push(Fault::on("launch").daemon_waits(millis(1_500)));
        let (ctx, cancel, _) = step_context("acquire", millis(60_000), Arc::new(RealClock));
        let (provider, request) = (site.provider(), site.request());
        let (ended, ()) = tokio::join!(provider.acquire(&request, &ctx), async {
            while !site.stand_in.is_preparing(&site.name) {
                context().sleep(millis(20)).await.unwrap();
            }
            cancel.cancel(StopReason::Shutdown);
        });
        assert!(matches!(ended, Err(StepError::Stopped(_))), "{ended:?}");
        site.acquire().await;
        assert_eq!(site.stand_in.instances(), std::slice::from_ref(&site.name));
        let machine = site.stand_in.machine(&site.name).unwrap();
        assert!(machine.process().is_some());
    }
}
