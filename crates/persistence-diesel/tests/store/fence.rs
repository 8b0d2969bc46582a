//! An old claim changes nothing.

use jobs::{Claim, EventFilter, JobCatalog, JobStore, LogStream, NewEvent, Outcome, Recover, StepStatus, StoreError};
use nodes_domain::{NodeChange, NodeStatus, NodeStore};

use crate::support::{LEASE, TestDatabase, store_tests, worker};

/// Every write that carries a claim, with the name of the call.
async fn all_writes(db: &TestDatabase, claim: &Claim) -> Vec<(&'static str, Result<(), StoreError>)> {
    let store = &db.store;
    let node_id = db.job(claim.job_id).await.node_id.unwrap();
    let change = NodeChange::status(NodeStatus::Failed);
    let line = NewEvent::log("acquire", LogStream::Pressluft, "hello");
    vec![
        ("heartbeat", store.heartbeat(claim, LEASE).await.map(drop)),
        ("step_started", store.step_started(claim, 0, "acquire").await),
        ("step_detail", store.step_detail(claim, "acquire", "looking").await),
        (
            "step_finished",
            store.step_finished(claim, "acquire", StepStatus::Succeeded, None).await,
        ),
        ("append", store.append(claim, line).await),
        (
            "change_in_job",
            store.change_in_job(claim, node_id, change.clone()).await.map(drop),
        ),
        (
            "settle_job",
            store.settle_job(claim, &Outcome::Succeeded, node_id, change).await,
        ),
        ("finish", store.finish(claim, &Outcome::Succeeded).await),
    ]
}

async fn is_refused_everywhere(db: &TestDatabase, claim: &Claim) {
    let filter = EventFilter {
        after: 0,
        job_id: None,
        limit: 1000,
    };
    let before = db.store.events(&filter).await.unwrap();
    let job_before = format!("{:?}", db.job(claim.job_id).await);
    for (name, result) in all_writes(db, claim).await {
        assert!(matches!(result, Err(StoreError::LostLease)), "{name}: {result:?}");
    }
    assert_eq!(db.store.events(&filter).await.unwrap(), before);
    assert_eq!(format!("{:?}", db.job(claim.job_id).await), job_before);
}

store_tests! {
    async fn a_claim_of_an_earlier_epoch_is_refused(db) {
        let (_, old) = db.running_job().await;
        db.store.recover(Recover::All).await.unwrap();
        let new = db.claim().await.unwrap().claim;
        assert_eq!((new.job_id, new.epoch), (old.job_id, 2));
        is_refused_everywhere(&db, &old).await;
        db.store.heartbeat(&new, LEASE).await.unwrap();
    }

    async fn a_claim_is_refused_once_its_job_is_queued_again(db) {
        let (_, claim) = db.running_job().await;
        db.store.recover(Recover::All).await.unwrap();
        is_refused_everywhere(&db, &claim).await;
    }

    async fn a_claim_is_refused_once_its_job_has_ended(db) {
        let (_, claim) = db.running_job().await;
        db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
        is_refused_everywhere(&db, &claim).await;
    }

    async fn a_claim_of_another_worker_is_refused(db) {
        let (_, claim) = db.running_job().await;
        let other = Claim { worker: worker("another"), ..claim };
        is_refused_everywhere(&db, &other).await;
    }

    async fn a_heartbeat_moves_the_lease_and_tells_of_a_cancel(db) {
        let (_, claim) = db.running_job().await;
        db.clock.advance(LEASE / 2);
        assert!(!db.store.heartbeat(&claim, LEASE).await.unwrap().cancel_requested);
        assert_eq!(db.job(claim.job_id).await.lease_until, Some(db.now().plus(LEASE)));
        db.store.request_cancel(claim.job_id, None).await.unwrap();
        assert!(db.store.heartbeat(&claim, LEASE).await.unwrap().cancel_requested);
    }
}
