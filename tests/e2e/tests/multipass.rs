//! Local nodes by Multipass, on its stand-in: the whole path on real machines, and what it tells where it cannot go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;

use e2e::{Client, Installation, eventually, recorded_children, runtime_image};
use multipass_stand_in::{Fault, MULTIPASS_KEY, Socket, StandIn, VmState};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const PROVISIONED: Duration = Duration::from_secs(600);

fn instance(node: &str) -> String {
    format!("pressluft-{}", &node[node.len() - 12..])
}

/// An installation by a stand-in. The stand-in goes first, while its folder is there.
fn multipass(make: fn(&Path) -> StandIn) -> (Installation, StandIn) {
    let installation = Installation::new().with("PROBE_INTERVAL", "1h");
    let stand_in = make(&installation.scratch().join("multipass"));
    (installation.with_multipass(stand_in.program()), stand_in)
}

/// Every point of acquisition at which the server is killed, in the order in which a run meets them, with its step.
const POINTS: &[(&str, &str)] = &[
    ("acquire.started", "acquire"),
    ("acquire.launched", "acquire"),
    ("acquire.address_known", "acquire"),
    ("acquire.host_key_read", "acquire"),
    ("acquire.acquired", "acquire"),
    ("inject_key.started", "inject_key"),
    ("inject_key.injected", "inject_key"),
    ("inject_key.finished", "inject_key"),
    ("wait_for_ssh.started", "wait_for_ssh"),
];

#[test]
fn a_node_by_multipass_becomes_active_twice_by_one_launch_though_its_server_is_killed_in_every_step() {
    let (installation, stand_in) = multipass(StandIn::new);
    stand_in.start_from(&runtime_image());
    let mut ids: Option<(String, String)> = None;
    for (point, step) in POINTS {
        let (server, held) = installation.start_held_at(point);
        let client = server.client();
        let (_, job) = ids.get_or_insert_with(|| client.create_local_node()).clone();
        eventually(&format!("the hold at {point}"), SOON, || held.exists().then_some(()));
        assert!(
            ["started", "succeeded"].contains(&client.step(&job, step).as_str()),
            "{point}"
        );
        server.kill();
    }
    let (node, job) = ids.unwrap();
    let server = installation.start();
    let client = server.client();
    let done = client.success_of(&job, PROVISIONED);
    assert_eq!(done["attempt_count"], 1, "a lost worker is no attempt");
    let seen = client.node(&node);
    assert_eq!(
        (&seen["status"], &seen["provider"], &seen["ssh_user"], &seen["ssh_port"]),
        (&json!("active"), &json!("multipass"), &json!("ubuntu"), &json!(22))
    );
    assert_eq!(seen["readiness"]["is_ready"], true, "{seen:#}");
    assert_eq!(seen["public_ip"], json!(stand_in.address(&instance(&node))));
    assert_eq!(stand_in.instances(), [instance(&node)]);
    assert_eq!(stand_in.calls_of("launch").len(), 1);

    // The keys: Multipass's own, which is none of ours to touch, and Pressluft's, once.
    let key = client.get("/api/ssh-key")["public_key"].as_str().unwrap().to_owned();
    let keys = stand_in.authorized_keys(&instance(&node));
    let count = |line: &str| keys.lines().filter(|known| *known == line).count();
    assert_eq!(
        (count(MULTIPASS_KEY), count(&key), keys.lines().count()),
        (1, 1, 2),
        "{keys}"
    );

    // Again: nothing is launched, nothing changes.
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let done = client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
    assert!(detail(&done, "provision").ends_with(" 0 changed"), "{done:#}");
    assert_eq!(stand_in.authorized_keys(&instance(&node)), keys);
    assert_eq!(stand_in.calls_of("launch").len(), 1);

    // Stopped behind Pressluft's back, it is started and not launched.
    assert!(stand_in.run(&["stop", &instance(&node)]).success());
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
    assert_eq!(stand_in.calls_of("launch").len(), 1);

    // Given back, it is deleted by its own name, and nothing else is.
    stand_in.put_record("somebody-elses", VmState::Deleted);
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), SOON);
    assert_eq!(stand_in.instances(), ["somebody-elses"]);
    assert!(stand_in.calls_of("purge").is_empty());
    for call in stand_in.calls_of("delete") {
        assert_eq!(call.argv, ["delete", "--purge", &instance(&node)]);
    }
    assert!(
        !installation.data_dir().join("machines").exists(),
        "another provider was at work"
    );
    assert_eq!(recorded_children(&installation.data_dir()), []);
    server.stop();
}

fn detail(job: &Value, step: &str) -> String {
    let steps = job["steps"].as_array().unwrap();
    let step = steps.iter().find(|known| known["name"] == step).unwrap();
    step["detail"].as_str().unwrap().to_owned()
}

fn failed(client: &Client, job: &str, code: &str, attempts: u64) -> String {
    let ended = client.end_of(job, SOON);
    assert_eq!(
        (ended["error_code"].as_str(), ended["attempt_count"].as_u64()),
        (Some(code), Some(attempts)),
        "{ended:#}"
    );
    ended["error_message"].as_str().unwrap().to_owned()
}

/// What somebody is told to do about a Multipass that cannot work: by the list of providers, by `pressluft doctor`, and
/// in the message of a job.
fn remedies(installation: &Installation, client: &Client, message: &str) {
    let providers = client.get("/api/providers");
    let local = providers
        .as_array()
        .unwrap()
        .iter()
        .find(|known| known["source"] == "local")
        .unwrap();
    let remedy = local["remedy"].as_str().unwrap();
    assert!(message.contains(remedy), "{message} / {remedy}");
    let doctor = installation.command(&["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "local provider multipass")
        .unwrap();
    assert_eq!(check["remedy"], remedy);
    let page = client.send("GET", "/nodes", None).body;
    let mut shown = page.as_str().unwrap().to_owned();
    for (html, text) in [
        ("<code>", "`"),
        ("</code>", "`"),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ] {
        shown = shown.replace(html, text);
    }
    assert!(
        shown.contains(remedy.trim_end_matches('.')),
        "{remedy} is not on the page"
    );
}

#[test]
fn what_stands_in_the_way_of_multipass_is_told_alike_everywhere_and_a_failure_that_passes_is_recovered_from() {
    let (installation, stand_in) = multipass(StandIn::of_records);
    let server = installation.start();
    let client = server.client();
    for socket in [Socket::Denied, Socket::Unauthenticated] {
        stand_in.set(|settings| settings.socket = socket);
        let (node, job) = client.create_local_node();
        let message = failed(&client, &job, "LOCAL_PROVIDER_DENIED", 1);
        remedies(&installation, &client, &message);
        assert_eq!(client.node(&node)["status"], "failed");
    }
    stand_in.set(|settings| settings.socket = Socket::Up);

    // Each end of a launch that is final is so at the first attempt.
    for (what, code) in [
        (
            "launch failed: KVM support is not enabled on this machine.",
            "LOCAL_PROVIDER_UNAVAILABLE",
        ),
        (
            "launch failed: Unable to find an image matching \"24.04\"",
            "LOCAL_IMAGE_UNAVAILABLE",
        ),
        (
            "launch failed: Invalid memory size value supplied: 2G",
            "LOCAL_CONFIG_INVALID",
        ),
        (
            "launch failed: Available disk (1) below minimum for this image (2)",
            "HOST_DISK_FULL",
        ),
    ] {
        stand_in.push(Fault::on("launch").fails(2, what));
        let (_, job) = client.create_local_node();
        failed(&client, &job, code, 1);
        assert!(stand_in.instances().is_empty(), "{code}");
        assert_eq!(stand_in.clear_faults(), 0, "{code}");
    }

    // One that may pass is tried again, and the job goes on from there: here to a machine that nobody answers at.
    stand_in.push(Fault::on("launch").reports("failed to download from 'https://images.example.test/x'"));
    let (_, job) = client.create_local_node();
    eventually("the second launch", SOON, || {
        (stand_in.instances().len() == 1).then_some(())
    });
    assert_eq!(client.job(&job)["attempt_count"], 2);
    client.expect(202, "POST", &format!("/api/jobs/{job}/cancel"), None);
    assert_eq!(client.end_of(&job, SOON)["status"], "cancelled");
    server.stop();
}
