//! The stand-in against what is known of Multipass, as far as the adapter does not come by.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use machines::Ran;
use multipass_stand_in::{Fault, Profile, Socket, StandIn, VmState, Vms};
use tempfile::TempDir;

fn stand_in() -> (TempDir, StandIn) {
    let folder = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
    let stand_in = StandIn::of_records(folder.path());
    (folder, stand_in)
}

/// Checks an exit code and a part of what was said, on standard error unless the code is 0.
fn expect(stand_in: &StandIn, words: &[&str], status: i32, part: &str) -> Ran {
    let ran = stand_in.run(words);
    let said = if status == 0 {
        ran.stdout_text()
    } else {
        ran.stderr_text()
    };
    assert_eq!(ran.status, status, "{words:?}: {said}");
    assert!(said.contains(part), "{words:?}: {said}");
    ran
}

#[test]
fn what_the_client_refuses_ends_with_1() {
    let (_folder, multipass) = stand_in();
    for words in [
        ["list", "--nope"].as_slice(),
        &["list", "--format"],
        &["list", "--format", "xml"],
        &["list", "n1"],
        &["launch", "24.04", "n1"],
        &["launch", "--timeout", "0"],
        &["start"],
        &["delete", "--purge"],
    ] {
        expect(&multipass, words, 1, "");
    }
    expect(&multipass, &["exec", "n1"], 1, "Wrong number of arguments");
    expect(&multipass, &["exec", "-d", "/", "-n", "n1", "--", "true"], 1, "clash");
    expect(
        &multipass,
        &["get", "client.nope"],
        1,
        "Unrecognized settings key: 'client.nope'",
    );
    expect(&multipass, &["launch", "-c", "0"], 1, "Invalid CPU count");
    expect(&multipass, &["launch", "-d", "2 G"], 1, "is not a valid memory size");
    expect(
        &multipass,
        &["launch", "--cloud-init", "/nowhere"],
        1,
        "error: No such file:",
    );
    expect(&multipass, &["nope"], 1, "");
    assert!(
        multipass
            .run(&["nope"])
            .stdout_text()
            .starts_with("Error: Unknown command or alias 'nope'")
    );
    assert_eq!(multipass.run(&[]).status, 2);
    assert_eq!(multipass.instances(), Vec::<String>::new());
}

#[test]
fn memory_has_the_names_of_its_line_of_versions() {
    let (_folder, multipass) = stand_in();
    expect(&multipass, &["launch", "-n", "a", "--mem", "1G"], 0, "Launched: a");
    multipass.set_profile(Profile::Newest);
    expect(
        &multipass,
        &["launch", "-n", "b", "--mem", "1G"],
        1,
        "Unknown option 'mem'",
    );
    expect(&multipass, &["launch", "-n", "b", "--memory=1G"], 0, "Launched: b");
    expect(&multipass, &["launch", "-n", "c", "-m", "1G"], 0, "Launched: c");
}

#[test]
fn a_launch_is_validated_in_multipass_s_order() {
    let (_folder, multipass) = stand_in();
    multipass.put_record("n1", VmState::Deleted);
    multipass.set(|settings| {
        settings.kvm = false;
        settings.host_disk_full = true;
        settings.socket = Socket::Down;
    });
    let launch = |image: &str, memory: &str, disk: &str, name: &str, status: i32, part: &str| {
        let words = ["launch", image, "-m", memory, "--disk", disk, "--name", name];
        expect(&multipass, &words, status, part);
    };
    launch("99.99", "x", "1M", "1n", 1, "is not a valid memory size");
    launch("99.99", "1M", "1M", "1n", 2, "cannot connect to the multipass socket");
    multipass.set(|settings| settings.socket = Socket::Up);
    launch("99.99", "1M", "1M", "1n", 2, "Unable to find an image matching");
    launch("nope:24.04", "1M", "1M", "1n", 2, "is unknown or unreachable");
    launch("21.10", "1M", "1M", "1n", 2, "release is no longer supported");
    launch("24.04", "1M", "1M", "1n", 2, "Invalid memory size value supplied");
    launch("24.04", "1G", "1M", "1n", 2, "Invalid disk size");
    launch("24.04", "1G", "1G", "1n", 2, "Invalid instance name supplied");
    launch("24.04", "1G", "1G", "n1", 2, "instance \"n1\" already exists");
    launch("24.04", "1G", "1G", "n2", 2, "KVM support is not enabled");
    multipass.set(|settings| settings.kvm = true);
    launch("24.04", "1G", "1G", "n2", 2, "Requested disk (");
    launch("24.04", "1G", "5G", "n2", 2, "Available disk (");
    assert_eq!(multipass.instances(), ["n1"]);
}

#[test]
fn states_answer_as_multipass_has_it() {
    let (_folder, multipass) = stand_in();
    expect(&multipass, &["start", "n1"], 2, "Instance 'n1' does not exist.");
    for command in ["stop", "restart", "suspend", "delete", "recover", "info"] {
        expect(&multipass, &[command, "n1"], 2, "instance \"n1\" does not exist");
    }
    multipass.put_record("n1", VmState::Running);
    expect(&multipass, &["start", "n1"], 0, "");
    expect(&multipass, &["stop", "n1"], 0, "");
    expect(&multipass, &["stop", "n1"], 0, "");
    expect(&multipass, &["restart", "n1"], 2, "is not running");
    multipass.set_state("n1", VmState::Suspending);
    expect(&multipass, &["start", "n1"], 2, "while suspending");
    multipass.set_state("n1", VmState::Unknown);
    expect(&multipass, &["start", "n1"], 2, "unknown state");
    expect(&multipass, &["stop", "n1"], 2, "unknown state");
    expect(
        &multipass,
        &["exec", "n1", "true"],
        2,
        "Cannot retrieve credentials in unknown state",
    );
    expect(&multipass, &["stop", "--force", "n1"], 0, "");
    expect(&multipass, &["delete", "n1"], 0, "");
    expect(&multipass, &["delete", "n1"], 0, "");
    expect(
        &multipass,
        &["start", "n1"],
        2,
        "Instance 'n1' is deleted. Use 'recover'",
    );
    expect(&multipass, &["launch", "-n", "n1"], 2, "already exists");
    expect(&multipass, &["recover", "n1"], 0, "");
    assert_eq!(multipass.state_of("n1"), Some(VmState::Stopped));
    expect(&multipass, &["delete", "n1"], 0, "");
    multipass.put_record("n2", VmState::Deleted);
    multipass.put_record("n3", VmState::Running);
    expect(&multipass, &["purge"], 0, "");
    assert_eq!(multipass.instances(), ["n3"]);
    expect(&multipass, &["delete", "n3", "-p"], 0, "");
    expect(&multipass, &["start", "primary"], 0, "");
    assert_eq!(multipass.instances(), ["primary"], "Multipass makes this one by itself");
}

#[test]
fn json_has_the_shape_of_its_line_of_versions() {
    let (_folder, multipass) = stand_in();
    multipass.put_record("n1", VmState::Running);
    multipass.put_record("n2", VmState::Stopped);
    multipass.report_addresses(&["N/A", "REAL"]);
    let list = |profile| {
        multipass.set_profile(profile);
        let text = expect(&multipass, &["list", "--format=json"], 0, "\"list\"").stdout_text();
        text.split_whitespace().collect::<String>()
    };
    assert_eq!(
        list(Profile::Released),
        r#"{"list":[{"ipv4":["N/A","192.0.2.10"],"name":"n1","release":"Ubuntu24.04LTS","state":"Running"},"#
            .to_owned()
            + r#"{"ipv4":[],"name":"n2","release":"Ubuntu24.04LTS","state":"Stopped"}]}"#
    );
    let newest = list(Profile::Newest);
    assert!(
        newest.starts_with(r#"{"list":[{"name":"n1","state":"Running","ipv4":["192.0.2.10"],"#),
        "{newest}"
    );
    assert!(newest.contains("\"zone\""), "{newest}");
    expect(&multipass, &["find", "99.99", "--format", "json"], 0, "\"images\": {}");
    multipass.set_profile(Profile::Released);
    expect(
        &multipass,
        &["find", "99.99", "--format", "json"],
        2,
        "Unable to find an image",
    );
    expect(&multipass, &["find", "24.04", "--format", "json"], 0, "\"24.04\"");
    expect(&multipass, &["get", "client.primary-name"], 0, "primary\n");
}

#[test]
fn faults_are_taken_in_their_order_by_the_calls_that_they_are_for() {
    let (_folder, multipass) = stand_in();
    multipass.push(Fault::on("list").times(2).reports("one"));
    multipass.push(Fault::on("launch").reports("two"));
    multipass.push(Fault::on("*").fails(3, "three"));
    expect(&multipass, &["version"], 0, "");
    expect(&multipass, &["list"], 2, "list failed: one\n");
    expect(&multipass, &["launch"], 2, "launch failed: two\n");
    expect(&multipass, &["list"], 2, "list failed: one\n");
    expect(&multipass, &["list"], 3, "three\n");
    expect(&multipass, &["list"], 0, "");
    assert_eq!(multipass.instances(), Vec::<String>::new());
    assert_eq!(multipass.calls().len(), 6);
    assert_eq!(multipass.calls_of("list").len(), 4);
}

#[test]
fn exec_in_a_real_machine_passes_words_input_and_codes_through() {
    let (_folder, multipass) = stand_in();
    multipass.set(|settings| settings.vms = Vms::Real);
    expect(&multipass, &["launch", "-n", "n1"], 0, "Launched: n1");
    let words = [
        "exec",
        "-n",
        "n1",
        "--",
        "sh",
        "-c",
        "id -un; pwd; printf '<%s>' \"$@\"",
        "sh",
        "a  b",
        "$HOME",
    ];
    expect(&multipass, &words, 0, "ubuntu\n/home/ubuntu\n<a  b><$HOME>");
    expect(&multipass, &["exec", "-d", "/etc", "n1", "pwd"], 0, "/etc\n");
    for (script, status) in [("exit 3", 3), ("exit 137", 137), ("kill -9 $$", 255)] {
        expect(&multipass, &["exec", "-n", "n1", "--", "sh", "-c", script], status, "");
    }
    // Only the newest versions take a command's 4 for what it is.
    multipass.set_profile(Profile::Newest);
    expect(&multipass, &["exec", "-n", "n1", "--", "sh", "-c", "exit 4"], 4, "");

    expect(&multipass, &["stop", "n1"], 0, "");
    assert!(multipass.machine("n1").unwrap().process().is_none());
    let started = expect(&multipass, &["exec", "-n", "n1", "--", "echo", "said"], 0, "said\n");
    assert!(
        started.stdout_text().contains("Starting n1"),
        "it spins on standard output"
    );

    expect(&multipass, &["info", "n1", "--format", "json"], 0, "\"Running\"");
    let machine = multipass.machine("n1").unwrap();
    machine.run("sed -i '/ubuntu@localhost/d' ~ubuntu/.ssh/authorized_keys");
    for words in [["exec", "n1", "true"].as_slice(), &["info", "n1"]] {
        let status = if words[0] == "exec" { 255 } else { 2 };
        expect(&multipass, words, status, "ssh failed to authenticate: '");
    }
    machine.run("systemctl stop ssh.service");
    expect(&multipass, &["exec", "n1", "true"], 255, "ssh connection failed: '");

    machine.stop();
    assert_eq!(multipass.state_of("n1"), Some(VmState::Stopped), "it ended by itself");
    expect(&multipass, &["delete", "--purge", "n1"], 0, "");
    assert!(multipass.machine("n1").is_none());
    assert_eq!(multipass.instances(), Vec::<String>::new());
}
