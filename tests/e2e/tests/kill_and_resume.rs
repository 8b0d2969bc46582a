//! The server killed in every step of `node_provision`, on a real machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use e2e::{Installation, Machine, eventually, left_of_node, processes_mentioning, recorded_children};
use process_exec::process_key;
use serde_json::json;

const LONG: Duration = Duration::from_secs(600);

/// Every point, in the order in which a run meets them, with the step that it is in.
const POINTS: &[(&str, &str)] = &[
    ("acquire.started", "acquire"),
    ("acquire.image_ready", "acquire"),
    ("acquire.rootfs_ready", "acquire"),
    ("acquire.network_ready", "acquire"),
    ("acquire.machine_started", "acquire"),
    ("acquire.acquired", "acquire"),
    ("inject_key.started", "inject_key"),
    ("inject_key.written", "inject_key"),
    ("wait_for_ssh.started", "wait_for_ssh"),
    ("provision.started", "provision"),
    ("keep_image.started", "keep_image"),
    ("readiness.started", "readiness"),
];

#[test]
fn a_job_whose_server_is_killed_in_every_step_ends_succeeded_with_one_machine() {
    let installation = Installation::new().with_own_roles();
    let data = installation.data_dir();
    let mut ids: Option<(String, String)> = None;
    for (point, step) in POINTS {
        let (server, held) = installation.start_held_at(point);
        let client = server.client();
        let (node, job) = ids.get_or_insert_with(|| client.create_local_node()).clone();
        if *step == "keep_image" {
            // On the way there, it is killed once more in the middle of Ansible's work.
            eventually("a task of Ansible", LONG, || client.has_task(&job).then_some(()));
            assert_eq!(client.step(&job, "provision"), "started");
            let children = recorded_children(&data);
            assert!(
                children.iter().any(|child| process_key(child.pid) == Some(*child)),
                "nothing was at work"
            );
            server.kill();
            let (server, held) = installation.start_held_at(point);
            for child in children {
                assert_ne!(
                    process_key(child.pid),
                    Some(child),
                    "a child of the dead server still runs"
                );
            }
            eventually("the hold in keep_image", LONG, || held.exists().then_some(()));
            assert_eq!(server.client().step(&job, "keep_image"), "started");
            assert_eq!(server.client().step(&job, "provision"), "succeeded");
            server.kill();
        } else {
            eventually(&format!("the hold at {point}"), LONG, || held.exists().then_some(()));
            assert_eq!(client.step(&job, step), "started", "{point}");
            server.kill();
        }
        let (node_now, _) = ids.clone().unwrap();
        assert_eq!(node_now, node);
    }

    let (node, job) = ids.unwrap();
    let server = installation.start();
    let client = server.client();
    let done = client.success_of(&job, LONG);
    assert_eq!(done["attempt_count"], 1, "a lost worker is no attempt");
    assert_eq!(client.node(&node)["status"], "active");
    assert_eq!(client.node(&node)["readiness"]["is_ready"], json!(true));
    assert_eq!(client.get("/api/jobs")["items"].as_array().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(data.join("machines")).unwrap().count(), 1);
    let machine = Machine::of(&data, &node);
    let keys = machine.run("cat ~pressluft/.ssh/authorized_keys");
    assert_eq!(keys.lines().count(), 1, "{keys}");
    assert_eq!(recorded_children(&data), []);
    let ansible = processes_mentioning(&data.join("run/ansible").display().to_string());
    assert_eq!(ansible, Vec::<String>::new());

    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), Duration::from_secs(60));
    assert_eq!(left_of_node(&data, &node), Vec::<String>::new());
    server.stop();
}
