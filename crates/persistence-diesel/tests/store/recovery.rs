//! Jobs whose worker was lost.

use jobs::{JobCatalog, JobStatus, JobStore, Outcome, Recover, StepStatus};

use crate::support::{LEASE, SECOND, store_tests};

store_tests! {
    async fn at_a_start_every_running_job_is_queued_again_with_its_attempt(db) {
        let (_, first) = db.running_job().await;
        let (_, second) = db.running_job().await;
        db.create_node().await;
        db.store.step_started(&first, 0, "one").await.unwrap();
        let recovered = db.store.recover(Recover::All).await.unwrap();
        assert_eq!(recovered, [first.job_id, second.job_id]);
        let job = db.job(first.job_id).await;
        assert_eq!((job.status, job.attempt_count, job.lost_workers), (JobStatus::Queued, 1, 1));
        assert_eq!((job.locked_at, job.locked_by, job.lease_until), (None, None, None));
        assert_eq!(db.steps(first.job_id).await[0].status, StepStatus::Started);
        let again = db.claim().await.unwrap();
        assert_eq!((again.job.id, again.claim.epoch, again.steps.len()), (first.job_id, 2, 1));
    }

    async fn later_only_jobs_whose_lease_has_ended_are_queued_again(db) {
        let (_, expired) = db.running_job().await;
        db.clock.advance(SECOND);
        let (_, alive) = db.running_job().await;
        db.clock.advance(LEASE - SECOND);
        assert_eq!(db.store.recover(Recover::Expired).await.unwrap(), [expired.job_id]);
        assert_eq!(db.store.recover(Recover::Expired).await.unwrap(), []);
        db.store.heartbeat(&alive, LEASE).await.unwrap();
    }

    async fn lost_workers_are_counted_until_a_step_is_completed(db) {
        db.create_node().await;
        for lost in 0..3 {
            let claimed = db.claim().await.unwrap();
            assert_eq!((claimed.job.lost_workers, claimed.job.attempt_count), (lost, 1));
            db.store.step_started(&claimed.claim, 0, "one").await.unwrap();
            db.store.recover(Recover::All).await.unwrap();
        }
        let claim = db.claim().await.unwrap().claim;
        db.store.step_finished(&claim, "one", StepStatus::Succeeded, None).await.unwrap();
        db.store.recover(Recover::All).await.unwrap();
        assert_eq!(db.claim().await.unwrap().job.lost_workers, 1);
    }

    async fn a_step_that_fails_or_parks_does_not_end_the_count(db) {
        db.create_node().await;
        db.claim().await.unwrap();
        db.store.recover(Recover::All).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        db.store.step_started(&claim, 0, "one").await.unwrap();
        db.store.step_finished(&claim, "one", StepStatus::Failed, None).await.unwrap();
        assert_eq!(db.job(claim.job_id).await.lost_workers, 1);
    }

    async fn a_recovered_job_gives_its_keys_back_and_a_cancelled_one_only_ends(db) {
        let (_, claim) = db.running_job().await;
        db.store.request_cancel(claim.job_id, None).await.unwrap();
        db.store.recover(Recover::All).await.unwrap();
        let again = db.claim().await.unwrap();
        assert!(again.job.cancel_requested);
        db.store.finish(&again.claim, &Outcome::Cancelled).await.unwrap();
        assert_eq!(db.job(claim.job_id).await.status, JobStatus::Cancelled);
    }
}
