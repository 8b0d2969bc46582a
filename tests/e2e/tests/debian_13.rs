//! A node that runs Debian 13, whatever this host runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use e2e::{Installation, Machine};
use serde_json::json;

/// With the making of its base image.
const PROVISIONED: Duration = Duration::from_secs(800);

#[test]
fn a_node_with_debian_13_becomes_ready_and_a_second_run_changes_nothing() {
    let installation = Installation::new().with("NSPAWN_RELEASE", "trixie");
    let server = installation.start();
    let client = server.client();
    let (node, job) = client.create_local_node();
    client.success_of(&job, PROVISIONED);

    let machine = Machine::of(&installation.data_dir(), &node);
    assert_eq!(
        machine.run(". /etc/os-release; echo \"$ID $VERSION_ID\""),
        "debian 13\n"
    );
    let seen = client.node(&node);
    assert_eq!(seen["status"], "active");
    assert_eq!(seen["readiness"]["is_ready"], true, "{seen:#}");
    assert_eq!(seen["readiness"]["reason_codes"], json!([]));

    // What this release names or sets up in its own way.
    machine.run("systemctl is-active nginx mariadb redis-server php8.4-fpm fail2ban nftables ssh apt-daily.timer");
    assert_eq!(machine.run("systemctl list-units --failed --no-legend"), "");
    assert!(
        machine
            .run("nft list chain inet pressluft input")
            .contains("policy drop;")
    );
    assert!(
        machine
            .run("fail2ban-client status sshd")
            .contains("SYSLOG_IDENTIFIER=sshd-session")
    );
    assert!(machine.run("sshd -T").contains("\npasswordauthentication no\n"));
    assert_eq!(machine.run("redis-cli ping").trim(), "NOAUTH Authentication required.");

    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let done = client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
    let steps = done["steps"].as_array().unwrap();
    let provision = steps.iter().find(|step| step["name"] == "provision").unwrap();
    assert!(
        provision["detail"].as_str().unwrap().ends_with(" 0 changed"),
        "{done:#}"
    );

    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), Duration::from_secs(30));
    server.stop();
}
