//! A failure of one source or provider never leads to another one, nor to the control plane's own shell: shown by every
//! program that the server and all below it executed, and every address that they connected to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{Client, Installation, Server, Trace, Traced, eventually};
use machines::RealMachine;
use multipass_stand_in::{Fault, StandIn};
use serde_json::json;

const SOON: Duration = Duration::from_secs(90);
const USER: &str = "deploy";

/// Pressluft's own playbook with nothing but a task that fails.
const FAILING_PLAYBOOK: &str = r#"---
- name: Fail
  hosts: all
  gather_facts: false
  become: true
  environment:
    PL_NODE_RUN: "{{ pressluft_run }}"
  tasks:
    - name: Fail at once
      ansible.builtin.command: "false"
"#;

fn failing_playbook(installation: Installation) -> Installation {
    let installation = installation.with_own_roles();
    let playbook = installation.scratch().join("ansible/playbooks/node-provision.yml");
    std::fs::write(playbook, FAILING_PLAYBOOK).unwrap();
    installation
}

/// Waits for the job's failure, stops the server, and says that there is one node and one job, and what was traced.
fn failed(server: Server, trace: &Trace, job: &str, code: &str) -> Traced {
    let client = server.client();
    let ended = client.end_of(job, SOON);
    assert_eq!(
        (&ended["status"], &ended["error_code"]),
        (&json!("failed"), &json!(code)),
        "{ended:#}"
    );
    let count = |path: &str| client.get(path)["items"].as_array().unwrap().len();
    assert_eq!(
        count("/api/nodes?include_decommissioned=true"),
        1,
        "{code}: a second node appeared"
    );
    assert_eq!(count("/api/jobs"), 1, "{code}: a second job appeared");
    assert_eq!(client.get("/api/nodes")["items"][0]["status"], "failed");
    server.stop();
    trace.read()
}

fn texts(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Everything that was executed is among `allowed`, and everything of `needed` was: otherwise the trace saw nothing.
fn only_ran(traced: &Traced, needed: &[&str], allowed: &[&str]) {
    let ran = traced.programs();
    let known = texts(&[&["pressluft"], needed, allowed].concat());
    let unknown: Vec<_> = ran.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?} in {:#?}", traced.executed());
    assert!(texts(needed).is_subset(&ran), "{ran:?} lacks some of {needed:?}");
}

fn remote_job(client: &Client, machine: &RealMachine, port: u16) -> String {
    let host = json!({"hostname": machine.address.to_string(), "ssh_user": USER, "ssh_port": port});
    client.create_remote_node(host).1
}

/// A connection went to the machine's port, and none to any other address.
fn only_reached(traced: &Traced, address: &str, port: u16) {
    let reached: BTreeSet<_> = traced
        .addresses()
        .into_iter()
        .filter(|(_, port)| !ASKS_ONLY.contains(port))
        .collect();
    assert_eq!(reached, BTreeSet::from([(address.to_owned(), port)]));
}

/// Ports of datagram sockets that are connected without traffic, to ask the kernel which address would be the source.
const ASKS_ONLY: &[u16] = &[0, 9];

#[test]
fn a_remote_node_that_fails_touches_its_own_host_and_nothing_else() {
    let installation = Installation::new();
    let machine = RealMachine::start(&installation.scratch().join("host"), USER);

    // Refused by its form: no node, no job, nothing executed, nothing connected to.
    let (server, trace) = installation.start_traced();
    let client = server.client();
    for body in [
        json!({"acquisition_source": "remote", "hostname": "127.0.0.1", "ssh_user": USER}),
        json!({"acquisition_source": "remote", "hostname": "a b", "ssh_user": USER}),
        json!({"acquisition_source": "remote", "ssh_user": USER}),
        json!({"acquisition_source": "remote", "hostname": machine.address.to_string(), "ssh_user": USER, "ssh_port": 0}),
    ] {
        let refused = client.send("POST", "/api/nodes", Some(body));
        assert_eq!((refused.status, &refused.body["code"]), (400, &json!("bad_request")));
    }
    assert_eq!(client.get("/api/nodes?include_decommissioned=true")["items"], json!([]));
    assert_eq!(client.get("/api/jobs")["items"], json!([]));
    server.stop();
    let traced = trace.read();
    only_ran(&traced, &[], &[]);
    assert_eq!(traced.addresses(), BTreeSet::new());

    // Nobody listens there.
    let (server, trace) = installation.start_traced();
    let job = remote_job(&server.client(), &machine, 2222);
    let traced = failed(server, &trace, &job, "REMOTE_HOST_UNREACHABLE");
    only_ran(&traced, &[], &["ssh", "ssh-keyscan"]);
    only_reached(&traced, &machine.address.to_string(), 2222);

    // It takes no key.
    let installation = Installation::new().with("REMOTE_KEY_WAIT", "1s");
    let (server, trace) = installation.start_traced();
    let job = remote_job(&server.client(), &machine, 22);
    let traced = failed(server, &trace, &job, "SSH_AUTH_REJECTED");
    only_ran(&traced, &["ssh", "ssh-keyscan"], SSH);
    only_reached(&traced, &machine.address.to_string(), 22);

    // Provisioning fails on it.
    let installation = failing_playbook(Installation::new());
    let (server, trace) = installation.start_traced();
    let client = server.client();
    let key = client.get("/api/ssh-key")["public_key"].as_str().unwrap().to_owned();
    machine.set_authorized_keys(&format!("{key}\n"));
    let job = remote_job(&client, &machine, 22);
    let traced = failed(server, &trace, &job, "ANSIBLE_HOST_FAILED");
    only_ran(&traced, &["ssh", "ssh-keyscan", "ansible-playbook"], ANSIBLE);
    only_reached(&traced, &machine.address.to_string(), 22);
}

/// `env` starts `ssh` without this process's variables.
const SSH: &[&str] = &["env"];

/// What a run of Ansible executes here beside itself and `ssh`: Python asks `ldconfig` where a library is.
const ANSIBLE: &[&str] = &["env", "ldconfig"];

fn multipass(installation: Installation) -> (Installation, StandIn) {
    let stand_in = StandIn::new(&installation.scratch().join("multipass"));
    (installation.with_multipass(stand_in.program()), stand_in)
}

#[test]
fn a_local_node_that_fails_before_it_has_a_machine_runs_multipass_and_nothing_else() {
    // Not installed.
    let installation = Installation::new().with("LOCAL_PROVIDER", "multipass");
    let installation = installation.with("MULTIPASS_PROGRAM", "/nonexistent/multipass");
    let (server, trace) = installation.start_traced();
    let (_, job) = server.client().create_local_node();
    let traced = failed(server, &trace, &job, "LOCAL_PROVIDER_UNAVAILABLE");
    only_ran(&traced, &[], &[]);
    assert_eq!(traced.addresses(), BTreeSet::new());

    // The launch fails.
    let (installation, stand_in) = multipass(Installation::new());
    stand_in.set(|settings| settings.kvm = false);
    let (server, trace) = installation.start_traced();
    let (_, job) = server.client().create_local_node();
    let traced = failed(server, &trace, &job, "LOCAL_PROVIDER_UNAVAILABLE").without("multipass");
    only_ran(&traced, &[], &[]);
    assert_eq!(traced.addresses(), BTreeSet::new());
    assert_eq!(stand_in.calls_of("launch").len(), 1);
    assert!(stand_in.instances().is_empty());
}

/// A node whose machine was launched by a server that was killed at `point`; its job and the machine's address.
fn launched(installation: &Installation, stand_in: &StandIn, point: &str) -> (String, String) {
    let (server, held) = installation.start_held_at(point);
    let (node, job) = server.client().create_local_node();
    eventually(&format!("the hold at {point}"), SOON, || held.exists().then_some(()));
    server.kill();
    let instance = format!("pressluft-{}", &node[node.len() - 12..]);
    (job, stand_in.address(&instance).expect("a machine"))
}

#[test]
fn a_local_node_that_fails_on_its_machine_runs_multipass_and_reaches_that_machine_alone() {
    // The key cannot be put on it.
    let (installation, stand_in) = multipass(Installation::new().with("RETRY_DELAYS", ""));
    let (job, address) = launched(&installation, &stand_in, "inject_key.started");
    stand_in.push(Fault::on("exec").fails(70, "no space left on device"));
    let (server, trace) = installation.start_traced();
    let traced = failed(server, &trace, &job, "SSH_KEY_INJECTION_FAILED").without("multipass");
    only_ran(&traced, &[], &[]);
    let others: Vec<_> = traced
        .addresses()
        .into_iter()
        .filter(|(to, _)| *to != address)
        .collect();
    assert_eq!(others, []);
    assert_eq!(stand_in.instances().len(), 1);

    // Provisioning fails on it.
    let (installation, stand_in) = multipass(failing_playbook(Installation::new()));
    let (job, address) = launched(&installation, &stand_in, "provision.started");
    let (server, trace) = installation.start_traced();
    let traced = failed(server, &trace, &job, "ANSIBLE_HOST_FAILED").without("multipass");
    only_ran(&traced, &["ssh", "ansible-playbook"], ANSIBLE);
    only_reached(&traced, &address, 22);
    assert_eq!(stand_in.instances().len(), 1);
}
