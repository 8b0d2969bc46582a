//! What Multipass or the adapter refuses.

use acquisition_multipass::{PRIMARY, check_name};
use domain_kernel::JobErrorCode;
use multipass_stand_in::Profile;

use crate::support::Site;

#[tokio::test]
async fn scenario_13_bad_names_and_the_primary_name_are_refused_before_anything_is_made() {
    for name in ["n_1", "1n", "n-", "n.a", "primary"] {
        assert!(check_name(name, PRIMARY).is_err(), "{name}");
    }
    for profile in Profile::ALL {
        let site = Site::of_records(profile);
        site.stand_in.set(|settings| settings.primary_name = site.name.clone());
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalInstanceConflict);
        assert_eq!((site.count("launch"), site.count("start")), (0, 0));
    }
}

#[tokio::test]
async fn scenario_14_malformed_and_too_small_memory_are_an_invalid_configuration() {
    for profile in Profile::ALL {
        for (memory, status) in [("lots", 1), ("64M", 2)] {
            let site = Site::of_records(profile).with(|config| config.memory = memory.to_owned());
            let failure = site.acquire_fails().await;
            assert_eq!(failure.code, JobErrorCode::LocalConfigInvalid, "{failure}");
            let own = site.stand_in.run(&["launch", "24.04", "--name", "n1", "-m", memory]);
            assert_eq!(own.status, status);
            assert_eq!(site.stand_in.instances(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn scenario_15_a_missing_image_is_never_taken_for_a_missing_machine() {
    for profile in Profile::ALL {
        for image in ["99.99", "file:///nowhere/x.img"] {
            let site = Site::of_records(profile).with(|config| config.image = image.to_owned());
            let failure = site.acquire_fails().await;
            assert_eq!(failure.code, JobErrorCode::LocalImageUnavailable, "{failure}");
            assert_eq!(site.count("launch"), 1);
        }
    }
}
