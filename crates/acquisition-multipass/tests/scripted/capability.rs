//! Whether this host can have Multipass machines, and what is seen of one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use acquisition_multipass::{MultipassConfig, MultipassProvider};
use domain_kernel::JobErrorCode;
use jobs::StepError;
use nodes_domain::{AcquisitionSource, Capability, NodeProvider, Observation, Unavailable};
use process_exec::ExecError;
use process_exec::fake::ScriptedRunner;
use test_support::{ManualClock, step_context};

use crate::stage::Stage;

async fn capability(runner: ScriptedRunner, config: MultipassConfig) -> Result<Capability, StepError> {
    let provider = MultipassProvider::new(config, Arc::new(runner));
    assert_eq!(provider.id().as_str(), "multipass");
    assert_eq!(provider.source(), AcquisitionSource::Local);
    let context = step_context("acquire", Duration::from_secs(60), Arc::new(ManualClock::new())).0;
    provider.capability(&context).await
}

async fn missing(runner: ScriptedRunner) -> Unavailable {
    match capability(runner, MultipassConfig::default()).await {
        Ok(Capability::Unavailable(missing)) => missing,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn a_multipass_whose_daemon_answers_is_available_after_one_command() {
    let stage = Stage::new().answer(0, r#"{"multipassd":"1.16.3+mac","multipass":"1.16.3","zone":[]}"#, "");
    let (answer, run) = stage
        .play(async |provider, _, context| provider.capability(context).await)
        .await;
    assert_eq!(answer.unwrap(), Capability::Available);
    assert_eq!(run.commands, ["version --format json"]);
}

#[tokio::test]
async fn a_daemon_out_of_reach_may_come_back() {
    let late = ExecError::TimedOut {
        program: "multipass".to_owned(),
        output: process_exec::Output {
            ended: process_exec::Ended::Signal(15),
            stdout: Vec::new(),
            stderr: Vec::new(),
        },
    };
    for runner in [
        ScriptedRunner::new().answer(0, r#"{"multipass":"1.16.3"}"#, "").answer(
            2,
            "",
            "list failed: cannot connect to the multipass socket\n",
        ),
        ScriptedRunner::new().answer(2, "", "version failed: cannot connect to the multipass socket\n"),
        ScriptedRunner::new().answer(3, "", ""),
        ScriptedRunner::new()
            .answer(0, r#"{"multipass":"1.16.3"}"#, "")
            .answer(0, r#"{"list":["#, ""),
        ScriptedRunner::new().result(Err(late)),
    ] {
        let found = missing(runner).await;
        assert_eq!(found.code, JobErrorCode::LocalProviderNotResponding);
        assert!(
            found.code.retryable() && found.remedy.contains("snap start multipass"),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn every_other_answer_says_what_is_missing_and_what_to_do() {
    use JobErrorCode::{LocalProviderDenied as Denied, LocalProviderUnavailable as Missing};
    let answer = |status, stdout: &str, stderr: &str| ScriptedRunner::new().answer(status, stdout, stderr);
    let denied = "*** Warning! ***\nversion failed: multipass socket access denied\nPlease check your access\n";
    let login = "version failed: The client is not authenticated with the Multipass service.\n";
    let refused = ExecError::System {
        program: "multipass".to_owned(),
        source: std::io::Error::from_raw_os_error(13),
    };
    for (runner, code, reason, remedy) in [
        (
            ScriptedRunner::new(),
            Missing,
            "is not installed",
            "sudo snap install multipass",
        ),
        (
            ScriptedRunner::new(),
            Missing,
            "is not installed",
            "PRESSLUFT_LOCAL_PROVIDER=nspawn",
        ),
        (
            answer(0, r#"{"multipass":"1.16.3"}"#, "").answer(2, "", "list failed: multipass socket access denied\n"),
            Denied,
            "closed to the user",
            "sudo usermod -aG",
        ),
        (answer(2, "", denied), Denied, "closed to the user", "sudo usermod -aG"),
        (
            answer(2, "", login),
            Denied,
            "not authenticated",
            "multipass authenticate",
        ),
        (
            answer(1, "", "Caught an unhandled exception: x"),
            Missing,
            "never been started",
            "sudo snap start multipass",
        ),
        (
            answer(1, "", "anything"),
            Missing,
            "never been started",
            "PRESSLUFT_LOCAL_PROVIDER=nspawn",
        ),
        (
            answer(0, "multipass  1.16.3\n", ""),
            Missing,
            "something else",
            "PRESSLUFT_LOCAL_PROVIDER=nspawn",
        ),
        (answer(0, r#"{"multipass":7}"#, ""), Missing, "something else", "nspawn"),
        (answer(2, "", "version failed: else"), Missing, "status 2", "nspawn"),
        (
            ScriptedRunner::new().result(Err(refused)),
            Missing,
            "Permission denied",
            "nspawn",
        ),
    ] {
        let found = missing(runner).await;
        assert_eq!(found.code, code, "{found:?}");
        assert!(found.reason.contains(reason), "{found:?} / {reason}");
        assert!(found.remedy.contains(remedy), "{found:?} / {remedy}");
    }
}

#[tokio::test]
async fn a_client_that_fails_by_itself_is_unavailable_to_an_acquire_too() {
    for said in ["Caught an unhandled exception: x", "no root certificate"] {
        let stage = Stage::new().answer(1, "", said);
        stage.refused(JobErrorCode::LocalProviderUnavailable).await;
    }
}

#[tokio::test]
async fn a_setting_that_no_command_could_carry_is_named() {
    let config = MultipassConfig {
        image: String::new(),
        ..MultipassConfig::default()
    };
    let Ok(Capability::Unavailable(found)) = capability(ScriptedRunner::new(), config).await else {
        panic!("not unavailable");
    };
    assert_eq!(found.code, JobErrorCode::LocalConfigInvalid);
    assert!(
        found.reason.starts_with("the image of Multipass machines"),
        "{}",
        found.reason
    );
}

#[tokio::test]
async fn a_machine_is_seen_as_the_list_has_it() {
    async fn seen(stage: Stage) -> Observation {
        let (answer, run) = stage
            .play(async |provider, instance, context| provider.observe(instance, context).await)
            .await;
        assert_eq!(run.commands.len(), 1);
        answer.unwrap()
    }
    let addresses = vec![
        IpAddr::V4(Ipv4Addr::new(10, 9, 8, 7)),
        IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1)),
    ];
    assert_eq!(seen(Stage::new().absent()).await, Observation::Absent);
    for state in ["Running", "Delayed Shutdown"] {
        let stage = Stage::new().listed(state, &["10.9.8.7", "N/A", "172.17.0.1"]);
        assert_eq!(seen(stage).await, Observation::Running(addresses.clone()));
    }
    for state in ["Stopped", "Suspended"] {
        assert_eq!(seen(Stage::new().listed(state, &[])).await, Observation::Stopped);
    }
    for stage in [
        Stage::new().listed("Starting", &[]),
        Stage::new().listed("Restarting", &[]),
        Stage::new().listed("Suspending", &[]),
        Stage::new().listed("Deleted", &[]),
        Stage::new().listed("Unknown", &[]),
        Stage::new().listed("Hibernating", &[]),
        Stage::new().down("list"),
        Stage::new().hangs(),
        Stage::new().answer(0, "", ""),
        Stage::new().answer(0, r#"{"list":[{}]}"#, ""),
        Stage::new().answer(2, "", "list failed: multipass socket access denied"),
    ] {
        let answer = seen(stage).await;
        assert!(
            matches!(&answer, Observation::Unknown(why) if !why.is_empty()),
            "{answer:?}"
        );
    }
}
