//! The course of a run, with prepared answers instead of processes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{JobErrorCode, NodeId, StopReason};
use jobs::{EventKind, NewEvent, StepError};
use nodes_domain::{NodeProvisioner, ProvisionSummary, RemoteCommand, RemoteOutput, SshError};
use process_exec::fake::ScriptedRunner;
use process_exec::{CommandSpec, Ended, ExecError, Output};
use tempfile::TempDir;
use test_support::{ManualClock, step_context};

use support::{ScriptedSsh, ansible_runner, repository, target};

const GOOD_RUN: &str = r#"{"event":"play_start","name":"Provision the node"}
{"event":"task_start","task":"Run nginx","role":"nginx","handler":false}
{"event":"task_ok","task":"Run nginx","role":"nginx","host":"n","duration_ms":12,"changed":true}
{"event":"task_start","task":"Prove","role":null,"handler":false}
{"event":"task_ok","task":"Prove","role":null,"host":"n","duration_ms":3,"changed":false}
this is no event
{"event":"stats","hosts":{"n":{"ok":2,"changed":1,"failed":0,"unreachable":0}}}
"#;

struct Run {
    result: Result<ProvisionSummary, StepError>,
    /// What was started on this host.
    commands: Vec<CommandSpec>,
    /// What was run on the machine.
    remote: Vec<RemoteCommand>,
    events: Vec<NewEvent>,
    data: TempDir,
}

type Answer = Result<RemoteOutput, SshError>;

async fn run(answers: impl IntoIterator<Item = Answer>, runner: ScriptedRunner) -> Run {
    let data = tempfile::tempdir().unwrap();
    let runner = Arc::new(runner);
    let ssh = Arc::new(ScriptedSsh::new(data.path(), answers));
    let ansible_dir = repository().join("ansible");
    let ansible = ansible_runner(runner.clone(), ssh.clone(), data.path(), ansible_dir);
    let clock = Arc::new(ManualClock::new());
    let (context, _cancel, progress) = step_context("provision", Duration::from_secs(60), clock);
    let result = ansible.provision(NodeId::generate(), &target("ops"), &context).await;
    Run {
        result,
        commands: runner.commands(),
        remote: ssh.commands(),
        events: progress.events(),
        data,
    }
}

/// Nothing is left on the machine.
fn clean() -> Answer {
    exit(0, "")
}

fn exit(status: i32, stdout: &str) -> Answer {
    Ok(RemoteOutput {
        exit_status: Some(status),
        stdout: stdout.into(),
        stderr: String::new(),
    })
}

fn code(result: &Result<ProvisionSummary, StepError>) -> JobErrorCode {
    match result {
        Err(StepError::Failed(failure)) => failure.code,
        other => panic!("no failure: {other:?}"),
    }
}

fn text(command: &CommandSpec) -> String {
    let words = std::iter::once(&command.program).chain(&command.args);
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn tasks_become_events_and_the_counts_are_the_result() {
    let run = run([clean()], ScriptedRunner::new().answer(0, GOOD_RUN, "a warning\n")).await;
    assert_eq!(run.result.unwrap(), ProvisionSummary { ok: 2, changed: 1 });
    let tasks: Vec<_> = run
        .events
        .iter()
        .filter(|event| event.kind == EventKind::Task)
        .collect();
    let told: Vec<_> = tasks
        .iter()
        .map(|event| {
            (
                event.data["name"].as_str().unwrap(),
                event.data["status"].as_str().unwrap(),
            )
        })
        .collect();
    let nginx = "nginx: Run nginx";
    let expected = [
        (nginx, "started"),
        (nginx, "changed"),
        ("Prove", "started"),
        ("Prove", "ok"),
    ];
    assert_eq!(told, expected);
    assert_eq!(tasks[1].data["duration_ms"], 12);
    let lines: Vec<_> = run.events.iter().filter(|event| event.kind == EventKind::Log).collect();
    let streams: Vec<_> = lines
        .iter()
        .map(|event| (&event.data["stream"], &event.data["line"]))
        .collect();
    assert!(
        streams.contains(&(&"stdout".into(), &"this is no event".into())),
        "{streams:?}"
    );
    assert!(
        streams.contains(&(&"stderr".into(), &"a warning".into())),
        "{streams:?}"
    );
}

#[tokio::test]
async fn ansible_gets_its_inventory_and_variables_from_a_private_folder_that_is_gone_afterwards() {
    let run = run([clean()], ScriptedRunner::new().answer(0, GOOD_RUN, "")).await;
    let ansible = &run.commands[0];
    let folder = ansible.directory.to_string_lossy().into_owned();
    assert!(
        folder.starts_with(&*run.data.path().join("run/ansible/run-").to_string_lossy()),
        "{folder}"
    );
    assert!(!ansible.directory.exists());
    let words = text(ansible);
    assert!(
        words.contains(&format!(
            "--inventory {folder}/inventory.yml --extra-vars @{folder}/variables.json"
        )),
        "{words}"
    );
    assert!(words.ends_with("/ansible/playbooks/node-provision.yml"), "{words}");
    let variable = |name: &str| ansible.env[std::ffi::OsStr::new(name)].to_string_lossy().into_owned();
    assert!(variable("ANSIBLE_CONFIG").ends_with("/ansible/ansible.cfg"));
    let start = format!("{}/sitecustomize.py", variable("PYTHONPATH"));
    assert!(Path::new(&start).is_file(), "{start}");
    for name in ["HOME", "ANSIBLE_HOME", "ANSIBLE_LOCAL_TEMP"] {
        assert!(variable(name).starts_with(&folder), "{name}");
    }
}

#[tokio::test]
async fn what_earlier_runs_left_on_the_machine_is_ended_before_ansible_starts() {
    let run = run([clean()], ScriptedRunner::new().answer(0, GOOD_RUN, "")).await;
    assert!(run.remote[0].script.contains("sh -s other "), "{:?}", run.remote[0]);
    assert!(!run.remote[0].new_login, "the connection that the job has is used");
    assert_eq!(run.remote.len(), 1, "a run that ended by itself has nothing to end");
    assert_eq!(run.commands.len(), 1);
}

#[tokio::test]
async fn ansible_does_not_start_beside_processes_that_cannot_be_ended() {
    let run = run([exit(3, "17 23\n")], ScriptedRunner::new()).await;
    assert_eq!(code(&run.result), JobErrorCode::AnsibleHostFailed);
    assert!(run.commands.is_empty());
}

#[tokio::test]
async fn a_machine_that_cannot_be_asked_is_left_to_ansible_to_tell() {
    let run = run([Err(SshError::Refused)], ScriptedRunner::new().answer(0, GOOD_RUN, "")).await;
    assert!(run.result.is_ok());
}

#[tokio::test]
async fn a_stopped_run_is_ended_on_the_machine_too() {
    for reason in [StopReason::Cancelled, StopReason::Shutdown, StopReason::LeaseLost] {
        let program = "ansible-playbook".to_owned();
        let script = ScriptedRunner::new().result(Err(ExecError::Stopped { program, reason }));
        let run = run([clean(), clean()], script).await;
        assert!(matches!(run.result, Err(StepError::Stopped(told)) if told == reason));
        assert!(run.remote[1].script.contains("sh -s own "), "{:?}", run.remote[1]);
        assert!(run.remote[1].new_login, "a shared connection may be full or dead");
        let mark = |command: &RemoteCommand| command.script.rsplit(' ').nth(1).map(str::to_owned);
        assert_eq!(mark(&run.remote[0]), mark(&run.remote[1]), "one run has one mark");
    }
}

#[tokio::test]
async fn what_is_left_after_a_cancel_is_recorded() {
    let stopped = ExecError::Stopped {
        program: "ansible-playbook".into(),
        reason: StopReason::Cancelled,
    };
    let run = run([clean(), exit(3, "4711\n")], ScriptedRunner::new().result(Err(stopped))).await;
    let last = run.events.last().unwrap().data["line"].as_str().unwrap().to_owned();
    assert!(last.contains("4711"), "{last}");
}

#[tokio::test]
async fn a_run_past_its_limit_is_a_timeout_and_ended_on_the_machine() {
    let output = Output {
        ended: Ended::Signal(15),
        stdout: GOOD_RUN.into(),
        stderr: Vec::new(),
    };
    let program = "ansible-playbook".to_owned();
    let script = ScriptedRunner::new().result(Err(ExecError::TimedOut { program, output }));
    let run = run([clean(), clean()], script).await;
    assert_eq!(code(&run.result), JobErrorCode::AnsibleTimeout);
    assert!(run.remote[1].script.contains("sh -s own "));
}

#[tokio::test]
async fn a_missing_virtual_environment_is_a_play_error() {
    let run = run([clean()], ScriptedRunner::new()).await;
    assert_eq!(code(&run.result), JobErrorCode::AnsiblePlayError);
    assert_eq!(run.remote.len(), 1, "nothing was started that would have to be ended");
}

#[tokio::test]
async fn processes_that_cannot_be_ended_here_are_told() {
    let unkillable = ExecError::Unkillable {
        program: "ansible-playbook".into(),
        pids: vec![99],
    };
    let run = run([clean(), clean()], ScriptedRunner::new().result(Err(unkillable))).await;
    assert_eq!(code(&run.result), JobErrorCode::Internal);
    assert!(run.result.unwrap_err().to_string().contains("99"));
}
