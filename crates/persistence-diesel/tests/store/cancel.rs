//! Requests to cancel.

use domain_kernel::{JobId, SiteId};
use jobs::{CancelReply, ExclusionKey, JobCatalog, JobStatus, JobStore, Outcome, StoreError};

use crate::support::{LEASE, failure, store_tests};

store_tests! {
    async fn a_waiting_job_is_due_at_once_and_tells_why(db) {
        let (_, claim) = db.running_job().await;
        let later = db.now().plus(LEASE);
        db.store.finish(&claim, &Outcome::Retry { failure: failure("x"), run_after: later }).await.unwrap();
        assert_eq!(db.store.request_cancel(claim.job_id, None).await.unwrap(), CancelReply::Requested);
        let job = db.job(claim.job_id).await;
        assert_eq!((job.status, job.run_after, job.cancel_requested), (JobStatus::Queued, db.now(), true));
        let claimed = db.claim().await.unwrap();
        assert!(claimed.job.cancel_requested);
        db.store.finish(&claimed.claim, &Outcome::Cancelled).await.unwrap();
        let job = db.job(claim.job_id).await;
        assert_eq!((job.status, job.error, job.finished_at), (JobStatus::Cancelled, None, Some(db.now())));
    }

    async fn a_job_that_only_ends_does_not_wait_for_keys_and_takes_none(db) {
        let site = ExclusionKey::site(SiteId::generate());
        db.create_node_with_keys(std::slice::from_ref(&site)).await;
        let (_, cancelled) = db.create_node_with_keys(std::slice::from_ref(&site)).await;
        let (_, waiting) = db.create_node_with_keys(&[site]).await;
        let holder = db.claim().await.unwrap();
        assert!(db.claim().await.is_none());
        db.store.request_cancel(cancelled, None).await.unwrap();
        let ending = db.claim().await.unwrap();
        assert_eq!(ending.job.id, cancelled);
        db.store.finish(&holder.claim, &Outcome::Succeeded).await.unwrap();
        assert_eq!(db.claim().await.unwrap().job.id, waiting, "the ending job holds no key");
        db.store.finish(&ending.claim, &Outcome::Cancelled).await.unwrap();
        assert!(db.claim().await.is_none());
    }

    async fn a_running_job_is_only_told(db) {
        let (_, claim) = db.running_job().await;
        for _ in 0..2 {
            assert_eq!(db.store.request_cancel(claim.job_id, None).await.unwrap(), CancelReply::Requested);
        }
        let job = db.job(claim.job_id).await;
        assert_eq!((job.status, job.cancel_requested), (JobStatus::Running, true));
        db.store.finish(&claim, &Outcome::Cancelled).await.unwrap();
        assert_eq!(db.store.request_cancel(claim.job_id, None).await.unwrap(), CancelReply::AlreadyEnded);
    }

    async fn a_job_that_succeeds_before_it_hears_of_the_cancel_has_succeeded(db) {
        let (_, claim) = db.running_job().await;
        db.store.request_cancel(claim.job_id, None).await.unwrap();
        db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
        assert_eq!(db.job(claim.job_id).await.status, JobStatus::Succeeded);
        assert_eq!(db.store.request_cancel(claim.job_id, None).await.unwrap(), CancelReply::AlreadyEnded);
    }

    async fn a_cancel_that_comes_while_a_run_is_put_back_is_not_kept_waiting(db) {
        let later = db.now().plus(LEASE);
        for outcome in [
            Outcome::Retry { failure: failure("x"), run_after: later },
            Outcome::Parked { run_after: later },
            Outcome::Yielded,
        ] {
            let (_, claim) = db.running_job().await;
            db.store.request_cancel(claim.job_id, None).await.unwrap();
            db.store.finish(&claim, &outcome).await.unwrap();
            let again = db.claim().await.unwrap();
            assert_eq!((again.job.id, again.job.cancel_requested), (claim.job_id, true), "{outcome:?}");
            db.store.finish(&again.claim, &Outcome::Cancelled).await.unwrap();
        }
    }

    async fn a_job_that_does_not_exist_is_not_found(db) {
        let reply = db.store.request_cancel(JobId::generate(), None).await;
        assert!(matches!(reply, Err(StoreError::NotFound("job"))), "{reply:?}");
    }
}
