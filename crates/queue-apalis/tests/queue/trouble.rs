//! Steps that panic or hang, workers that die, a store that fails: nothing runs for ever and the worker lives on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{JobStatus, JobStore, Recover, StepStatus};

use crate::bench::{Bench, POISON_LIMIT, until_stopped};

#[tokio::test]
async fn a_panic_in_a_step_fails_its_job_and_the_worker_goes_on() {
    let mut bench = Bench::new();
    bench.settings.workers = 1;
    let node = domain_kernel::NodeId::generate();
    let (bad, good) = (bench.accept(node), bench.accept(node));
    let queue = bench.start_step(move |job, _, _| async move {
        assert!(job.id != bad, "a bug");
        Ok(())
    });
    bench.reach(good, JobStatus::Succeeded).await;
    assert_eq!(bench.job(bad).status, JobStatus::Failed);
    assert_eq!(bench.job(bad).error.unwrap().code, JobErrorCode::Internal);
    assert_eq!(bench.job(bad).claim_epoch, 1);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_that_never_ends_is_dropped_at_the_backstop_and_frees_its_node() {
    let mut bench = Bench::new();
    bench.settings.backstop = Duration::from_millis(100);
    let node = domain_kernel::NodeId::generate();
    let (stuck, next) = (bench.accept(node), bench.accept(node));
    let queue = bench.start_step(move |job, _, _| async move {
        if job.id == stuck {
            std::future::pending().await
        } else {
            Ok(())
        }
    });
    bench.reach(next, JobStatus::Succeeded).await;
    assert_eq!(bench.job(stuck).status, JobStatus::Failed);
    assert_eq!(bench.job(stuck).error.unwrap().code, JobErrorCode::JobTimeout);
    assert_eq!(bench.store.view(stuck).steps[0].status, StepStatus::Failed);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn workers_that_die_in_a_row_end_the_job_as_worker_lost() {
    let bench = Bench::new();
    let id = bench.accept_alone();
    for death in 1..=POISON_LIMIT {
        let queue = bench.start_step(|_, context, log| async move {
            log.write("started");
            until_stopped(&context).await
        });
        bench.log.wait_for("started", death as usize).await;
        queue.kill().await;
        assert_eq!(bench.job(id).status, JobStatus::Running);
        assert_eq!(bench.store.recover(Recover::All).await.unwrap(), [id]);
    }
    let queue = bench.start_step(|_, _, _| async { panic!("nothing may run") });
    bench.reach(id, JobStatus::Failed).await;
    let failure = bench.job(id).error.unwrap();
    assert_eq!(failure.code, JobErrorCode::WorkerLost);
    assert_eq!(bench.job(id).attempt_count, 1);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_queue_that_died_claims_nothing_more() {
    let bench = Bench::new();
    let queue = bench.start_step(|_, _, _| async { Ok(()) });
    let signal = queue.signal.clone();
    tokio::time::sleep(Duration::from_millis(20)).await;
    queue.kill().await;
    let id = bench.accept_alone();
    signal.wake();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.job(id).status, JobStatus::Queued);
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_does_not_end_the_worker() {
    let bench = Bench::new();
    let queue = bench.start_step(|_, _, _| async { Ok(()) });
    let first = bench.accept_alone();
    queue.signal.wake();
    bench.reach(first, JobStatus::Succeeded).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    bench.store.set_failing(true);
    let id = bench.accept_alone();
    queue.signal.wake();
    let before = bench.store.claims();
    tokio::time::sleep(Duration::from_millis(400)).await;
    // With waits of 100 ms, 200 ms, 400 ms between.
    let asked = bench.store.claims() - before;
    assert!((1..=4).contains(&asked), "asked {asked} times");
    assert_eq!(bench.job(id).status, JobStatus::Queued);
    bench.store.set_failing(false);
    bench.reach(id, JobStatus::Succeeded).await;
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_queue_stops_while_its_store_fails() {
    let bench = Bench::new();
    bench.store.set_failing(true);
    let queue = bench.start_step(|_, _, _| async { Ok(()) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_goes_on_where_the_store_failed_for_less_than_its_lease() {
    let mut bench = Bench::new();
    bench.settings.heartbeat = Duration::from_millis(20);
    bench.settings.lease = Duration::from_secs(30);
    let id = bench.accept_alone();
    let store = bench.store.clone();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let queue = bench.start_step(move |_, context, _| {
        let (store, counted) = (store.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            store.set_failing(true);
            context.sleep(Duration::from_millis(150)).await?;
            store.set_failing(false);
            Ok(())
        }
    });
    bench.reach(id, JobStatus::Succeeded).await;
    assert_eq!((runs.load(Ordering::SeqCst), bench.job(id).claim_epoch), (1, 1));
    queue.stop().await.unwrap();
}
