//! What is taken away, and what is told where that cannot be done.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{JobErrorCode, StopReason};
use jobs::StepError;
use nodes_domain::{NodeProvider, ReleaseReport, SshError};
use test_support::{FakeKeys, ManualClock};

use super::support::{Site, failure};

async fn release(site: &Site) -> Result<ReleaseReport, StepError> {
    site.provider.release(&site.instance, &site.context).await
}

/// Lets time pass for as long as anyone sleeps.
async fn pass(clock: Arc<ManualClock>) {
    loop {
        clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
}

async fn release_while_time_passes(site: &Site) -> Result<ReleaseReport, StepError> {
    tokio::select! {
        result = release(site) => result,
        () = pass(site.clock.clone()) => unreachable!("time does not end"),
    }
}

#[tokio::test]
async fn the_key_goes_and_what_stays_is_told() {
    for (said, extra) in [("line=gone\n", 0), ("line=absent\n", 0), ("line=gone\nkey=left\n", 1)] {
        let site = Site::pinned();
        site.ssh.answer(Ok(said));
        let report = release(&site).await.unwrap();
        assert_eq!(report.left_in_place.len(), 3 + extra, "{report:?}");
        let ran = site.ssh.ran();
        assert_eq!(ran[0].1.stdin, format!("{}\n", FakeKeys::PUBLIC_KEY).into_bytes());
        assert!(ran[0].1.new_login);
        assert_eq!(site.ssh.forgotten(), [site.instance.node_id]);
    }
}

#[tokio::test]
async fn a_host_that_was_never_logged_in_to_is_not_connected_to() {
    let mut site = Site::pinned();
    site.machine().host_key = None;
    let report = release(&site).await.unwrap();
    assert!(report.left_in_place[0].contains("never logged in to"), "{report:?}");
    assert!(site.ssh.ran().is_empty());
    assert_eq!(site.ssh.forgotten(), [site.instance.node_id]);
}

#[tokio::test]
async fn a_host_that_is_closed_to_pressluft_is_given_up_at_once_with_the_line_to_run() {
    for (error, says) in [
        (SshError::AuthRejected, "rejects the key already"),
        (SshError::HostKeyMismatch, "does not show the pinned host key"),
    ] {
        let site = Site::pinned();
        site.ssh.answer(Err(error));
        let report = release(&site).await.unwrap();
        let first = &report.left_in_place[0];
        assert!(first.contains(says) && first.contains("grep -avxF"), "{first}");
        assert_eq!(site.ssh.ran().len(), 1);
        assert_eq!(site.ssh.forgotten().len(), 1);
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_asked_until_the_limit_and_then_given_up() {
    let site = Site::pinned();
    for _ in 0..20 {
        site.ssh.answer(Err(SshError::Refused));
    }
    let begin = site.context.now();
    let report = release_while_time_passes(&site).await.unwrap();
    assert!(report.left_in_place[0].contains("could not be reached"), "{report:?}");
    assert!(site.ssh.ran().len() >= 5);
    assert!(site.context.now().since(begin) <= Duration::from_secs(20));

    let site = Site::pinned();
    site.ssh.answer(Err(SshError::TimedOut(Duration::from_secs(12))));
    site.ssh.answer(Ok("line=gone\n"));
    let report = release_while_time_passes(&site).await.unwrap();
    assert_eq!(report.left_in_place.len(), 3, "it answered in time: {report:?}");
}

#[tokio::test]
async fn np_21_a_line_that_cannot_be_removed_is_a_failure_that_names_it() {
    let site = Site::pinned();
    site.ssh.exit(1, Ok(""));
    let (code, detail) = failure(release(&site).await);
    assert_eq!(code, JobErrorCode::NodeReleaseFailed);
    assert!(
        detail.starts_with("Left: ") && detail.contains("grep -avxF"),
        "{detail}"
    );
    assert!(site.ssh.forgotten().is_empty());
}

#[tokio::test]
async fn np_24_a_stopped_release_says_so() {
    let site = Site::pinned();
    site.cancel.cancel(StopReason::Cancelled);
    assert!(matches!(
        release(&site).await,
        Err(StepError::Stopped(StopReason::Cancelled))
    ));
    assert!(site.ssh.ran().is_empty() && site.ssh.forgotten().is_empty());
}
