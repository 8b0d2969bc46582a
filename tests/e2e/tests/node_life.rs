//! A local node from nothing to gone, on a real machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use e2e::{Client, Installation, Machine, eventually, left_of_node, processes_mentioning};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const PROVISIONED: Duration = Duration::from_secs(600);

fn check(client: &Client, node: &str) -> Value {
    client.expect(200, "POST", &format!("/api/nodes/{node}/readiness-check"), None)
}

fn reasons(readiness: &Value) -> Vec<String> {
    readiness["reason_codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect()
}

/// Breaks something, expects exactly one more reason than none, mends it, and expects the node to be ready again.
fn breaks(client: &Client, node: &str, machine: &Machine, break_it: &str, reason: &str, mend_it: &str) {
    machine.run(break_it);
    let seen = check(client, node);
    let mut codes = reasons(&seen);
    codes.retain(|code| code != "node_status_not_active");
    assert_eq!(codes, [reason], "{break_it}: {seen:#}");
    assert_eq!(seen["is_ready"], false);
    let guidance = seen["guidance"].as_array().unwrap();
    assert!(
        guidance
            .iter()
            .any(|entry| entry["reason_code"] == reason && entry["message"].as_str().unwrap().len() > 20)
    );
    machine.run(mend_it);
    eventually(&format!("ready again after: {mend_it}"), SOON, || {
        (check(client, node)["is_ready"] == true).then_some(())
    });
    assert_eq!(client.node(node)["status"], "active");
}

#[test]
fn a_local_node_goes_from_nothing_to_ready_and_leaves_nothing() {
    let installation = Installation::new().with("PROBE_INTERVAL", "1s").with_own_roles();
    let server = installation.start();
    let client = server.client();

    // A fresh installation has no node, and never one for the control plane's own host.
    assert_eq!(client.get("/api/nodes?include_decommissioned=true")["items"], json!([]));
    assert_eq!(client.get("/api/jobs")["items"], json!([]));

    // Two are asked for at once: accepted before anything exists, and soon two machines at work at the same time.
    let body = json!({"acquisition_source": "local", "name": "first"});
    let first = client.send("POST", "/api/nodes", Some(body));
    assert_eq!(first.status, 202, "{}", first.body);
    assert!(first.took < Duration::from_millis(100), "{:?}", first.took);
    let (node, job) = (
        first.body["node_id"].as_str().unwrap(),
        first.body["job_id"].as_str().unwrap(),
    );
    let machine = Machine::of(&installation.data_dir(), node);
    assert!(machine.process().is_none(), "there is a machine already");
    let (other, other_job) = client.create_local_node();
    let other_machine = Machine::of(&installation.data_dir(), &other);
    for job in [job, &other_job] {
        eventually("provisioning begins", PROVISIONED, || {
            let status = client.job(job);
            assert!(status["error_code"].is_null(), "{status:#}");
            (client.step(job, "provision") == "started").then_some(())
        });
    }
    assert!(machine.process().is_some() && other_machine.process().is_some());
    assert_eq!(client.get("/api/metrics")["jobs_running"], 2);
    let (a, b) = (client.node(node), client.node(&other));
    assert_ne!(a["short_id"], b["short_id"]);
    assert_ne!(a["public_ip"], b["public_ip"]);
    let host_key = |machine: &Machine| machine.run("cat /etc/ssh/ssh_host_ed25519_key.pub");
    assert_ne!(host_key(&machine), host_key(&other_machine));

    // The other one is given up while Ansible works on it.
    let path = format!("/api/nodes/{other}");
    let refused = client.expect(409, "DELETE", &path, None);
    assert_eq!(refused["code"], "conflict");
    eventually("the first task", SOON, || client.has_task(&other_job).then_some(()));
    client.expect(202, "POST", &format!("/api/jobs/{other_job}/cancel"), None);
    assert_eq!(
        client.end_of(&other_job, Duration::from_secs(10))["status"],
        "cancelled"
    );
    assert_eq!(client.node(&other)["status"], "failed");
    let name = format!("pressluft-{}", &other[other.len() - 12..]);
    assert_eq!(processes_mentioning(&name), Vec::<String>::new());
    assert_eq!(
        client.expect(409, "POST", &format!("/api/jobs/{other_job}/cancel"), None)["code"],
        "job_not_cancellable"
    );
    let gone = client.expect(202, "DELETE", &path, None);
    client.success_of(gone["job_id"].as_str().unwrap(), SOON);
    assert_eq!(client.node(&other)["status"], "decommissioned");
    assert_eq!(left_of_node(&installation.data_dir(), &other), Vec::<String>::new());

    // The first one becomes ready, with evidence; from the bare image Ansible changed things.
    let done = client.success_of(job, PROVISIONED);
    assert_eq!((&done["attempt_count"], &done["error_code"]), (&json!(1), &Value::Null));
    let steps: Vec<_> = done["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        [
            "acquire",
            "inject_key",
            "wait_for_ssh",
            "provision",
            "keep_image",
            "readiness"
        ]
    );
    assert!(
        !done["steps"][3]["detail"].as_str().unwrap().ends_with(" 0 changed"),
        "{done:#}"
    );
    let seen = client.node(node);
    assert_eq!(
        (seen["status"].as_str(), seen["name"].as_str()),
        (Some("active"), Some("first"))
    );
    assert_eq!(
        (seen["provider"].as_str(), seen["acquisition_source"].as_str()),
        (Some("nspawn"), Some("local"))
    );
    assert_eq!(seen["readiness"]["is_ready"], true, "{seen:#}");
    assert_eq!(seen["readiness"]["reason_codes"], json!([]));
    let evidence = seen["readiness"]["evidence"].as_array().unwrap();
    assert!(
        evidence.len() > 5 && evidence.iter().all(|check| check["exit_status"] == 0),
        "{evidence:#?}"
    );
    let address = seen["public_ip"].clone();
    let unknown_host = machine.run(
        "python3 - <<'E'\nimport socket\ns = socket.create_connection(('127.0.0.1', 80))\n\
        s.sendall(b'GET / HTTP/1.1\\r\\nHost: unknown.test\\r\\n\\r\\n')\nprint(repr(s.recv(100)))\nE",
    );
    assert_eq!(unknown_host.trim(), "b''");

    // Up to date: the same playbook changes nothing, and the key stands there once.
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let done = client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
    assert!(
        done["steps"][3]["detail"].as_str().unwrap().ends_with(" 0 changed"),
        "{done:#}"
    );
    assert_eq!(
        machine.run("grep -c pressluft ~pressluft/.ssh/authorized_keys").trim(),
        "1"
    );

    // Each reason on a real machine.
    let cases = [
        ("systemctl stop nginx", "runtime_missing", "systemctl start nginx"),
        (
            "mkdir /var/tmp/s && mv /etc/sudoers.d/* /var/tmp/s/",
            "sudo_unavailable",
            "mv /var/tmp/s/* /etc/sudoers.d/ && rmdir /var/tmp/s",
        ),
        (
            "mv ~pressluft/.ssh/authorized_keys /var/tmp/k",
            "ssh_auth_rejected",
            "mv /var/tmp/k ~pressluft/.ssh/authorized_keys",
        ),
        (
            "cp -a /etc/ssh/ssh_host_ed25519_key* /var/tmp/ && rm /etc/ssh/ssh_host_ed25519_key* \
             && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh",
            "host_key_mismatch",
            "mv /var/tmp/ssh_host_ed25519_key* /etc/ssh/ && systemctl restart ssh",
        ),
        ("systemctl stop ssh", "node_unreachable", "systemctl start ssh"),
    ];
    for (break_it, reason, mend_it) in cases {
        breaks(&client, node, &machine, break_it, reason, mend_it);
    }

    // Stopped behind Pressluft's back: noticed, and brought back with the same address and host key.
    let key = host_key(&machine);
    machine.stop();
    eventually("the node counts as unreachable", Duration::from_secs(60), || {
        (client.node(node)["status"] == "unreachable").then_some(())
    });
    let seen = client.node(node);
    assert!(
        reasons(&seen["readiness"]).contains(&"node_unreachable".to_owned()),
        "{seen:#}"
    );
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
    let seen = client.node(node);
    assert_eq!((&seen["status"], &seen["public_ip"]), (&json!("active"), &address));
    assert_eq!(host_key(&machine), key);

    // Stopped while the server was away, as by a reboot of the host: started again without being asked.
    server.stop();
    machine.stop();
    let server = installation.start();
    let client = server.client();
    let newest = eventually("the machine is started again", SOON, || {
        let newest = client.get(&format!("/api/jobs?node_id={node}&limit=1"))["items"][0].clone();
        (newest["id"] != again["job_id"]).then_some(newest)
    });
    client.success_of(newest["id"].as_str().unwrap(), PROVISIONED);
    assert_eq!(client.node(node)["status"], "active");

    // Given back, nothing is left; the record stays.
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), SOON);
    assert_eq!(left_of_node(&installation.data_dir(), node), Vec::<String>::new());
    assert_eq!(client.get("/api/nodes")["items"], json!([]));
    assert_eq!(client.node(node)["status"], "decommissioned");
    server.stop();
}
