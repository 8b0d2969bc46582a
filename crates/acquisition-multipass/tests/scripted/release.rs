//! Giving machines back.

use std::time::Duration;

use domain_kernel::{JobErrorCode, StopReason};
use jobs::StepError;
use nodes_domain::{NodeProvider, ReleaseReport};
use process_exec::ExecError;

use crate::stage::{Run, Stage, failure};

async fn release(stage: Stage) -> (Result<ReleaseReport, StepError>, Run) {
    stage
        .play(async |provider, instance, context| provider.release(instance, context).await)
        .await
}

#[tokio::test]
async fn a_machine_in_any_state_is_deleted_by_its_name_alone_and_the_list_asked_again() {
    for state in ["Running", "Stopped", "Deleted", "Unknown"] {
        let (report, run) = release(Stage::new().listed(state, &[]).ok().absent()).await;
        assert_eq!(report.unwrap(), ReleaseReport::default());
        assert_eq!(run.commands, ["list", "delete --purge N", "list"]);
    }
}

#[tokio::test]
async fn an_absent_machine_is_a_success_without_a_command_that_changes_anything() {
    let (report, run) = release(Stage::new().absent()).await;
    assert_eq!(report.unwrap(), ReleaseReport::default());
    assert_eq!(run.commands, ["list"]);
}

#[tokio::test]
async fn a_delete_that_failed_although_the_machine_is_gone_is_a_success() {
    let stage = Stage::new()
        .running()
        .answer(2, "", "delete failed: instance \"x\" does not exist");
    release(stage.absent()).await.0.unwrap();
    release(Stage::new().running().hangs().absent()).await.0.unwrap();
}

#[tokio::test]
async fn a_machine_that_stays_is_named_with_the_command_that_removes_it() {
    for stage in [
        Stage::new().running().answer(2, "", "delete failed: something new"),
        Stage::new().running().ok(),
        Stage::new().running().hangs(),
    ] {
        let (answer, _) = release(stage.listed("Running", &[])).await;
        let detail = failure(answer, JobErrorCode::NodeReleaseFailed).detail;
        assert!(detail.contains("is left: "), "{detail}");
        assert!(detail.contains("`multipass delete --purge pressluft-"), "{detail}");
    }
}

#[tokio::test]
async fn a_daemon_that_cannot_be_asked_is_waited_for_and_then_a_failure_never_a_success() {
    let (report, _) = release(Stage::new().down("list").running().down("delete").ok().absent()).await;
    report.unwrap();
    let stage = (0..12).fold(Stage::new(), |stage, _| stage.down("list"));
    let detail = failure(release(stage).await.0, JobErrorCode::NodeReleaseFailed).detail;
    assert!(detail.contains("may be left"), "{detail}");
    let stage = Stage::new().answer(2, "", "list failed: multipass socket access denied");
    let detail = failure(release(stage).await.0, JobErrorCode::NodeReleaseFailed).detail;
    assert!(detail.contains("sudo usermod"), "{detail}");
}

#[tokio::test]
async fn a_machine_whose_launch_was_ended_halfway_is_waited_for_and_removed() {
    let stopped = || ExecError::Stopped {
        program: "multipass".to_owned(),
        reason: StopReason::Cancelled,
    };
    let acquired_and_released = async |stage: Stage| {
        let request = stage.request();
        stage
            .play(async |provider, instance, context| {
                provider.acquire(&request, context).await.unwrap_err();
                provider.release(instance, context).await.unwrap()
            })
            .await
            .1
    };
    let stage = || Stage::new().absent().primary().ended(stopped());
    let run = acquired_and_released(stage().absent().absent().running().ok().absent()).await;
    assert_eq!(run.count("delete --purge N"), 1);
    assert_eq!(run.waited, Duration::from_secs(2));
    // What does not come in time does not come,.
    let run = acquired_and_released((0..121).fold(stage(), |stage, _| stage.absent())).await;
    assert_eq!(run.waited, Duration::from_secs(120));
    // A launch that Multipass itself ended leaves nothing to wait for.
    let failed = Stage::new().absent().primary();
    let failed = failed.answer(2, "", "launch failed: KVM support is not enabled");
    let run = acquired_and_released(failed.absent().absent()).await;
    assert_eq!(run.waited, Duration::ZERO);
}

#[tokio::test]
async fn without_multipass_a_node_can_go_and_the_operator_is_told_of_what_may_stay() {
    let mut stage = Stage::new();
    let runner = stage.runner();
    let provider = acquisition_multipass::MultipassProvider::new(Default::default(), runner);
    let clock = std::sync::Arc::new(test_support::ManualClock::new());
    let context = test_support::step_context("release", std::time::Duration::from_secs(60), clock).0;
    let report = provider.release(&stage.instance, &context).await.unwrap();
    let left = report.left_in_place.join("\n");
    assert!(
        left.contains(&format!("multipass delete --purge {}", stage.name())),
        "{left}"
    );
}

#[tokio::test]
async fn without_the_program_a_machine_that_the_node_had_is_not_said_to_be_gone() {
    let missing = || ExecError::NotFound {
        program: "multipass".to_owned(),
        path: "/bin".to_owned(),
    };
    let (report, _) = release(Stage::new().ended(missing())).await;
    let report = report.unwrap();
    assert!(report.left_in_place[0].contains("no longer installed"), "{report:?}");

    let (answer, _) = release(Stage::new().that_had_a_machine().ended(missing())).await;
    let detail = failure(answer, JobErrorCode::NodeReleaseFailed).detail;
    assert!(detail.contains("may be left"), "{detail}");
}
