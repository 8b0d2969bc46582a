//! What follows a failure.

use std::time::Duration;

use domain_kernel::JobErrorCode;

use crate::stage::Stage;

/// A machine that is launched, in vain.
fn launch_fails(status: i32, message: &str) -> Stage {
    Stage::new().absent().primary().answer(status, "", message)
}

#[tokio::test]
async fn a_launch_that_failed_and_left_a_machine_is_gone_on_with() {
    for (status, message) in [
        (2, "launch failed: timed out waiting for initialization to complete"),
        (2, "launch failed: instance \"x\" already exists"),
        (2, "launch failed: something new"),
        (5, "launch failed: Timed out waiting for instance launch."),
    ] {
        let (_, run) = launch_fails(status, message).up().acquired().await;
        assert_eq!((run.count("launch"), run.count("start")), (1, 0), "{message}");
        assert!(
            run.log().contains("Goes on with the machine that is there"),
            "{}",
            run.log()
        );
    }
}

#[tokio::test]
async fn a_launch_whose_daemon_goes_on_is_waited_for() {
    let messages = [
        (5, "launch failed: Timed out waiting for instance launch."),
        (2, "launch failed: instance \"x\" is being prepared"),
    ];
    for (status, message) in messages {
        let stage = launch_fails(status, message)
            .absent()
            .absent()
            .listed("Starting", &[])
            .ok();
        let (_, run) = stage.up().acquired().await;
        assert_eq!((run.count("launch"), run.count("start")), (1, 1));
    }
    let (_, run) = Stage::new().absent().primary().hangs().absent().up().acquired().await;
    assert_eq!(run.count("launch"), 1);
}

#[tokio::test]
async fn a_launch_whose_machine_never_appears_is_a_timeout() {
    let stage = launch_fails(5, "launch failed: Timed out waiting for instance launch.");
    let stage = (0..121).fold(stage, |stage, _| stage.absent());
    let (detail, run) = stage.refused(JobErrorCode::LocalAcquisitionTimeout).await;
    assert_eq!(run.waited, Duration::from_secs(120));
    assert_eq!(run.count("launch"), 1);
    assert!(detail.contains("did not end within its limit"), "{detail}");
}

#[tokio::test]
async fn what_only_a_person_can_change_ends_the_acquisition_with_its_code_and_without_raw_output() {
    use JobErrorCode as Code;
    for (status, message, code) in [
        (
            2,
            "launch failed: KVM support is not enabled SECRET",
            Code::LocalProviderUnavailable,
        ),
        (
            2,
            "launch failed: Requested disk (1 SECRET) below minimum",
            Code::LocalConfigInvalid,
        ),
        (
            2,
            "launch failed: Available disk (1 SECRET) below minimum",
            Code::HostDiskFull,
        ),
        (
            2,
            "launch failed: Unable to find an image matching SECRET",
            Code::LocalImageUnavailable,
        ),
        (1, "error: SECRET is not a valid memory size", Code::LocalConfigInvalid),
        (
            2,
            "launch failed: failed to download from 'SECRET'",
            Code::LocalAcquisitionFailed,
        ),
    ] {
        let (detail, run) = launch_fails(status, message).absent().refused(code).await;
        assert!(!detail.contains("SECRET"), "{detail}");
        assert!(run.log().contains("SECRET"), "{}", run.log());
        assert_eq!(run.count("launch"), 1);
    }
}

#[tokio::test]
async fn a_corrupt_image_is_launched_once_more_and_then_given_up() {
    const CORRUPT: &str = "launch failed: Downloaded image hash does not match";
    let (_, run) = launch_fails(2, CORRUPT).absent().absent().ok().up().acquired().await;
    assert_eq!(run.count("launch"), 2);
    let stage = launch_fails(2, CORRUPT)
        .absent()
        .absent()
        .answer(2, "", CORRUPT)
        .absent();
    let (_, run) = stage.refused(JobErrorCode::LocalImageUnavailable).await;
    assert_eq!(run.count("launch"), 2);
}

#[tokio::test]
async fn a_machine_in_an_unknown_state_is_recovered_once() {
    let (_, run) = Stage::new()
        .listed("Unknown", &[])
        .primary()
        .ok()
        .ok()
        .up()
        .acquired()
        .await;
    assert_eq!(run.commands[2..4], ["stop N --force", "start N --timeout 300"]);
    let stage = Stage::new().listed("Unknown", &[]).primary().ok();
    let stage = stage
        .answer(2, "", "start failed: timed out waiting for response")
        .listed("Unknown", &[]);
    let (detail, run) = stage.refused(JobErrorCode::LocalInstanceUnusable).await;
    assert_eq!((run.count("stop"), run.count("start"), run.count("launch")), (1, 1, 0));
    assert!(detail.contains("in the state `Unknown`"), "{detail}");
}

#[tokio::test]
async fn a_state_that_nobody_knows_is_treated_as_unknown() {
    let (_, run) = Stage::new()
        .listed("Hibernating", &[])
        .primary()
        .ok()
        .ok()
        .up()
        .acquired()
        .await;
    assert_eq!(run.count("stop N --force"), 1);
}

#[tokio::test]
async fn a_client_without_a_stop_by_force_stops_in_its_own_way() {
    let stage = Stage::new()
        .listed("Unknown", &[])
        .primary()
        .answer(1, "", "Unknown option 'force'.");
    let (_, run) = stage.ok().ok().up().acquired().await;
    assert_eq!(
        run.commands[2..5],
        ["stop N --force", "stop N", "start N --timeout 300"]
    );
}

#[tokio::test]
async fn a_launch_that_left_its_machine_unknown_is_recovered_once_and_not_launched_again() {
    const NO_SSH: &str = "launch failed: timed out waiting for response";
    let (_, run) = launch_fails(2, NO_SSH)
        .listed("Unknown", &[])
        .ok()
        .ok()
        .up()
        .acquired()
        .await;
    assert_eq!((run.count("launch"), run.count("stop"), run.count("start")), (1, 1, 1));
    let stage = launch_fails(2, NO_SSH)
        .listed("Unknown", &[])
        .ok()
        .ok()
        .listed("Unknown", &[]);
    let (_, run) = stage.refused(JobErrorCode::LocalInstanceUnusable).await;
    assert_eq!((run.count("launch"), run.count("stop"), run.count("start")), (1, 1, 1));
}

#[tokio::test]
async fn a_machine_that_never_starts_is_started_three_times() {
    const DIED: &str = "start failed: Instance stopped while starting";
    let mut stage = Stage::new().listed("Stopped", &[]).primary();
    for _ in 0..3 {
        stage = stage.answer(2, "", DIED).listed("Stopped", &[]);
    }
    let (detail, run) = stage.refused(JobErrorCode::LocalAcquisitionFailed).await;
    assert_eq!(run.count("start"), 3);
    assert!(detail.contains("stopped while it was starting"), "{detail}");
}

#[tokio::test]
async fn a_busy_machine_is_started_when_it_is_no_longer_busy() {
    let mut stage = Stage::new().listed("Stopped", &[]).primary();
    for _ in 0..5 {
        stage = stage
            .answer(2, "", "start failed: cannot start while suspending")
            .listed("Stopped", &[]);
    }
    let (_, run) = stage.ok().up().acquired().await;
    assert_eq!(run.count("start"), 6);
}

#[tokio::test]
async fn a_machine_that_vanished_is_made_anew_and_the_log_says_so() {
    let stage = Stage::new().listed("Stopped", &[]).primary();
    let stage = stage
        .answer(2, "", "start failed: Instance 'x' does not exist.")
        .absent()
        .ok();
    let (_, run) = stage.up().acquired().await;
    assert_eq!(run.count("launch"), 1);
    assert!(run.log().contains("vanished"), "{}", run.log());
}

#[tokio::test]
async fn a_daemon_that_comes_back_is_waited_for_ever_longer() {
    let stage = Stage::new()
        .down("list")
        .down("list")
        .hangs()
        .answer(0, "{", "")
        .down("list");
    let (_, run) = stage.up().acquired().await;
    // 2 + 4 + 8 + 15 + 15
    assert_eq!(run.waited, Duration::from_secs(44));
}

#[tokio::test]
async fn a_daemon_that_goes_away_in_the_middle_is_waited_for_without_counting() {
    let mut stage = Stage::new().absent().primary();
    for _ in 0..4 {
        stage = stage.down("launch").absent().absent();
    }
    stage = stage.ok().listed("Stopped", &[]);
    for _ in 0..4 {
        stage = stage.down("start").listed("Stopped", &[]);
    }
    let (_, run) = stage.ok().running().down("exec").host_key().acquired().await;
    assert_eq!((run.count("launch"), run.count("start")), (5, 5));
}

#[tokio::test]
async fn a_daemon_that_never_comes_back_does_not_respond() {
    let stage = (0..12).fold(Stage::new(), |stage, _| stage.down("list"));
    let (detail, run) = stage.refused(JobErrorCode::LocalProviderNotResponding).await;
    assert_eq!(run.waited, Duration::from_secs(120));
    assert!(detail.contains("its daemon is out of reach"), "{detail}");
    let mut stage = Stage::new().absent().primary();
    for _ in 0..11 {
        stage = stage.down("launch").absent().absent();
    }
    stage = stage.down("launch").absent();
    let (_, run) = stage.refused(JobErrorCode::LocalProviderNotResponding).await;
    assert_eq!(run.waited, Duration::from_secs(120));
}

#[tokio::test]
async fn a_daemon_that_refuses_this_user_is_not_waited_for_and_the_remedy_is_told() {
    for (message, remedy) in [
        ("multipass socket access denied", "sudo usermod -aG"),
        (
            "The client is not authenticated with the Multipass service.",
            "multipass authenticate",
        ),
    ] {
        let stage = Stage::new().answer(2, "", &format!("list failed: {message}\n"));
        let (detail, run) = stage.refused(JobErrorCode::LocalProviderDenied).await;
        assert_eq!(run.waited, Duration::ZERO);
        assert!(detail.contains(remedy), "{detail}");
    }
}

#[tokio::test]
async fn a_host_without_multipass_is_unavailable() {
    let mut stage = Stage::new();
    let runner = stage.runner();
    let provider = acquisition_multipass::MultipassProvider::new(Default::default(), runner);
    let clock = std::sync::Arc::new(crate::stage::JumpingClock::new());
    let context = test_support::step_context("acquire", Duration::from_secs(60), clock).0;
    let answer = nodes_domain::NodeProvider::acquire(&provider, &stage.request(), &context).await;
    crate::stage::failure(answer, JobErrorCode::LocalProviderUnavailable);
}

#[tokio::test]
async fn a_host_key_is_read_again_where_exec_hangs_or_ssh_fails_and_three_times_in_all() {
    const REFUSED: &str = "exec failed: ssh connection failed: 'Connection refused'";
    let stage = Stage::new().running().hangs().answer(255, "", REFUSED);
    let (_, run) = stage.host_key().acquired().await;
    assert_eq!(run.count("exec"), 3);
    let stage = Stage::new()
        .running()
        .answer(2, "", REFUSED)
        .answer(0, "no key", "")
        .answer(2, "", REFUSED);
    let (detail, run) = stage.refused(JobErrorCode::LocalAcquisitionFailed).await;
    assert_eq!(run.count("exec"), 3);
    assert!(detail.contains("could not log in"), "{detail}");
    let stage = Stage::new().running().hangs().hangs().hangs();
    stage.refused(JobErrorCode::LocalAcquisitionTimeout).await;
}
