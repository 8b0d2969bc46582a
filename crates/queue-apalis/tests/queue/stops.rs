//! How running jobs are stopped: by an operator, by a lost lease, and with the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain_kernel::{Clock, StopReason};
use jobs::{JobCatalog, JobStatus, JobStore, Recover, StepError, StepStatus, WorkerId};
use queue_apalis::QueueError;
use test_support::ManualClock;

use crate::bench::{Bench, LIMIT, until_stopped};

#[tokio::test]
async fn a_cancel_reaches_a_running_job_at_once_by_the_signal() {
    let bench = Bench::new();
    let id = bench.accept_alone();
    let queue = bench.start_step(|_, context, log| async move {
        log.write("started");
        until_stopped(&context).await
    });
    bench.log.wait_for("started", 1).await;
    bench.store.request_cancel(id, None).await.unwrap();
    let asked = Instant::now();
    queue.signal.cancel(id);
    bench.reach(id, JobStatus::Cancelled).await;
    assert!(asked.elapsed() < Duration::from_secs(1));
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_cancel_reaches_a_running_job_by_the_heartbeat_where_no_signal_came() {
    let mut bench = Bench::new();
    bench.settings.heartbeat = Duration::from_millis(20);
    let id = bench.accept_alone();
    let queue = bench.start_step(|_, context, log| async move {
        log.write("started");
        until_stopped(&context).await
    });
    bench.log.wait_for("started", 1).await;
    bench.store.request_cancel(id, None).await.unwrap();
    bench.reach(id, JobStatus::Cancelled).await;
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_cancel_of_a_waiting_job_ends_it_even_while_its_node_is_busy() {
    let bench = Bench::new();
    let node = domain_kernel::NodeId::generate();
    let (busy, waiting) = (bench.accept(node), bench.accept(node));
    let queue = bench.start_step(|_, context, log| async move {
        log.write("started");
        until_stopped(&context).await
    });
    bench.log.wait_for("started", 1).await;
    bench.store.request_cancel(waiting, None).await.unwrap();
    queue.signal.cancel(waiting);
    bench.reach(waiting, JobStatus::Cancelled).await;
    assert_eq!(bench.job(busy).status, JobStatus::Running);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_that_lost_its_lease_ends_its_children_and_writes_nothing() {
    let mut bench = Bench::new();
    bench.settings.heartbeat = Duration::from_millis(20);
    let id = bench.accept_alone();
    let queue = bench.start_step(|_, context, log| async move {
        log.write("started");
        let reason = context.limits.cancel.cancelled().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        log.write(format!("ended its children: {reason:?}"));
        Err(StepError::Stopped(reason))
    });
    bench.log.wait_for("started", 1).await;
    bench.store.recover(Recover::All).await.unwrap();
    let new = bench
        .store
        .claim(&WorkerId::new("other"), LIMIT)
        .await
        .unwrap()
        .unwrap();
    let before = bench.store.all_events();
    bench.log.wait_for("ended its children: LeaseLost", 1).await;
    queue.stop().await.unwrap();
    assert_eq!(bench.store.all_events(), before);
    assert_eq!(bench.job(id).locked_by.as_deref(), Some("other"));
    assert_eq!(bench.job(id).claim_epoch, new.claim.epoch);
}

#[tokio::test]
async fn a_job_taken_up_again_in_the_same_process_waits_until_its_old_run_has_stopped() {
    let mut bench = Bench::new();
    bench.settings.heartbeat = Duration::from_millis(20);
    let id = bench.accept_alone();
    let queue = bench.start_step(|job, context, log| async move {
        log.write(format!("{} started", job.claim_epoch));
        if job.claim_epoch == 1 {
            let reason = context.limits.cancel.cancelled().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            log.write("1 stopped");
            return Err(StepError::Stopped(reason));
        }
        Ok(())
    });
    bench.log.wait_for("1 started", 1).await;
    bench.store.recover(Recover::All).await.unwrap();
    queue.signal.wake();
    bench.reach(id, JobStatus::Succeeded).await;
    assert_eq!(bench.log.lines(), ["1 started", "1 stopped", "2 started"]);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_whose_lease_cannot_be_renewed_stops_before_the_lease_has_passed() {
    let mut bench = Bench::new();
    bench.settings.heartbeat = Duration::from_millis(30);
    bench.settings.lease = Duration::from_millis(900);
    let id = bench.accept_alone();
    let queue = bench.start_step(|_, context, log| async move {
        log.write("started");
        let reason = context.limits.cancel.cancelled().await;
        log.write(format!("{reason:?} at {}", context.now().as_micros()));
        Err(StepError::Stopped(reason))
    });
    bench.log.wait_for("started", 1).await;
    bench.store.set_failing(true);
    bench.log.wait_for("LeaseLost", 1).await;
    let lease_until = bench.job(id).lease_until.unwrap().as_micros();
    let stopped: i64 = bench.log.lines()[1].split(' ').next_back().unwrap().parse().unwrap();
    assert!(
        stopped < lease_until,
        "stopped at {stopped}, the lease passed at {lease_until}"
    );
    bench.store.set_failing(false);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_shutdown_gives_running_jobs_back_and_the_next_start_goes_on_at_the_interrupted_step() {
    let bench = Bench::new();
    let ids = [bench.accept_alone(), bench.accept_alone()];
    let workflow = |last: &'static str| {
        let (first, second) = (bench.log.clone(), bench.log.clone());
        bench
            .workflow()
            .step("acquire", move |_, _| {
                first.write("acquire");
                std::future::ready(Ok(()))
            })
            .step("provision", move |_, context| {
                second.write(last);
                async move {
                    if last == "interrupted" {
                        until_stopped(&context).await
                    } else {
                        Ok(())
                    }
                }
            })
    };
    let queue = bench.start(workflow("interrupted"));
    bench.log.wait_for("interrupted", 2).await;
    queue.stop().await.unwrap();
    for id in ids {
        let view = bench.store.view(id);
        assert_eq!(
            (view.job.status, view.job.attempt_count, view.job.lost_workers),
            (JobStatus::Queued, 1, 0)
        );
        assert_eq!(view.steps[1].status, StepStatus::Started);
    }

    let queue = bench.start(workflow("repeated"));
    for id in ids {
        bench.reach(id, JobStatus::Succeeded).await;
        assert_eq!(bench.job(id).attempt_count, 1);
    }
    queue.stop().await.unwrap();
    let mut lines = bench.log.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "acquire",
            "acquire",
            "interrupted",
            "interrupted",
            "repeated",
            "repeated"
        ]
    );
}

#[tokio::test]
async fn a_job_that_was_claimed_but_not_started_is_given_back_at_a_shutdown() {
    let bench = Bench::new();
    bench.store.hold_claims(true);
    let id = bench.accept_alone();
    let queue = bench.start_step(|_, _, log| async move {
        log.write("started");
        Ok(())
    });
    bench.reach(id, JobStatus::Running).await;
    queue.tell_to_stop();
    tokio::time::sleep(Duration::from_millis(20)).await;
    bench.store.hold_claims(false);
    queue.ended().await.unwrap();
    assert_eq!(
        (bench.job(id).status, bench.job(id).lost_workers),
        (JobStatus::Queued, 0)
    );
    assert!(bench.log.lines().is_empty());
}

#[tokio::test]
async fn a_queue_told_to_stop_before_it_starts_runs_nothing() {
    let bench = Bench::new();
    let id = bench.accept_alone();
    let queue = bench.start_step(|_, _, _| async { Ok(()) });
    queue.stop().await.unwrap();
    assert_eq!(bench.job(id).status, JobStatus::Queued);
}

#[tokio::test]
async fn a_job_that_does_not_stop_with_the_server_is_dropped_after_20_s_and_given_back() {
    let clock = Arc::new(ManualClock::new());
    let bench = Bench::with_clock(clock.clone());
    let id = bench.accept_alone();
    let queue = bench.start_step(|_, _, log| async move {
        log.write("started");
        std::future::pending().await
    });
    bench.log.wait_for("started", 1).await;
    queue.tell_to_stop();
    let bound = Duration::from_secs(20);
    while !clock.sleeps().contains(&bound) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.job(id).status, JobStatus::Running);
    clock.advance(bound);
    match queue.ended().await {
        Err(QueueError::Dropped { jobs }) => assert_eq!(jobs, [id]),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        (bench.job(id).status, bench.job(id).lost_workers),
        (JobStatus::Queued, 0)
    );
    assert_eq!(bench.job(id).run_after, clock.now());
}

#[tokio::test]
async fn a_stop_reaches_a_job_that_starts_in_the_same_moment() {
    for turns in 0..60 {
        let bench = Bench::new();
        let id = bench.accept_alone();
        let queue = bench.start_step(|_, context, _| async move { until_stopped(&context).await });
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        queue.stop().await.unwrap();
        assert_eq!(bench.job(id).status, JobStatus::Queued);
    }
}

#[tokio::test]
async fn a_dropped_run_tells_what_it_left_behind_to_stop() {
    let bench = Bench::new();
    bench.accept_alone();
    let queue = bench.start_step(|_, context, log| async move {
        let cancel = context.limits.cancel.clone();
        tokio::spawn(async move {
            let reason = cancel.cancelled().await;
            assert_eq!(reason, StopReason::LeaseLost);
            log.write("left behind and told to stop");
        });
        std::future::pending().await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    queue.kill().await;
    bench.log.wait_for("left behind", 1).await;
}
