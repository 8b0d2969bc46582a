//! Addresses that are none, late, or one of several.

use domain_kernel::JobErrorCode;
use machines::RealMachine;
use multipass_stand_in::{Fault, Profile};

use crate::support::{Site, millis};

#[tokio::test]
async fn scenario_16_real_machine_is_polled_until_it_has_an_address() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        // The first list is before the launch.
        site.stand_in.push(Fault::on("list").times(4).addresses(&["N/A"]));
        let acquired = site.acquire().await;
        assert_eq!(Some(acquired.hostname), site.stand_in.address(&site.name));
        assert_eq!(site.stand_in.clear_faults(), 0);
        assert_eq!(site.count("restart"), 0);
    }
}

#[tokio::test]
async fn scenario_16_a_machine_that_never_has_an_address_is_restarted_once_and_then_given_up() {
    for profile in Profile::ALL {
        let site = Site::of_records(profile).with(|config| config.address_limit = millis(300));
        site.stand_in.report_addresses(&["N/A"]);
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalAddressMissing);
        assert_eq!((site.count("launch"), site.count("restart")), (1, 1));
    }
}

#[tokio::test]
async fn scenario_17_real_machine_of_two_addresses_is_met_at_the_first_that_answers() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let other = RealMachine::start(&site.folder.path().join("other"), "somebody");
        let second = other.address.to_string();
        site.stand_in.report_addresses(&["REAL", &second]);
        let own = site.acquire().await.hostname;
        assert_eq!(Some(own.clone()), site.stand_in.address(&site.name));

        site.stand_in.report_addresses(&[&second, "REAL"]);
        assert_eq!(site.acquire().await.hostname, second);
        other.run("systemctl stop ssh.service");
        assert_eq!(site.acquire().await.hostname, own);
    }
}
