//! How runs end.

use domain_kernel::JobErrorCode;
use jobs::{Failure, JobCatalog, JobStatus, JobStore, Outcome, Recover, StepStatus};

use crate::support::{LEASE, SECOND, failure, store_tests};

store_tests! {
    async fn a_success_ends_the_job_without_an_error(db) {
        let (_, claim) = db.running_job().await;
        db.clock.advance(SECOND);
        db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
        let job = db.job(claim.job_id).await;
        assert_eq!((job.status, job.finished_at, job.error), (JobStatus::Succeeded, Some(db.now()), None));
        assert_eq!((job.locked_at, job.locked_by, job.lease_until), (None, None, None));
        assert_eq!(job.updated_at, db.now());
        assert!(db.claim().await.is_none());
    }

    async fn a_failure_keeps_its_code_and_what_was_met(db) {
        let (_, claim) = db.running_job().await;
        db.store.finish(&claim, &Outcome::Failed(failure("no answer"))).await.unwrap();
        let job = db.job(claim.job_id).await;
        assert_eq!(job.status, JobStatus::Failed);
        assert_eq!(job.error, Some(failure("no answer")));
        assert_eq!(job.attempt_count, 1);
    }

    async fn a_retry_counts_an_attempt_and_a_later_success_clears_the_error(db) {
        let (_, claim) = db.running_job().await;
        let retry = Outcome::Retry { failure: failure("no answer"), run_after: db.now().plus(SECOND) };
        db.store.finish(&claim, &retry).await.unwrap();
        let job = db.job(claim.job_id).await;
        assert_eq!((job.status, job.attempt_count, job.finished_at), (JobStatus::Queued, 2, None));
        assert_eq!(job.run_after, db.now().plus(SECOND));
        assert_eq!(job.error, Some(failure("no answer")));
        db.clock.advance(SECOND);
        let again = db.claim().await.unwrap();
        assert_eq!(again.job.attempt_count, 2);
        db.store.finish(&again.claim, &Outcome::Succeeded).await.unwrap();
        let job = db.job(claim.job_id).await;
        assert_eq!((job.attempt_count, job.error), (2, None));
    }

    async fn a_park_and_a_yield_count_no_attempt_and_keep_the_last_failure(db) {
        let (_, claim) = db.running_job().await;
        let retry = Outcome::Retry { failure: failure("first"), run_after: db.now() };
        db.store.finish(&claim, &retry).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        db.store.finish(&claim, &Outcome::Parked { run_after: db.now() }).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        db.store.finish(&claim, &Outcome::Yielded).await.unwrap();
        let job = db.job(claim.job_id).await;
        assert_eq!((job.status, job.attempt_count, job.lost_workers), (JobStatus::Queued, 2, 0));
        assert_eq!(job.error, Some(failure("first")));
        assert!(db.claim().await.is_some(), "a yielded job is due at once");
    }

    async fn the_end_of_a_run_ends_the_count_of_lost_workers(db) {
        for outcome in [Outcome::Yielded, Outcome::Retry { failure: failure("x"), run_after: db.now() }] {
            let (_, claim) = db.running_job().await;
            db.store.recover(Recover::All).await.unwrap();
            let again = db.claim().await.unwrap();
            assert_eq!(again.job.lost_workers, 1);
            db.store.finish(&again.claim, &outcome).await.unwrap();
            assert_eq!(db.job(claim.job_id).await.lost_workers, 0, "{outcome:?}");
            db.store.request_cancel(claim.job_id, None).await.unwrap();
            let last = db.claim().await.unwrap();
            db.store.finish(&last.claim, &Outcome::Cancelled).await.unwrap();
        }
    }

    async fn steps_that_an_end_finds_open_are_closed(db) {
        let lost = Failure::new(JobErrorCode::WorkerLost, "5 workers were lost in step two");
        let parked = Outcome::Parked { run_after: db.now() };
        for (end, closed) in [(Outcome::Failed(lost), StepStatus::Failed), (Outcome::Cancelled, StepStatus::Cancelled)] {
            let (_, claim) = db.running_job().await;
            db.store.step_started(&claim, 0, "one").await.unwrap();
            db.store.step_finished(&claim, "one", StepStatus::Succeeded, None).await.unwrap();
            db.store.step_started(&claim, 1, "two").await.unwrap();
            db.store.finish(&claim, &parked).await.unwrap();
            let claim = db.claim().await.unwrap().claim;
            assert_eq!(db.steps(claim.job_id).await[1].status, StepStatus::Started);
            db.clock.advance(LEASE);
            db.store.finish(&claim, &end).await.unwrap();
            let steps = db.steps(claim.job_id).await;
            assert_eq!(steps[0].status, StepStatus::Succeeded);
            assert_eq!((steps[1].status, steps[1].finished_at), (closed, Some(db.now())));
        }
    }

    async fn a_step_keeps_its_attempt_its_times_and_its_line(db) {
        let (_, claim) = db.running_job().await;
        let started = db.now();
        db.store.step_started(&claim, 1, "second").await.unwrap();
        db.store.step_started(&claim, 0, "first").await.unwrap();
        db.store.step_detail(&claim, "first", "waits for SSH").await.unwrap();
        db.clock.advance(SECOND);
        db.store.step_finished(&claim, "first", StepStatus::Succeeded, None).await.unwrap();
        db.store.step_finished(&claim, "second", StepStatus::Failed, Some("no answer")).await.unwrap();
        let steps = db.steps(claim.job_id).await;
        let seen: Vec<_> = steps.iter().map(|step| (step.name.as_str(), step.status, step.detail.as_deref())).collect();
        assert_eq!(seen, [
            ("first", StepStatus::Succeeded, Some("waits for SSH")),
            ("second", StepStatus::Failed, Some("no answer")),
        ]);
        assert!(steps.iter().all(|step| step.started_at == started && step.finished_at == Some(db.now())));

        let retry = Outcome::Retry { failure: failure("no answer"), run_after: db.now() };
        db.store.finish(&claim, &retry).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        db.store.step_started(&claim, 0, "first").await.unwrap();
        let first = &db.steps(claim.job_id).await[0];
        assert_eq!((first.status, first.attempt, first.started_at), (StepStatus::Started, 2, db.now()));
        assert_eq!((first.finished_at, first.detail.as_deref()), (None, None));
    }

    async fn a_parked_step_has_not_ended(db) {
        let (_, claim) = db.running_job().await;
        db.store.step_started(&claim, 0, "one").await.unwrap();
        db.store.step_finished(&claim, "one", StepStatus::Parked, Some("waits for the image")).await.unwrap();
        let step = &db.steps(claim.job_id).await[0];
        assert_eq!((step.status, step.finished_at), (StepStatus::Parked, None));
        assert_eq!(step.detail.as_deref(), Some("waits for the image"));

        // It goes on where it was, within its attempt.
        let begun = step.started_at;
        db.clock.advance(SECOND);
        db.store.finish(&claim, &Outcome::Parked { run_after: db.now() }).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        db.store.step_started(&claim, 0, "one").await.unwrap();
        let step = &db.steps(claim.job_id).await[0];
        assert_eq!((step.status, step.started_at), (StepStatus::Started, begun));
        assert_eq!(step.detail.as_deref(), Some("waits for the image"), "while it looks again");

        let retry = Outcome::Retry { failure: failure("later"), run_after: db.now() };
        db.store.step_finished(&claim, "one", StepStatus::Parked, None).await.unwrap();
        db.store.finish(&claim, &retry).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        db.store.step_started(&claim, 0, "one").await.unwrap();
        let step = &db.steps(claim.job_id).await[0];
        assert_eq!((step.started_at, step.detail.as_deref()), (db.now(), None), "another attempt begins anew");
    }
}
