//! A machine of a test's own, from its start to the last trace of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test and look at the host by themselves"
)]

use std::process::{Command, Output};

use machines::RealMachine;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap()
}

fn host(script: &str) -> Output {
    Command::new("/bin/sh").args(["-euc", script]).output().unwrap()
}

/// Logs in as the machine's user with the key of that folder and the machine's own host key pinned.
fn login(machine: &RealMachine, folder: &TempDir, command: &str) -> Output {
    let folder = folder.path().display();
    std::fs::write(
        format!("{folder}/known_hosts"),
        format!("{} {}\n", machine.address, machine.host_key),
    )
    .unwrap();
    host(&format!(
        "ssh -F none -i {folder}/key -o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes \
         -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5 -p {} {}@{} {command}",
        machine.ssh_port, machine.user, machine.address
    ))
}

/// What on this host bears the machine's name.
fn traces(name: &str) -> String {
    let look = "cat /proc/self/mountinfo; ip netns list; ip link; find /sys/fs/cgroup -type d; \
                ps -eo args; cat /var/lib/pressluft/nspawn/addresses.json";
    let seen = String::from_utf8_lossy(&host(look).stdout).into_owned();
    seen.lines()
        .filter(|line| line.contains(name))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_real_machine_takes_a_login_stops_starts_and_leaves_nothing() {
    let folder = folder();
    let mut machine = RealMachine::start(folder.path(), "operator");
    let name = machine.run("hostname").trim().to_owned();
    let short = name.strip_prefix("pressluft-").unwrap().to_owned();
    assert_eq!(machine.authorized_keys(), "");
    assert!(!login(&machine, &folder, "true").status.success());

    let made = host(&format!(
        "ssh-keygen -q -t ed25519 -N '' -f {}/key",
        folder.path().display()
    ));
    assert!(made.status.success(), "{made:?}");
    let key = std::fs::read_to_string(folder.path().join("key.pub")).unwrap();
    machine.set_authorized_keys(&key);
    let who = login(&machine, &folder, "'id -un; sudo -n id -un'");
    assert_eq!(String::from_utf8_lossy(&who.stdout), "operator\nroot\n", "{who:?}");

    machine.stop();
    assert!(!machine.is_running());
    machine.start_again();
    assert!(machine.is_running());
    assert_eq!(machine.authorized_keys(), key);
    let who = login(&machine, &folder, "id -un");
    assert_eq!(String::from_utf8_lossy(&who.stdout), "operator\n", "{who:?}");

    drop(machine);
    assert_eq!(traces(&short), "");
}

/// The functions block; a runtime around them must not matter.
#[tokio::test]
async fn a_real_machine_can_be_started_within_a_runtime_and_released_by_its_folder_alone() {
    let folder = folder();
    let machine = RealMachine::start(folder.path(), "operator");
    let ran = machine.try_run(&["/bin/sh", "-c", "cat; echo oops >&2; exit 7"], b"fed");
    assert_eq!((ran.status, ran.stdout_text().as_str()), (7, "fed"));
    assert_eq!(ran.stderr_text(), "oops\n");
    machine.leave_running();

    let inside = RealMachine::inside_of(folder.path()).unwrap();
    let name = inside.run("hostname").trim().to_owned();
    RealMachine::release_in(&machines::cache_dir(), folder.path());
    assert!(inside.process().is_none());
    assert!(RealMachine::inside_of(folder.path()).is_none());
    assert_eq!(traces(name.strip_prefix("pressluft-").unwrap()), "");
}
