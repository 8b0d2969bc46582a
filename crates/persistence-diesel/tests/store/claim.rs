//! Who gets which job, and when.

use domain_kernel::SiteId;
use jobs::{ExclusionKey, JobStatus, JobStore, Outcome};

use crate::support::{LEASE, SECOND, failure, store_tests, worker};

store_tests! {
    async fn jobs_are_claimed_oldest_first(db) {
        let mut expected = Vec::new();
        for _ in 0..3 {
            expected.push(db.create_node().await.1);
            db.clock.advance(SECOND);
        }
        for id in expected {
            assert_eq!(db.claim().await.unwrap().job.id, id);
        }
        assert!(db.claim().await.is_none());
    }

    async fn a_claimed_job_is_running_under_its_worker_with_a_lease(db) {
        let (node_id, job_id) = db.create_node().await;
        db.clock.advance(SECOND);
        let claimed = db.store.claim(&worker("two"), LEASE).await.unwrap().unwrap();
        assert_eq!(claimed.claim.job_id, job_id);
        assert_eq!(claimed.claim.epoch, 1);
        assert_eq!(claimed.claim.worker, worker("two"));
        assert!(claimed.steps.is_empty());
        for job in [claimed.job, db.job(job_id).await] {
            assert_eq!(job.status, JobStatus::Running);
            assert_eq!(job.node_id, Some(node_id));
            assert_eq!((job.attempt_count, job.max_attempts, job.claim_epoch), (1, 3, 1));
            assert_eq!(job.locked_by.as_deref(), Some("two"));
            assert_eq!(job.locked_at, Some(db.now()));
            assert_eq!(job.started_at, Some(db.now()));
            assert_eq!(job.lease_until, Some(db.now().plus(LEASE)));
            assert_eq!(job.finished_at, None);
        }
    }

    async fn a_job_is_not_claimed_before_its_time(db) {
        let (_, claim) = db.running_job().await;
        let first_start = db.job(claim.job_id).await.started_at;
        let run_after = db.now().plus(SECOND);
        db.store.finish(&claim, &Outcome::Parked { run_after }).await.unwrap();
        assert!(db.claim().await.is_none());
        db.clock.advance(SECOND);
        let again = db.claim().await.unwrap();
        assert_eq!(again.claim.epoch, 2);
        assert_eq!(again.job.started_at, first_start);
    }

    async fn fifty_jobs_behind_a_blocked_one_do_not_stall_another_node(db) {
        let site = ExclusionKey::site(SiteId::generate());
        let mut waiting = Vec::new();
        for _ in 0..51 {
            waiting.push(db.create_node_with_keys(std::slice::from_ref(&site)).await.1);
            db.clock.advance(SECOND);
        }
        let (_, other) = db.create_node().await;
        let first = db.claim().await.unwrap();
        assert_eq!(first.job.id, waiting[0]);
        assert_eq!(db.claim().await.unwrap().job.id, other);
        assert!(db.claim().await.is_none());
        db.store.finish(&first.claim, &Outcome::Succeeded).await.unwrap();
        assert_eq!(db.claim().await.unwrap().job.id, waiting[1]);
        assert!(db.claim().await.is_none());
    }

    async fn every_end_of_a_run_frees_the_keys(db) {
        let run_after = db.now().plus(LEASE);
        for outcome in [
            Outcome::Succeeded,
            Outcome::Failed(failure("x")),
            Outcome::Cancelled,
            Outcome::Retry { failure: failure("x"), run_after },
            Outcome::Parked { run_after },
        ] {
            let site = ExclusionKey::site(SiteId::generate());
            let (_, first) = db.create_node_with_keys(std::slice::from_ref(&site)).await;
            let (_, second) = db.create_node_with_keys(&[site]).await;
            let claimed = db.claim().await.unwrap();
            assert_eq!(claimed.job.id, first);
            assert!(db.claim().await.is_none());
            db.store.finish(&claimed.claim, &outcome).await.unwrap();
            let next = db.claim().await.unwrap();
            assert_eq!(next.job.id, second, "{outcome:?}");
            db.store.finish(&next.claim, &Outcome::Succeeded).await.unwrap();
        }
    }

    async fn the_next_moment_is_the_earliest_end_of_a_wait_or_of_a_lease(db) {
        assert_eq!(db.store.next_due().await.unwrap(), None);
        let (_, parked) = db.running_job().await;
        let later = db.now().plus(LEASE * 3);
        db.store.finish(&parked, &Outcome::Parked { run_after: later }).await.unwrap();
        assert_eq!(db.store.next_due().await.unwrap(), Some(later));
        let (_, running) = db.running_job().await;
        assert_eq!(db.store.next_due().await.unwrap(), Some(db.now().plus(LEASE)));
        db.store.heartbeat(&running, LEASE * 5).await.unwrap();
        assert_eq!(db.store.next_due().await.unwrap(), Some(later));
        // What is due already is no moment to wait for.
        db.create_node().await;
        assert_eq!(db.store.next_due().await.unwrap(), Some(later));
        db.clock.advance(LEASE * 5);
        assert_eq!(db.store.next_due().await.unwrap(), None);
    }
}
