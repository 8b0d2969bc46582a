//! Which jobs are claimed, when, and how many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain_kernel::{JobErrorCode, NodeId};
use jobs::{JobCatalog, JobStatus, JobStore, RetryPolicy, StepError, WorkerId};
use tokio::sync::{Barrier, Semaphore};

use crate::bench::{Bench, NEVER};

#[tokio::test]
async fn jobs_are_claimed_oldest_first() {
    let mut bench = Bench::new();
    bench.settings.workers = 1;
    let ids: Vec<_> = (0..10).map(|_| bench.accept_alone()).collect();
    let queue = bench.start_step(|job, _, log| async move {
        log.write(job.id.to_string());
        Ok(())
    });
    bench.log.wait_for("", ids.len()).await;
    let expected: Vec<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(bench.log.lines(), expected);
    queue.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_of_one_node_never_overlap() {
    let bench = Bench::new();
    let nodes: Vec<_> = (0..3).map(|_| NodeId::generate()).collect();
    let ids: Vec<_> = (0..18).map(|at| bench.accept(nodes[at % nodes.len()])).collect();
    let at_work: Arc<Mutex<HashMap<NodeId, u32>>> = Arc::default();
    let queue = bench.start_step(move |job, _, log| {
        let at_work = at_work.clone();
        async move {
            let node = job.node_id.unwrap();
            {
                let mut at_work = at_work.lock().unwrap();
                let here = at_work.entry(node).or_default();
                *here += 1;
                log.write(format!("{here} on the node"));
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
            *at_work.lock().unwrap().get_mut(&node).unwrap() -= 1;
            Ok(())
        }
    });
    for id in &ids {
        bench.reach(*id, JobStatus::Succeeded).await;
    }
    assert_eq!(bench.log.lines(), vec!["1 on the node"; ids.len()]);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn jobs_of_two_nodes_are_at_work_at_the_same_time() {
    let bench = Bench::new();
    let both = Arc::new(Barrier::new(2));
    let ids = [bench.accept_alone(), bench.accept_alone()];
    let queue = bench.start_step(move |_, _, _| {
        let both = both.clone();
        async move {
            both.wait().await;
            Ok(())
        }
    });
    for id in ids {
        bench.reach(id, JobStatus::Succeeded).await;
    }
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn no_more_jobs_are_claimed_than_can_run() {
    let mut bench = Bench::new();
    bench.settings.workers = 2;
    let ids: Vec<_> = (0..6).map(|_| bench.accept_alone()).collect();
    let gate = Arc::new(Semaphore::new(0));
    let open = gate.clone();
    let queue = bench.start_step(move |_, _, log| {
        let gate = gate.clone();
        async move {
            log.write("started");
            gate.acquire().await.expect("the gate stays").forget();
            Ok(())
        }
    });
    for started in 2..=ids.len() {
        bench.log.wait_for("started", started).await;
        // Wake-ups while no worker is free claim nothing.
        queue.signal.wake();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let counts = bench.store.counts().await.unwrap();
        assert_eq!((counts.running, counts.queued as usize), (2, ids.len() - started));
        open.add_permits(1);
    }
    open.add_permits(2);
    bench.reach(ids[5], JobStatus::Succeeded).await;
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn fifty_jobs_behind_a_blocked_node_do_not_stall_another_node() {
    let bench = Bench::new();
    let blocked = NodeId::generate();
    bench.accept(blocked);
    let queue = bench.start_step(move |job, context, log| async move {
        log.write("started");
        if job.node_id == Some(blocked) {
            crate::bench::until_stopped(&context).await
        } else {
            Ok(())
        }
    });
    bench.log.wait_for("started", 1).await;
    for _ in 0..50 {
        bench.accept(blocked);
    }
    let other = bench.accept_alone();
    queue.signal.wake();
    bench.reach(other, JobStatus::Succeeded).await;
    assert_eq!(bench.store.counts().await.unwrap().queued, 50);
    queue.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_starts_within_milliseconds_of_its_signal() {
    let bench = Bench::new();
    let queue = bench.start_step(|_, _, log| async move {
        log.write("started");
        Ok(())
    });
    let mut latencies = Vec::new();
    for round in 1..=100 {
        let accepted = Instant::now();
        let id = bench.accept_alone();
        queue.signal.wake();
        bench.log.wait_for("started", round).await;
        latencies.push(accepted.elapsed());
        bench.reach(id, JobStatus::Succeeded).await;
    }
    latencies.sort();
    println!(
        "enqueue to start: median {:?}, 99th percentile {:?}",
        latencies[50], latencies[98]
    );
    assert!(latencies[50] < Duration::from_millis(10), "{latencies:?}");
    queue.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_signal_is_lost_whenever_it_comes() {
    let mut bench = Bench::new();
    bench.settings.workers = 2;
    let queue = bench.start_step(|_, _, log| async move {
        log.write("ran");
        Ok(())
    });
    // Each job's signal falls somewhere into the claim, the run or the end of the one before.
    for round in 0..500u32 {
        bench.accept_alone();
        queue.signal.wake();
        for _ in 0..round % 23 {
            tokio::task::yield_now().await;
        }
        if round % 10 == 0 {
            bench.log.wait_for("ran", round as usize + 1).await;
        }
    }
    bench.log.wait_for("ran", 500).await;
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn an_idle_queue_does_not_ask_again_and_again() {
    let bench = Bench::new();
    // A job that is due but blocked is no reason to ask either.
    let node = NodeId::generate();
    bench.accept(node);
    bench.accept(node);
    let queue = bench.start_step(|_, context, log| async move {
        log.write("started");
        crate::bench::until_stopped(&context).await
    });
    bench.log.wait_for("started", 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = bench.store.claims();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.store.claims(), before);
    assert!(before <= 5, "{before} claims for one job");
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_job_without_a_signal_is_found_by_the_sweep() {
    let mut bench = Bench::new();
    bench.settings.sweep = Duration::from_millis(50);
    let queue = bench.start_step(|_, _, _| async { Ok(()) });
    tokio::time::sleep(Duration::from_millis(60)).await;
    let id = bench.accept_alone();
    bench.reach(id, JobStatus::Succeeded).await;
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_job_of_a_dead_worker_is_taken_up_when_its_lease_has_passed() {
    let bench = Bench::new();
    let id = bench.accept_alone();
    let lease = Duration::from_millis(200);
    bench.store.claim(&WorkerId::new("dead"), lease).await.unwrap().unwrap();
    let claimed = Instant::now();
    let queue = bench.start_step(|_, _, _| async { Ok(()) });
    bench.reach(id, JobStatus::Succeeded).await;
    assert!(claimed.elapsed() >= lease - Duration::from_millis(5));
    assert_eq!(bench.job(id).attempt_count, 1);
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_when_its_wait_is_over_and_not_before() {
    let mut bench = Bench::new();
    let wait = Duration::from_millis(200);
    bench.retry = RetryPolicy::new(vec![wait]);
    let id = bench.accept_alone();
    let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = starts.clone();
    let queue = bench.start_step(move |job, _, _| {
        seen.lock().unwrap().push(Instant::now());
        async move {
            match job.attempt_count {
                1 => Err(StepError::failed(JobErrorCode::NodeNotReady, "")),
                _ => Ok(()),
            }
        }
    });
    bench.reach(id, JobStatus::Succeeded).await;
    let starts = starts.lock().unwrap().clone();
    assert_eq!(starts.len(), 2);
    assert!(starts[1] - starts[0] >= wait, "{starts:?}");
    assert!(bench.store.claims() < 12, "{} claims", bench.store.claims());
    queue.stop().await.unwrap();
}

#[tokio::test]
async fn a_parked_job_holds_no_worker() {
    let mut bench = Bench::new();
    bench.settings.workers = 1;
    let parked = bench.accept_alone();
    let queue = bench.start_step(move |job, context, log| async move {
        if job.id == parked {
            log.write("parked");
            let run_after = context.now().plus(NEVER);
            return Err(StepError::Parked {
                run_after,
                detail: "waits".to_owned(),
            });
        }
        Ok(())
    });
    bench.log.wait_for("parked", 1).await;
    let other = bench.accept_alone();
    queue.signal.wake();
    bench.reach(other, JobStatus::Succeeded).await;
    assert_eq!(
        (bench.job(parked).status, bench.job(parked).attempt_count),
        (JobStatus::Queued, 1)
    );
    queue.stop().await.unwrap();
}
