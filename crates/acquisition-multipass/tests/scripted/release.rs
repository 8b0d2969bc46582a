//! Giving machines back.

use domain_kernel::JobErrorCode;
use jobs::StepError;
use nodes_domain::{NodeProvider, ReleaseReport};

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
