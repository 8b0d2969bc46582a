//! How long is waited for what, and from when.

use std::time::Duration;

use domain_kernel::JobErrorCode;

use crate::stage::Stage;

fn listed_often(stage: Stage, times: u32, state: &str, addresses: &[&str]) -> Stage {
    (0..times).fold(stage, |stage, _| stage.listed(state, addresses))
}

#[tokio::test]
async fn a_machine_that_was_started_again_has_all_its_time_to_show_an_address() {
    let stage = listed_often(Stage::new().listed("Running", &[]), 100, "Suspending", &[]);
    let stage = stage.listed("Suspended", &[]).primary().ok();
    let (_, run) = listed_often(stage, 110, "Running", &["N/A"]).up().acquired().await;
    assert_eq!((run.count("start"), run.count("restart")), (1, 0));
    assert_eq!(run.waited, Duration::from_secs(211));
}

#[tokio::test]
async fn a_machine_that_is_busy_again_after_it_was_started_has_all_its_time_for_that() {
    let stage = listed_often(Stage::new(), 110, "Suspending", &[]);
    let stage = stage.listed("Suspended", &[]).primary().ok();
    let stage = listed_often(stage, 110, "Suspending", &[]);
    let (_, run) = stage.listed("Suspended", &[]).ok().up().acquired().await;
    assert_eq!(run.count("start"), 2);
}

#[tokio::test]
async fn a_daemon_that_did_something_and_goes_away_again_is_waited_for_anew() {
    let stage = Stage::new().absent().primary().down("launch").absent().absent().ok();
    let stage = listed_often(stage, 119, "Running", &["N/A"]).listed("Stopped", &[]);
    let stage = stage.down("start").listed("Stopped", &[]).ok();
    let (_, run) = stage.up().acquired().await;
    assert_eq!((run.count("launch"), run.count("start")), (2, 2));
}

#[tokio::test]
async fn a_recovery_whose_start_met_no_daemon_is_begun_again_and_only_then_was_the_one() {
    let stage = Stage::new().listed("Unknown", &[]).primary().ok().down("start");
    let stage = stage.listed("Unknown", &[]).ok().ok();
    let (_, run) = stage.up().acquired().await;
    assert_eq!((run.count("stop N --force"), run.count("start")), (2, 2));
    let stage = Stage::new().listed("Unknown", &[]).primary().ok().down("start");
    let stage = stage.listed("Unknown", &[]).ok().ok().listed("Unknown", &[]);
    stage.refused(JobErrorCode::LocalInstanceUnusable).await;
    let busy = "start failed: cannot start while suspending";
    let stage = Stage::new().listed("Unknown", &[]).primary().ok().answer(2, "", busy);
    let stage = stage.listed("Unknown", &[]);
    let (_, run) = stage.refused(JobErrorCode::LocalInstanceUnusable).await;
    assert_eq!(run.count("stop"), 1);
}
