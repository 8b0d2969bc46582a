//! Remote nodes: real machines that Pressluft did not make, reached by SSH alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and damages a record by itself"
)]

use std::time::Duration;

use e2e::{Client, Installation, Server, eventually, runtime_image};
use machines::RealMachine;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const PROVISIONED: Duration = Duration::from_secs(600);
const USER: &str = "deploy";

/// The line that installs Pressluft's key, as an operator is shown it.
fn install_line(client: &Client) -> String {
    client.get("/api/ssh-key")["install_command"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Runs a line on the machine as its login user, as an operator would.
fn as_user(machine: &RealMachine, line: &str) {
    let ran = machine.try_run(&["su", "-", USER, "-c", line], b"");
    assert!(ran.success(), "{line}: {}", ran.stderr_text());
}

fn at(machine: &RealMachine) -> Value {
    json!({"hostname": machine.address.to_string(), "ssh_user": USER})
}

fn with(mut fields: Value, name: &str, value: &str) -> Value {
    fields[name] = value.into();
    fields
}

fn fingerprint(machine: &RealMachine, kind: &str) -> String {
    let line = machine.run(&format!("ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub"));
    line.split_ascii_whitespace().nth(1).unwrap().to_owned()
}

fn ended(client: &Client, job: &str, code: &str, attempts: u64) -> String {
    let seen = client.end_of(job, SOON);
    assert_eq!(
        (seen["error_code"].as_str(), seen["attempt_count"].as_u64()),
        (Some(code), Some(attempts)),
        "{seen:#}"
    );
    seen["error_message"].as_str().unwrap().to_owned()
}

/// Gives a node back.
fn delete(client: &Client, node: &str) -> Value {
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    let job = gone["job_id"].as_str().unwrap().to_owned();
    client.success_of(&job, SOON);
    assert_eq!(client.node(node)["status"], "decommissioned");
    client.step_of(&job, "release")
}

fn other_lines(machine: &RealMachine) -> Vec<String> {
    let text = machine.authorized_keys();
    let others = text.lines().filter(|line| !line.contains("pressluft"));
    others.map(str::to_owned).collect()
}

#[test]
fn a_bare_host_of_the_operators_becomes_active_and_keeps_everything_but_the_key_when_it_is_given_up() {
    let installation = Installation::new().with("PROBE_INTERVAL", "1h");
    let machine = RealMachine::start(&installation.scratch().join("host"), USER);
    machine
        .set_authorized_keys("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q admin");
    let before = other_lines(&machine);
    let server = installation.start();
    let client = server.client();

    // Nobody listens on that port: told apart from a host that does not answer.
    let mut elsewhere = at(&machine);
    elsewhere["ssh_port"] = 2222.into();
    let (wrong_port, job) = client.create_remote_node(elsewhere);
    let message = ended(&client, &job, "REMOTE_HOST_UNREACHABLE", 3);
    assert!(message.contains("refused"), "{message}");
    delete(&client, &wrong_port);

    // The key is not there yet: the job waits without a worker, and its step says what to run.
    let asked = with(at(&machine), "host_key_fingerprint", &fingerprint(&machine, "ed25519"));
    let (node, job) = client.create_remote_node(asked);
    let parked = eventually("the job waits for the key", SOON, || {
        let step = client.step_of(&job, "inject_key");
        (step["status"] == "parked").then_some(step)
    });
    let line = install_line(&client);
    assert!(parked["detail"].as_str().unwrap().contains(&line), "{parked:#}");
    let seen = client.job(&job);
    assert_eq!(
        (&seen["status"], &seen["attempt_count"], &seen["locked_by"]),
        (&json!("queued"), &json!(1), &Value::Null)
    );
    // One machine is one node.
    let twice = client.send(
        "POST",
        "/api/nodes",
        Some(with(at(&machine), "acquisition_source", "remote")),
    );
    assert_eq!((twice.status, &twice.body["code"]), (409, &json!("conflict")));

    as_user(&machine, &line);
    client.success_of(&job, PROVISIONED);
    let seen = client.node(&node);
    assert_eq!(
        (
            &seen["status"],
            &seen["acquisition_source"],
            &seen["provider"],
            &seen["is_local"]
        ),
        (&json!("active"), &json!("remote"), &json!("ssh"), &json!(false))
    );
    assert_eq!(seen["readiness"]["is_ready"], true, "{seen:#}");
    assert_eq!(seen["host_key_fingerprint"], fingerprint(&machine, "ed25519").as_str());
    assert!(
        !installation.data_dir().join("machines").exists(),
        "a local provider was at work"
    );

    // Again: nothing changes, on the machine either.
    let keys = machine.authorized_keys();
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let done = client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
    let provision = done["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["name"] == "provision");
    assert!(
        provision.unwrap()["detail"].as_str().unwrap().ends_with(" 0 changed"),
        "{done:#}"
    );
    assert_eq!(machine.authorized_keys(), keys);

    // Given up, it runs on with all that is on it, but for the key.
    let release = delete(&client, &node);
    assert!(
        release["detail"].as_str().unwrap().contains("left in place"),
        "{release:#}"
    );
    assert!(machine.is_running());
    machine.run("systemctl is-active nginx mariadb");
    assert_eq!(other_lines(&machine), before);
    assert!(!machine.authorized_keys().contains("pressluft"));
    assert!(
        !installation
            .data_dir()
            .join(format!("ssh/pressluft-{}", &node[node.len() - 12..]))
            .exists()
    );
    server.stop();
}

#[test]
fn each_way_in_which_a_remote_host_can_fail_has_its_code_and_is_mended_as_told() {
    let installation = Installation::new()
        .with("PROBE_INTERVAL", "1h")
        .with("REMOTE_KEY_WAIT", "2s");
    let image = runtime_image();
    let machine = RealMachine::start_from(&installation.scratch().join("host"), USER, Some(&image));
    let server = installation.start();
    let client = server.client();

    // Its firewall lets nobody in there.
    let silent = json!({"hostname": machine.address.to_string(), "ssh_user": USER, "ssh_port": 2222});
    let (node, job) = client.create_remote_node(silent);
    let message = ended(&client, &job, "REMOTE_HOST_UNREACHABLE", 3);
    assert!(message.contains("port 2222 timed out"), "{message}");
    assert_eq!(reasons(&client, &node), ["node_host_missing"]);
    let release = delete(&client, &node);
    assert!(release["detail"].as_str().unwrap().contains("never"), "{release:#}");

    // Another key than the operator said.
    let wrong = format!("SHA256:{}", "a".repeat(43));
    let (node, job) = client.create_remote_node(with(at(&machine), "host_key_fingerprint", &wrong));
    let message = ended(&client, &job, "SSH_HOST_KEY_MISMATCH", 1);
    assert!(message.contains(&fingerprint(&machine, "ed25519")), "{message}");
    // The operator looks at the machine's console, and pins what it says.
    let pin = json!({"fingerprint": fingerprint(&machine, "ed25519")});
    client.expect(200, "POST", &format!("/api/nodes/{node}/host-key"), Some(pin));

    // The key is not installed in time.
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let message = ended(&client, again["job_id"].as_str().unwrap(), "SSH_AUTH_REJECTED", 1);
    let line = install_line(&client);
    assert!(message.contains(&line), "{message}");
    as_user(&machine, &line);

    // The user may not use sudo.
    let sudoers = "mkdir -p /var/tmp/s && mv /etc/sudoers.d/* /var/tmp/s/";
    machine.run(sudoers);
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let message = ended(&client, again["job_id"].as_str().unwrap(), "NODE_NOT_READY", 3);
    assert!(message.contains("sudo"), "{message}");
    machine.run("mv /var/tmp/s/* /etc/sudoers.d/");

    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
    assert_eq!(client.node(&node)["status"], "active");
    // Its fail2ban counted the logins from before the key was there; from now on it sees that one was accepted.
    machine.run("systemctl restart fail2ban");

    // Its host key is another one from now on: nothing is done until the operator pins it.
    machine.run(
        "rm /etc/ssh/ssh_host_*_key* && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && \
         systemctl restart ssh",
    );
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let message = ended(&client, again["job_id"].as_str().unwrap(), "SSH_HOST_KEY_MISMATCH", 1);
    assert!(message.contains("/host-key"), "{message}");
    let bad_pin = client.send(
        "POST",
        &format!("/api/nodes/{node}/host-key"),
        Some(json!({"fingerprint": wrong})),
    );
    assert_eq!((bad_pin.status, &bad_pin.body["code"]), (409, &json!("conflict")));
    let pin = json!({"fingerprint": fingerprint(&machine, "ed25519")});
    client.expect(200, "POST", &format!("/api/nodes/{node}/host-key"), Some(pin.clone()));
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);

    every_reason_of_an_active_node(&client, &node, &machine);
    let server = a_record_that_is_no_target_says_what_it_lacks(&installation, server, &node);
    let client = server.client();

    // Stopped, it answers nothing: not the pin, and not the last login either, which is no reason to keep the node.
    machine.run("systemctl stop ssh.socket ssh 2>/dev/null || systemctl stop ssh");
    let deaf = client.send("POST", &format!("/api/nodes/{node}/host-key"), Some(pin));
    assert_eq!((deaf.status, &deaf.body["code"]), (502, &json!("node_unreachable")));
    let release = delete(&client, &node);
    assert!(
        release["detail"].as_str().unwrap().contains("authorized_keys"),
        "{release:#}"
    );
    assert_eq!(client.get("/api/nodes")["items"], json!([]));
    server.stop();
}

fn reasons(client: &Client, node: &str) -> Vec<String> {
    let seen = client.expect(200, "POST", &format!("/api/nodes/{node}/readiness-check"), None);
    let codes = seen["reason_codes"].as_array().unwrap().iter();
    let codes = codes.map(|code| code.as_str().unwrap().to_owned());
    codes.filter(|code| code != "node_status_not_active").collect()
}

/// What only a damaged record can lead to.
fn a_record_that_is_no_target_says_what_it_lacks(installation: &Installation, server: Server, node: &str) -> Server {
    server.stop();
    let database = installation.data_dir().join("pressluft.sqlite");
    let target = |sql: &str| {
        let code = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); print(d.execute(sys.argv[2]).fetchone()); d.commit()";
        let output = std::process::Command::new("python3")
            .args(["-c", code, database.to_str().unwrap(), sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    target("CREATE TABLE kept AS SELECT id, target FROM nodes");
    for (damage, reason) in [
        ("'$.ssh_port', 0", "ssh_port_invalid"),
        ("'$.ssh_user', ''", "ssh_user_missing"),
        ("'$.hostname', ''", "node_host_missing"),
    ] {
        target(&format!(
            "UPDATE nodes SET target = json_set(target, {damage}) WHERE id = '{node}'"
        ));
        let server = installation.start();
        let seen = reasons(&server.client(), node);
        assert!(seen.contains(&reason.to_owned()), "{damage}: {seen:?}");
        server.stop();
        target("UPDATE nodes SET target = (SELECT target FROM kept WHERE kept.id = nodes.id) WHERE target IS NOT NULL");
    }
    target("DROP TABLE kept");
    installation.start()
}

/// Each reason on a real machine that no other test shows, and that it goes away again.
fn every_reason_of_an_active_node(client: &Client, node: &str, machine: &RealMachine) {
    let cases = [
        (
            "userdel --force deploy 2>/dev/null",
            "ssh_auth_rejected",
            "useradd --home-dir /home/deploy --shell /bin/bash deploy && chown -R deploy: /home/deploy",
        ),
        (
            "printf 'Port 2022\n' > /etc/ssh/sshd_config.d/00-port.conf && systemctl restart ssh",
            "node_unreachable",
            "rm /etc/ssh/sshd_config.d/00-port.conf && systemctl restart ssh",
        ),
    ];
    for (break_it, reason, mend_it) in cases {
        machine.run(break_it);
        assert_eq!(reasons(client, node), [reason], "{break_it}");
        machine.run(mend_it);
        eventually(&format!("mended: {break_it}"), SOON, || {
            reasons(client, node).is_empty().then_some(())
        });
    }
    machine.run(
        "dpkg --force-depends --remove $(dpkg-query -W -f '${Package}\n' 'php*-fpm' | grep '[0-9]') >/dev/null 2>&1",
    );
    let seen = client.expect(200, "POST", &format!("/api/nodes/{node}/readiness-check"), None);
    let guidance = seen["guidance"].as_array().unwrap().iter();
    let missing: Vec<_> = guidance
        .filter(|entry| entry["reason_code"] == "runtime_missing")
        .collect();
    assert!(missing[0]["message"].as_str().unwrap().contains("PHP-FPM"), "{seen:#}");
}
