//! Cancelling, stopping and killing while a provisioning task sleeps on the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use e2e::{Client, Installation, Machine, eventually, left_of_node, processes_mentioning, recorded_children};

const LONG: Duration = Duration::from_secs(300);

/// Pressluft's own playbook with a task that sleeps, so that there is something to cancel.
const PLAYBOOK: &str = r#"---
- name: Sleep
  hosts: all
  gather_facts: false
  become: true
  environment:
    PL_NODE_RUN: "{{ pressluft_run }}"
  tasks:
    - name: Sleep for long
      ansible.builtin.command: sleep 1234567
"#;

fn installation() -> Installation {
    let installation = Installation::new().with_own_roles();
    let playbook = installation.scratch().join("ansible/playbooks/node-provision.yml");
    std::fs::write(playbook, PLAYBOOK).unwrap();
    installation
}

fn sleepers(machine: &Machine) -> String {
    machine.run("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep '^sleep 1234567' || :; done")
}

fn wait_for_sleep(client: &Client, machine: &Machine, job: &str) {
    eventually("the task sleeps on the machine", LONG, || {
        let seen = client.job(job);
        assert!(seen["error_code"].is_null(), "{seen:#}");
        (client.step(job, "provision") == "started" && !sleepers(machine).is_empty()).then_some(())
    });
}

#[test]
fn within_ten_seconds_of_a_cancel_nothing_of_ansible_ssh_or_the_remote_command_is_left() {
    let installation = installation();
    let data = installation.data_dir();
    let server = installation.start();
    let client = server.client();
    let (node, job) = client.create_local_node();
    let machine = Machine::of(&data, &node);
    wait_for_sleep(&client, &machine, &job);

    let begin = Instant::now();
    client.expect(202, "POST", &format!("/api/jobs/{job}/cancel"), None);
    assert_eq!(client.end_of(&job, Duration::from_secs(10))["status"], "cancelled");
    assert_eq!(sleepers(&machine), "");
    assert_eq!(recorded_children(&data), []);
    let name = format!("pressluft-{}", &node[node.len() - 12..]);
    assert_eq!(processes_mentioning(&name), Vec::<String>::new());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());

    // Stopped by SIGTERM, the job is given back; killed, its children are ended by the next server. Each time it goes on.
    let again = client.expect(202, "POST", &format!("/api/nodes/{node}/provision"), None);
    let job = again["job_id"].as_str().unwrap().to_owned();
    wait_for_sleep(&client, &machine, &job);
    server.stop();
    assert_eq!(sleepers(&machine), "");
    let server = installation.start();
    wait_for_sleep(&server.client(), &machine, &job);
    let children = recorded_children(&data);
    assert!(!children.is_empty());
    server.kill();
    let server = installation.start();
    let client = server.client();
    for child in children {
        assert_ne!(process_exec::process_key(child.pid), Some(child));
    }
    wait_for_sleep(&client, &machine, &job);
    assert_eq!(
        sleepers(&machine).lines().count(),
        1,
        "the old command goes on beside the new one"
    );
    assert_eq!(client.job(&job)["attempt_count"], 1);

    client.expect(202, "POST", &format!("/api/jobs/{job}/cancel"), None);
    client.end_of(&job, Duration::from_secs(10));
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), Duration::from_secs(60));
    assert_eq!(left_of_node(&data, &node), Vec::<String>::new());
    server.stop();
}
