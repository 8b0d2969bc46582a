//! The real `ansible-playbook` of the repository's virtual environment (`scripts/setup` makes it), where no machine is
//! needed.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain_kernel::{JobErrorCode, NodeId, StopReason};
use jobs::{EventKind, NewEvent, StepError};
use nodes_domain::{NodeProvisioner, ProvisionSummary};
use process_exec::SystemRunner;
use test_support::{RealClock, step_context};

use support::{ScriptedSsh, ansible_runner, repository, target};

/// A folder `ansible` that is the repository's own but for the playbook.
fn ansible_dir_with(playbook: &str, folder: &Path) -> std::path::PathBuf {
    let dir = folder.join("ansible");
    fs::create_dir_all(dir.join("playbooks")).unwrap();
    fs::write(dir.join("playbooks/node-provision.yml"), playbook).unwrap();
    fs::copy(repository().join("ansible/ansible.cfg"), dir.join("ansible.cfg")).unwrap();
    for name in [
        "callback_plugins",
        "image-secrets.txt",
        "library",
        "module_utils",
        "roles",
        "tasks",
        "vars",
    ] {
        symlink(repository().join("ansible").join(name), dir.join(name)).unwrap();
    }
    dir
}

async fn run(playbook: Option<&str>) -> (Result<ProvisionSummary, StepError>, Vec<NewEvent>) {
    assert!(
        repository().join(".venv/bin/ansible-playbook").exists(),
        "run scripts/setup first"
    );
    let data = tempfile::tempdir().unwrap();
    let ansible_dir = match playbook {
        Some(playbook) => ansible_dir_with(playbook, data.path()),
        None => repository().join("ansible"),
    };
    let runner = Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)));
    let ssh = Arc::new(ScriptedSsh::new(data.path(), []));
    let ansible = ansible_runner(runner, ssh, data.path(), ansible_dir);
    let (context, _cancel, progress) = step_context("provision", Duration::from_secs(60), Arc::new(RealClock));
    let result = ansible.provision(NodeId::generate(), &target("ops"), &context).await;
    let left = fs::read_dir(data.path().join("run/ansible")).unwrap().count();
    assert_eq!(left, 0, "folders of runs are left");
    (result, progress.events())
}

fn code(result: Result<ProvisionSummary, StepError>) -> JobErrorCode {
    match result {
        Err(StepError::Failed(failure)) => failure.code,
        other => panic!("no failure: {other:?}"),
    }
}

#[tokio::test]
async fn the_product_playbook_tells_an_unreachable_machine() {
    let (result, events) = run(None).await;
    let unreachable = events
        .iter()
        .find(|event| event.kind == EventKind::Task && event.data["status"] == "unreachable");
    let task = &unreachable.unwrap_or_else(|| panic!("{events:?}")).data;
    assert_eq!(task["name"], "See whether the node is up to date");
    assert!(task["message"].as_str().unwrap().contains("refused"), "{task}");
    assert_eq!(code(result), JobErrorCode::AnsibleHostUnreachable);
}

#[tokio::test]
async fn a_playbook_that_cannot_be_read_is_a_syntax_error() {
    let (result, events) = run(Some("- hosts: [")).await;
    assert_eq!(code(result), JobErrorCode::AnsibleSyntaxError);
    let told = events.iter().any(|event| event.data["stream"] == "stderr");
    assert!(told, "the job's log says why: {events:?}");
}

#[tokio::test]
async fn a_play_that_cannot_start_is_a_play_error() {
    let play = "- {hosts: all, gather_facts: false, vars_files: [missing.yml], tasks: []}";
    assert_eq!(code(run(Some(play)).await.0), JobErrorCode::AnsiblePlayError);
}

#[tokio::test]
async fn a_failing_task_is_a_failed_host_with_the_message_of_the_task() {
    let play = "- {hosts: all, gather_facts: false, connection: local, vars: {ansible_remote_tmp: \"{{ playbook_dir }}/tmp\"}, tasks: [{name: Refuse, ansible.builtin.fail: {msg: It is refused.}}]}";
    let (result, _) = run(Some(play)).await;
    let Err(StepError::Failed(failure)) = result else {
        panic!("no failure")
    };
    assert_eq!(failure.code, JobErrorCode::AnsibleHostFailed);
    assert_eq!(failure.detail, "Task `Refuse`: It is refused.");
}

#[tokio::test]
async fn a_play_is_given_the_key_and_the_secrets_of_the_runtime() {
    let play = "- {hosts: all, gather_facts: false, connection: local, tasks: [{name: Compare, ansible.builtin.assert: {that: [\"pressluft_runtime_key is match('^[0-9a-f]{64}$')\", \"'/etc/pressluft' in pressluft_runtime_secrets\"]}}]}";
    let (result, _) = run(Some(play)).await;
    assert_eq!(result.unwrap(), ProvisionSummary { ok: 1, changed: 0 });
}

#[tokio::test]
async fn a_play_that_leaves_its_machine_early_has_succeeded() {
    let play = "- {hosts: all, gather_facts: false, connection: local, tasks: [{name: See, ansible.builtin.debug: {msg: fine}}, {name: Leave, ansible.builtin.meta: end_host}, {name: Refuse, ansible.builtin.fail: {msg: no}}]}";
    let (result, events) = run(Some(play)).await;
    assert_eq!(result.unwrap(), ProvisionSummary { ok: 1, changed: 0 });
    let tasks = events.iter().filter(|event| event.kind == EventKind::Task);
    let told: Vec<_> = tasks.map(|event| event.data["name"].as_str().unwrap()).collect();
    assert_eq!(told, ["See", "See"], "started and ended; the rest is not told");
}

#[tokio::test]
async fn a_playbook_for_other_machines_has_not_succeeded() {
    let play = "- {hosts: others, gather_facts: false, tasks: []}";
    assert_eq!(code(run(Some(play)).await.0), JobErrorCode::AnsiblePlayError);
}

#[tokio::test]
async fn cancel_ends_ansible_and_its_workers_within_ten_seconds() {
    let seconds = format!("86{}", std::process::id());
    let play = format!(
        "- {{hosts: all, gather_facts: false, connection: local, vars: {{ansible_remote_tmp: \"{{{{ playbook_dir }}}}/tmp\"}}, tasks: [{{name: Sleep, ansible.builtin.command: sleep {seconds}}}]}}"
    );
    let data = tempfile::tempdir().unwrap();
    let ansible_dir = ansible_dir_with(&play, data.path());
    let runner = Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)));
    let ssh = Arc::new(ScriptedSsh::new(data.path(), []));
    let ansible = ansible_runner(runner, ssh.clone(), data.path(), ansible_dir);
    let (context, cancel, _progress) = step_context("provision", Duration::from_secs(60), Arc::new(RealClock));
    let node_target = target("ops");
    let provision = ansible.provision(NodeId::generate(), &node_target, &context);
    let stop = async {
        while !runs("sleep", &seconds) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel(StopReason::Cancelled);
        Instant::now()
    };
    let (result, stopped_at) = tokio::join!(provision, stop);
    assert!(
        matches!(result, Err(StepError::Stopped(StopReason::Cancelled))),
        "{result:?}"
    );
    assert!(
        stopped_at.elapsed() < Duration::from_secs(10),
        "{:?}",
        stopped_at.elapsed()
    );
    assert!(!runs("sleep", &seconds));
    let asked = ssh.commands();
    assert!(asked.last().unwrap().script.contains("sh -s own "), "{asked:?}");
    assert!(!runs("ansible-playbook", &data.path().to_string_lossy()));
}

/// Whether a process with both words in its command line is there.
fn runs(program: &str, argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap();
    processes.flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        // The shell module's own command line holds both words as well and ends with its child.
        line.split('\0').any(|word| word.ends_with(program)) && line.contains(argument)
    })
}
