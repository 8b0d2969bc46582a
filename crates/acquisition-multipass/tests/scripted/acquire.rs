//! Making machines and adopting them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use acquisition_multipass::{MultipassConfig, MultipassProvider};
use async_trait::async_trait;
use domain_kernel::{JobErrorCode, Limits, StopReason};
use jobs::StepError;
use nodes_domain::NodeProvider;
use process_exec::fake::ScriptedRunner;
use process_exec::{CommandRunner, CommandSpec, Detached, ExecError, LineHandler, Output};
use test_support::{ManualClock, step_context};

use crate::stage::{Answering, KEY, Stage, failure, host_key, said};

const LAUNCH: &str = "launch 24.04 --name N --cpus 2 -m 2G --disk 20G --timeout 900 --cloud-init -";
const HOST_KEY: &str = "exec -n N -- cat /etc/ssh/ssh_host_ed25519_key.pub";

#[tokio::test]
async fn a_new_machine_is_launched_with_the_key_on_standard_input_and_its_host_key_read() {
    let (acquired, run) = Stage::new().absent().primary().ok().up().acquired().await;
    assert_eq!(
        run.commands,
        ["list", "get client.primary-name", LAUNCH, "list", HOST_KEY]
    );
    assert_eq!(acquired.hostname, "10.9.8.7");
    assert_eq!(acquired.public_ip, Some(IpAddr::V4(Ipv4Addr::new(10, 9, 8, 7))));
    assert_eq!((acquired.ssh_port, acquired.ssh_user.as_str()), (22, "ubuntu"));
    assert_eq!(acquired.host_key.as_str(), host_key());
}

#[tokio::test]
async fn every_command_runs_in_the_root_folder_in_english_and_only_launch_reads_something() {
    let mut stage = Stage::new().absent().primary().ok().up();
    let runner = stage.runner();
    let config = MultipassConfig {
        program: "/opt/multipass".into(),
        env: [("HOME".into(), "/srv".into())].into(),
        ..MultipassConfig::default()
    };
    let probe = Arc::new(Answering(vec![[10, 9, 8, 7].into()]));
    let provider = MultipassProvider::with_probe(config, runner.clone(), probe);
    let context = step_context("acquire", Duration::from_secs(60), Arc::new(ManualClock::new())).0;
    provider.acquire(&stage.request(), &context).await.unwrap();
    let env = BTreeMap::from([("HOME".into(), "/srv".into()), ("LC_ALL".into(), "C".into())]);
    for command in runner.commands() {
        assert_eq!(command.program, "/opt/multipass");
        assert_eq!(command.directory, PathBuf::from("/"));
        assert_eq!(command.env, env);
        let expected = format!("#cloud-config\nssh_authorized_keys:\n  - \"{KEY}\"\n");
        let expected = if command.args[0] == "launch" {
            expected.into_bytes()
        } else {
            Vec::new()
        };
        assert_eq!(command.stdin, expected, "{command:?}");
    }
}

#[tokio::test]
async fn a_machine_that_runs_is_adopted_without_a_launch_or_a_start() {
    let (_, run) = Stage::new().up().acquired().await;
    assert_eq!(run.commands, ["list", HOST_KEY]);
}

#[tokio::test]
async fn a_machine_that_does_not_run_is_started_and_its_address_read_anew() {
    for state in ["Stopped", "Suspended", "Starting", "Restarting", "Delayed Shutdown"] {
        let stage = Stage::new().listed(state, &["10.0.0.1"]).primary().ok().up();
        let (acquired, run) = stage.acquired().await;
        assert_eq!(acquired.hostname, "10.9.8.7");
        assert_eq!(
            run.commands,
            [
                "list",
                "get client.primary-name",
                "start N --timeout 300",
                "list",
                HOST_KEY
            ]
        );
    }
}

#[tokio::test]
async fn a_machine_that_is_being_suspended_is_waited_for_and_started() {
    let stage = Stage::new().listed("Suspending", &[]).listed("Suspending", &[]);
    let (_, run) = stage.listed("Suspended", &[]).primary().ok().up().acquired().await;
    assert_eq!(run.count("start N"), 1);
    assert_eq!(run.waited, Duration::from_secs(2));
}

#[tokio::test]
async fn a_deleted_machine_is_a_conflict_and_is_left_as_it_is() {
    let (detail, run) = Stage::new()
        .listed("Deleted", &[])
        .refused(JobErrorCode::LocalInstanceConflict)
        .await;
    assert_eq!(run.commands, ["list"]);
    assert!(detail.contains("multipass recover pressluft-"), "{detail}");
    assert!(detail.contains("multipass delete --purge pressluft-"), "{detail}");
}

#[tokio::test]
async fn the_first_address_that_answers_is_taken_and_what_is_no_address_is_left_out() {
    let stage = Stage::new()
        .listed("Running", &["N/A", "10.0.0.1", "10.9.8.7"])
        .host_key();
    assert_eq!(stage.acquired().await.0.hostname, "10.9.8.7");
}

#[tokio::test]
async fn an_address_that_comes_late_is_waited_for() {
    let stage = Stage::new()
        .listed("Running", &["N/A"])
        .listed("Running", &[])
        .listed("Running", &["N/A"]);
    let (_, run) = stage.up().acquired().await;
    assert_eq!(run.waited, Duration::from_secs(3));
    assert_eq!(run.count("restart"), 0);
}

#[tokio::test]
async fn a_machine_that_never_has_an_address_is_restarted_once_and_then_said_to_have_none() {
    let many = |stage: Stage| (0..121).fold(stage, |stage, _| stage.listed("Running", &["N/A"]));
    let stage = many(many(Stage::new()).ok());
    let (detail, run) = stage.refused(JobErrorCode::LocalAddressMissing).await;
    assert_eq!(run.count("restart N --timeout 300"), 1);
    assert!(detail.contains("after it was restarted"), "{detail}");
}

#[tokio::test]
async fn a_machine_whose_addresses_never_answer_is_not_restarted_and_timed_out() {
    let stage = (0..121).fold(Stage::new(), |stage, _| {
        stage.listed("Running", &["10.0.0.1", "10.0.0.2"])
    });
    let (detail, run) = stage.refused(JobErrorCode::LocalAcquisitionTimeout).await;
    assert_eq!(run.count("restart"), 0);
    assert!(detail.contains("(10.0.0.1, 10.0.0.2) answers on port 22"), "{detail}");
}

#[tokio::test]
async fn the_name_of_the_primary_machine_is_refused_before_a_launch_and_before_a_start() {
    for begin in [Stage::new().absent(), Stage::new().listed("Stopped", &[])] {
        let name = begin.name();
        let stage = begin.answer(0, &format!("{name}\n"), "");
        let (_, run) = stage.refused(JobErrorCode::LocalInstanceConflict).await;
        assert_eq!(run.commands, ["list", "get client.primary-name"]);
    }
}

#[tokio::test]
async fn a_client_that_does_not_know_the_primary_name_is_taken_for_one_with_the_usual_name() {
    let stage = Stage::new()
        .absent()
        .answer(1, "", "Unrecognized settings key: 'client.primary-name'");
    let (_, run) = stage.ok().up().acquired().await;
    assert!(run.log().contains("Takes `primary`"), "{}", run.log());
}

#[tokio::test]
async fn a_host_whose_kvm_cannot_be_used_is_told_where_to_look() {
    let failed = "launch failed: KVM device cannot be opened";
    let stage = Stage::new().absent().primary().answer(2, "", failed).absent();
    let (detail, _) = stage.refused(JobErrorCode::LocalProviderUnavailable).await;
    assert!(detail.contains("ls -l /dev/kvm"), "{detail}");
}

#[tokio::test]
async fn bad_settings_are_refused_before_any_command() {
    let mut stage = Stage::new();
    let runner = stage.runner();
    let config = MultipassConfig {
        cpus: 0,
        ..MultipassConfig::default()
    };
    let provider = MultipassProvider::new(config, runner.clone());
    let context = step_context("acquire", Duration::from_secs(60), Arc::new(ManualClock::new())).0;
    let answer = provider.acquire(&stage.request(), &context).await;
    let detail = failure(answer, JobErrorCode::LocalConfigInvalid).detail;
    assert_eq!(detail, "the processors of Multipass machines must not be 0.");
    assert_eq!(runner.commands(), []);
}

#[tokio::test]
async fn a_cancelled_step_is_stopped_and_starts_nothing() {
    let mut stage = Stage::new().up();
    let runner = stage.runner();
    let provider = MultipassProvider::new(MultipassConfig::default(), runner.clone());
    let (context, cancel, _) = step_context("acquire", Duration::from_secs(60), Arc::new(ManualClock::new()));
    cancel.cancel(StopReason::Cancelled);
    let answer = provider.acquire(&stage.request(), &context).await;
    assert!(
        matches!(answer, Err(StepError::Stopped(StopReason::Cancelled))),
        "{answer:?}"
    );
    assert_eq!(runner.commands(), []);
}

#[tokio::test]
async fn a_deadline_that_passes_while_a_machine_is_waited_for_ends_the_step() {
    let stage = (0..60).fold(Stage::new(), |stage, _| stage.listed("Running", &[]));
    let request = stage.request();
    let (answer, _) = stage
        .play(async |provider, _, context| {
            provider
                .acquire(&request, &context.within(Duration::from_secs(60)))
                .await
        })
        .await;
    assert!(matches!(answer, Err(StepError::DeadlineExceeded)), "{answer:?}");
}

/// Answers after others had their turn.
struct Slow(Arc<ScriptedRunner>);

#[async_trait]
impl CommandRunner for Slow {
    async fn run(&self, command: CommandSpec, limits: &Limits) -> Result<Output, ExecError> {
        let answer = self.0.run(command, limits).await;
        tokio::task::yield_now().await;
        answer
    }

    async fn stream(&self, _: CommandSpec, _: &Limits, _: &mut dyn LineHandler) -> Result<Output, ExecError> {
        panic!("not used")
    }

    async fn spawn_detached(&self, _: CommandSpec, _: &std::path::Path) -> Result<Detached, ExecError> {
        panic!("not used")
    }
}

#[tokio::test]
async fn two_acquisitions_of_one_machine_at_once_launch_it_once() {
    let mut stage = Stage::new().absent().primary().ok().up().up();
    let runner = stage.runner();
    let probe = Arc::new(Answering(vec![[10, 9, 8, 7].into()]));
    let slow = Arc::new(Slow(runner.clone()));
    let provider = MultipassProvider::with_probe(MultipassConfig::default(), slow, probe);
    let context = step_context("acquire", Duration::from_secs(60), Arc::new(ManualClock::new())).0;
    let request = stage.request();
    let both = async {
        tokio::join!(
            provider.acquire(&request, &context),
            provider.acquire(&request, &context)
        )
    };
    let (one, other) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    assert_eq!(one.unwrap(), other.unwrap());
    let commands = said(&runner, &stage.name());
    assert_eq!(
        commands,
        [
            "list",
            "get client.primary-name",
            LAUNCH,
            "list",
            HOST_KEY,
            "list",
            HOST_KEY
        ]
    );
}
