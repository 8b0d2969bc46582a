//! What the provider answers, and that it starts nothing but `multipass version`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking, in its helpers too"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use acquisition_multipass::MultipassProvider;
use domain_kernel::{JobErrorCode, NodeId, StopReason};
use jobs::{StepContext, StepError};
use nodes_domain::{AcquireRequest, AcquisitionSource, Capability, Instance, NodeProvider, Unavailable};
use process_exec::fake::ScriptedRunner;
use process_exec::{CommandSpec, Ended, ExecError, Output};
use test_support::{ManualClock, step_context};

const SENTENCE: &str = "this version of Pressluft cannot make Multipass machines yet";

fn context() -> StepContext {
    step_context("acquire", Duration::from_secs(60), Arc::new(ManualClock::new())).0
}

fn provider(runner: ScriptedRunner) -> (MultipassProvider, Arc<ScriptedRunner>) {
    let runner = Arc::new(runner);
    (MultipassProvider::new(runner.clone()), runner)
}

async fn unavailable(runner: ScriptedRunner) -> Unavailable {
    let (provider, runner) = provider(runner);
    let answer = provider.capability(&context()).await.unwrap();
    assert_eq!(runner.commands(), [version()]);
    match answer {
        Capability::Unavailable(unavailable) => unavailable,
        Capability::Available => panic!("it cannot make machines"),
    }
}

fn version() -> CommandSpec {
    CommandSpec {
        program: "multipass".into(),
        args: ["version", "--format", "json"].map(OsString::from).to_vec(),
        env: [("LC_ALL".into(), "C".into())].into(),
        directory: PathBuf::from("/"),
        stdin: Vec::new(),
    }
}

#[tokio::test]
async fn a_host_without_multipass_is_told_how_to_get_it_and_what_to_use_instead() {
    let found = unavailable(ScriptedRunner::new()).await;
    assert_eq!(found.code, JobErrorCode::LocalProviderUnavailable);
    assert!(
        found.reason.starts_with("`multipass` is not installed ("),
        "{}",
        found.reason
    );
    assert!(
        found
            .remedy
            .starts_with("install it with `sudo snap install multipass`")
    );
    assert!(found.remedy.contains("PRESSLUFT_LOCAL_PROVIDER=nspawn"));
}

#[tokio::test]
async fn a_host_with_multipass_is_told_that_this_version_cannot_use_it() {
    let json = r#"{"multipass":"1.16.3","multipassd":"1.16.3"}"#;
    let found = unavailable(ScriptedRunner::new().answer(0, json, "")).await;
    assert_eq!(found.code, JobErrorCode::LocalProviderUnavailable);
    assert!(found.reason.ends_with(SENTENCE), "{}", found.reason);
}

#[tokio::test]
async fn a_multipass_that_never_answers_is_unavailable_after_ten_seconds() {
    let output = Output {
        ended: Ended::Signal(15),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    let late = ExecError::TimedOut {
        program: "multipass".to_owned(),
        output,
    };
    let found = unavailable(ScriptedRunner::new().result(Err(late))).await;
    assert!(found.reason.contains("did not answer within 10 s"), "{}", found.reason);
}

#[tokio::test]
async fn a_multipass_that_cannot_be_executed_is_unavailable_with_the_systems_reason() {
    let refused = ExecError::System {
        program: "multipass".to_owned(),
        source: std::io::Error::from_raw_os_error(13),
    };
    let found = unavailable(ScriptedRunner::new().result(Err(refused))).await;
    assert!(found.reason.contains("Permission denied"), "{}", found.reason);
}

#[tokio::test]
async fn a_cancelled_step_is_stopped_and_starts_nothing() {
    let (provider, runner) = provider(ScriptedRunner::new());
    let (context, cancel, _) = step_context("acquire", Duration::from_secs(60), Arc::new(ManualClock::new()));
    cancel.cancel(StopReason::Cancelled);
    let answer = provider.capability(&context).await;
    assert!(
        matches!(answer, Err(StepError::Stopped(StopReason::Cancelled))),
        "{answer:?}"
    );
    assert_eq!(runner.commands(), []);
}

#[tokio::test]
async fn nothing_else_is_done_or_started() {
    let (provider, runner) = provider(ScriptedRunner::new());
    let instance = Instance::of(NodeId::generate());
    let request = AcquireRequest {
        instance: instance.clone(),
        public_key: "ssh-ed25519 AAAA pressluft".to_owned(),
        runtime: None,
    };
    let refusals = [
        provider.acquire(&request, &context()).await.map(drop),
        provider.inject_key(&instance, &request.public_key, &context()).await,
        provider.observe(&instance, &context()).await.map(drop),
    ];
    for refusal in refusals {
        let Err(StepError::Failed(failure)) = refusal else {
            panic!("not refused: {refusal:?}");
        };
        assert_eq!(failure.code, JobErrorCode::LocalProviderUnavailable);
        assert_eq!(failure.detail, SENTENCE);
    }
    assert_eq!(runner.commands(), []);
    assert_eq!(provider.id().as_str(), "multipass");
    assert_eq!(provider.source(), AcquisitionSource::Local);
}

#[tokio::test]
async fn a_node_whose_acquisition_failed_can_be_released_and_nothing_is_claimed_to_be_removed() {
    let (provider, runner) = provider(ScriptedRunner::new());
    let instance = Instance::of(NodeId::generate());
    let report = provider.release(&instance, &context()).await.unwrap();
    let left = report.left_in_place.join("\n");
    assert!(
        left.contains(&format!("multipass delete --purge {}", instance.name())),
        "{left}"
    );
    assert_eq!(runner.commands(), []);
}
