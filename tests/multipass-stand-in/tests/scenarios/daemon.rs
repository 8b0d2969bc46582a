//! The daemon and its socket.

use domain_kernel::JobErrorCode;
use multipass_stand_in::{Fault, Profile, Socket};
use nodes_domain::{Capability, NodeProvider};

use crate::support::{Site, context, millis};

#[tokio::test]
async fn scenario_10_real_machine_is_made_once_a_daemon_that_was_down_is_up() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        site.stand_in.push(Fault::on("*").times(3).socket(Socket::Down));
        site.acquire().await;
        assert_eq!(site.stand_in.clear_faults(), 0);
        assert_eq!(site.count("launch"), 1);
    }
}

#[tokio::test]
async fn scenario_10_a_daemon_that_stays_down_is_waited_for_and_tried_again_later() {
    for profile in Profile::ALL {
        let site = Site::of_records(profile).with(|config| config.daemon_patience = millis(400));
        site.stand_in.set(|settings| settings.socket = Socket::Down);
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalProviderNotResponding);
        assert!(failure.code.retryable());
        assert!(site.count("list") > 2, "it waited");
        assert_eq!(site.count("launch"), 0);
        let version = site.stand_in.run(&["version", "--format", "json"]);
        assert!(version.success());
        assert!(!version.stdout_text().contains("multipassd"));
    }
}

#[tokio::test]
async fn scenario_11_a_denied_socket_is_told_with_its_remedy_and_not_tried_again() {
    for profile in Profile::ALL {
        for (socket, remedy) in [
            (Socket::Denied, "usermod -aG"),
            (Socket::Unauthenticated, "multipass authenticate"),
        ] {
            let site = Site::of_records(profile);
            site.stand_in.set(|settings| settings.socket = socket);
            let failure = site.acquire_fails().await;
            assert_eq!(failure.code, JobErrorCode::LocalProviderDenied);
            assert!(!failure.code.retryable());
            assert!(failure.message().contains(remedy), "{}", failure.message());
            assert_eq!((site.count("list"), site.count("launch")), (1, 0));

            let Capability::Unavailable(missing) = site.provider().capability(&context()).await.unwrap() else {
                panic!("{socket:?} is no capability");
            };
            assert_eq!(missing.code, JobErrorCode::LocalProviderDenied);
            assert!(missing.remedy.contains(remedy), "{}", missing.remedy);
        }
    }
}

#[tokio::test]
async fn scenario_12_without_kvm_nothing_can_be_made() {
    for profile in Profile::ALL {
        let site = Site::of_records(profile);
        site.stand_in.set(|settings| settings.kvm = false);
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalProviderUnavailable);
        assert!(!failure.code.retryable());
        assert_eq!(site.count("launch"), 1);
        assert_eq!(site.stand_in.instances(), Vec::<String>::new());
    }
}

/// Multipass looks for KVM only where no machine runs.
#[tokio::test]
async fn scenario_12_real_machine_is_launched_without_kvm_while_another_runs() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        site.stand_in
            .put_record("another", multipass_stand_in::VmState::Running);
        site.stand_in.set(|settings| settings.kvm = false);
        site.acquire().await;
        assert_eq!(site.count("launch"), 1);
    }
}
