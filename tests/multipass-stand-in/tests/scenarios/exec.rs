//! Commands in machines, and their ends.

use std::time::Instant;

use domain_kernel::JobErrorCode;
use multipass_stand_in::{Fault, MULTIPASS_KEY, Profile};

use crate::support::{Site, millis};

/// From now on every `sh` that the login user starts by its name ends with that status.
fn every_shell_ends_with(site: &Site, status: i32) {
    let machine = site.stand_in.machine(&site.name).unwrap();
    machine.run(&format!(
        "printf '#!/bin/bash\\nexit {status}\\n' > /usr/local/bin/sh; chmod 755 /usr/local/bin/sh"
    ));
}

#[tokio::test]
async fn scenario_18_real_machine_that_does_not_confirm_the_key_has_not_got_it() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        site.acquire().await;

        site.stand_in.push(Fault::on("exec").times(9).ssh_fails());
        assert_eq!(site.inject_fails().await, JobErrorCode::SshKeyInjectionFailed);
        let own = site.stand_in.run(&["exec", "-n", &site.name, "--", "true"]);
        let status = if profile == Profile::Released { 2 } else { 255 };
        assert_eq!(own.status, status, "{}", own.stderr_text());
        site.stand_in.clear_faults();

        // What Multipass meets by itself where its own key was taken away.
        let machine = site.stand_in.machine(&site.name).unwrap();
        let keys = site.authorized_keys();
        machine.run(": > ~ubuntu/.ssh/authorized_keys");
        assert_eq!(site.inject_fails().await, JobErrorCode::SshKeyInjectionFailed);
        let restored = machine.try_run(
            &["/bin/sh", "-c", "cat > ~ubuntu/.ssh/authorized_keys"],
            keys.as_bytes(),
        );
        assert!(restored.success() && keys.contains(MULTIPASS_KEY));

        // A word that nobody printed, and an exit status that is Multipass's as well.
        every_shell_ends_with(&site, 2);
        assert_eq!(site.inject_fails().await, JobErrorCode::SshKeyInjectionFailed);
        every_shell_ends_with(&site, 0);
        assert_eq!(site.inject_fails().await, JobErrorCode::SshKeyInjectionFailed);
    }
}

#[tokio::test]
async fn scenario_18_real_machine_that_is_started_for_the_command_confirms_the_key_after_the_spinner() {
    for profile in Profile::ALL {
        let site = Site::new(profile);
        site.acquire().await;
        site.call(&["stop", &site.name]);
        site.inject().await;
        assert_eq!(site.keys_in_place(), 1);
        let mut noise = vec![0xff; 64 * 1024];
        noise.extend(b"\r\x1b[2K");
        site.stand_in.push(Fault::on("exec").noise(noise));
        site.inject().await;
        assert_eq!(site.stand_in.clear_faults(), 0);
    }
}

#[tokio::test]
async fn scenario_19_real_machine_whose_commands_hang_costs_no_more_than_the_deadlines() {
    for profile in Profile::ALL {
        let site = Site::new(profile).with(|config| config.exec_limit = millis(1_000));
        site.acquire().await;
        site.stand_in.push(Fault::on("exec").hangs());
        site.inject().await;

        let before = site.count("exec");
        site.stand_in.push(Fault::on("exec").times(9).hangs());
        let begun = Instant::now();
        assert_eq!(site.inject_fails().await, JobErrorCode::SshKeyInjectionFailed);
        assert!(begun.elapsed() < millis(15_000), "{:?}", begun.elapsed());
        assert_eq!(site.count("exec") - before, 3);
        site.stand_in.clear_faults();

        // Released versions run a command that ends with 4 again and again.
        every_shell_ends_with(&site, 4);
        let begun = Instant::now();
        assert_eq!(site.inject_fails().await, JobErrorCode::SshKeyInjectionFailed);
        assert!(begun.elapsed() < millis(15_000), "{:?}", begun.elapsed());
    }
}
