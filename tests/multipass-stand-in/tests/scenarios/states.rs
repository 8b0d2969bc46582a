//! Machines in each of their states.

use std::time::Instant;

use domain_kernel::JobErrorCode;
use machines::RealMachine;
use multipass_stand_in::{Fault, MULTIPASS_KEY, Profile, VmState};

use crate::support::{SSH_TIMEOUT, Site, millis};

#[tokio::test]
async fn scenario_01_real_machine_where_nothing_exists_one_is_launched_and_lets_us_in() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let acquired = site.acquire().await;
        assert_eq!(Some(acquired.hostname.clone()), site.stand_in.address(&site.name));
        assert_eq!((acquired.ssh_user.as_str(), acquired.ssh_port), ("ubuntu", 22));
        let shown = site.stand_in.machine(&site.name).unwrap();
        let host_key = shown.run("cat /etc/ssh/ssh_host_ed25519_key.pub");
        assert!(host_key.starts_with(acquired.host_key.as_str()), "{host_key}");

        site.inject().await;
        assert_eq!(site.keys_in_place(), 1);
        assert!(site.authorized_keys().contains(MULTIPASS_KEY));
        let launches = site.stand_in.calls_of("launch");
        assert_eq!(launches.len(), 1);
        assert!(launches[0].stdin_sha256.is_some(), "{launches:?}");
        let who = site.login(&acquired, "'id -un; hostname; sudo -n id -un'");
        let expected = format!("ubuntu\n{}\nroot\n", site.name);
        assert_eq!(String::from_utf8_lossy(&who.stdout), expected, "{who:?}");
    }
}

#[tokio::test]
async fn scenario_02_real_machine_again_nothing_is_launched_and_the_keys_stay_byte_for_byte() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let first = site.acquire().await;
        site.inject().await;
        let keys = site.authorized_keys();
        assert_eq!(site.acquire().await, first);
        site.inject().await;
        assert_eq!(site.authorized_keys(), keys);
        assert_eq!((site.count("launch"), site.count("start")), (1, 0));
    }
}

#[tokio::test]
async fn scenario_03_real_machine_stopped_or_suspended_is_started_and_its_new_address_is_read() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let other = RealMachine::start(&site.folder.path().join("other"), "somebody");
        let old = other.address.to_string();
        site.stand_in.report_addresses(&[&old]);
        assert_eq!(site.acquire().await.hostname, old);
        for (count, command) in ["stop", "suspend"].into_iter().enumerate() {
            site.call(&[command, &site.name]);
            site.stand_in.report_addresses(&["REAL"]);
            let acquired = site.acquire().await;
            assert_ne!(acquired.hostname, old);
            assert_eq!(Some(acquired.hostname), site.stand_in.address(&site.name));
            assert_eq!((site.count("start"), site.count("launch")), (count + 1, 1));
        }
    }
}

#[tokio::test]
async fn scenario_04_real_machine_starting_is_waited_for_and_a_delayed_shutdown_is_called_off() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let first = site.acquire().await;
        site.stand_in.set_state(&site.name, VmState::Starting);
        site.stand_in.push(Fault::on("start").daemon_waits(millis(600)));
        let begun = Instant::now();
        assert_eq!(site.acquire().await, first);
        assert!(begun.elapsed() >= millis(600), "{:?}", begun.elapsed());
        assert_eq!(site.count("start"), 1);

        site.call(&["stop", "--time", "10", &site.name]);
        assert_eq!(site.stand_in.state_of(&site.name), Some(VmState::DelayedShutdown));
        assert_eq!(site.acquire().await, first);
        assert_eq!(site.stand_in.state_of(&site.name), Some(VmState::Running));
        assert_eq!((site.count("start"), site.count("launch")), (2, 1));
    }
}

#[tokio::test]
async fn scenario_05_a_deleted_machine_is_a_conflict_and_nothing_is_purged() {
    for profile in Profile::ALL {
        let site = Site::of_records(profile);
        site.stand_in.put_record(&site.name, VmState::Deleted);
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalInstanceConflict);
        assert!(failure.detail.contains("multipass recover"), "{failure}");
        assert_eq!(site.stand_in.state_of(&site.name), Some(VmState::Deleted));
        for subcommand in ["purge", "delete", "recover", "launch", "start"] {
            assert_eq!(site.count(subcommand), 0, "{subcommand}");
        }
    }
}

#[tokio::test]
async fn scenario_06_real_machine_in_an_unknown_state_is_recovered_once_and_then_given_up() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        let first = site.acquire().await;
        site.stand_in.set_state(&site.name, VmState::Unknown);
        assert_eq!(site.acquire().await.host_key, first.host_key);
        assert_eq!((site.count("stop"), site.count("start")), (1, 1));
        assert_eq!(site.stand_in.calls_of("stop")[0].argv, ["stop", &site.name, "--force"]);

        site.stand_in.set_state(&site.name, VmState::Unknown);
        site.stand_in.push(
            Fault::on("start")
                .times(9)
                .leaves(VmState::Unknown)
                .reports(SSH_TIMEOUT),
        );
        let failure = site.acquire_fails().await;
        assert_eq!(failure.code, JobErrorCode::LocalInstanceUnusable);
        assert!(!failure.code.retryable());
        assert_eq!(
            (site.count("stop"), site.count("start"), site.count("launch")),
            (2, 2, 1)
        );
    }
}
