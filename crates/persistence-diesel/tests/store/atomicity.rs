//! What fails in one part leaves nothing of the others. The last part of each transaction is its event: with the table
//! of events out of the way it fails, and everything before it must be undone.

use accounts_domain::AccountStore;
use jobs::{
    EventFilter, JobCatalog, JobKind, JobStatus, JobStore, NewJob, Outcome, PageRequest, Recover, StepStatus,
    StoreError,
};
use nodes_domain::{Idempotency, NodeChange, NodeFilter, NodeStatus, NodeStore};

use crate::support::{TestDatabase, new_node, store_tests};

fn break_events(db: &TestDatabase) {
    db.execute("ALTER TABLE events RENAME TO events_away");
}

fn mend_events(db: &TestDatabase) {
    db.execute("ALTER TABLE events_away RENAME TO events");
}

fn is_backend<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let Err(StoreError::Backend(source)) = result else {
        panic!("{result:?}")
    };
    assert!(source.to_string().contains("events"), "the cause is told: {source}");
}

store_tests! {
    async fn a_creation_that_fails_leaves_no_node_job_or_key(db) {
        let account_id = db.create_account("ops@example.test").await;
        let idempotency = Idempotency { account_id, key: "key".to_owned(), request_hash: "hash".to_owned() };
        let node = new_node();
        let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3);
        break_events(&db);
        is_backend(db.store.create(node.clone(), job.clone(), Some(idempotency.clone())).await);
        mend_events(&db);
        let page = PageRequest { limit: 10, after: None };
        let every = NodeFilter { include_decommissioned: true, ..NodeFilter::default() };
        assert!(db.store.nodes(&every, &page).await.unwrap().items.is_empty());
        assert_eq!(JobCatalog::counts(&db.store).await.unwrap().queued, 0);
        assert!(!db.store.create(node, job, Some(idempotency)).await.unwrap().replayed);
        assert_eq!(db.store.account_count().await.unwrap(), 1);
    }

    async fn a_claim_that_fails_leaves_the_job_waiting(db) {
        let (_, job_id) = db.create_node().await;
        break_events(&db);
        is_backend(db.store.claim(&crate::support::worker("one"), crate::support::LEASE).await);
        mend_events(&db);
        let job = db.job(job_id).await;
        assert_eq!((job.status, job.claim_epoch, job.locked_by), (JobStatus::Queued, 0, None));
        assert!(db.claim().await.is_some());
    }

    async fn an_end_that_fails_leaves_job_node_steps_and_keys_as_they_were(db) {
        let (id, claim) = db.running_job().await;
        db.store.step_started(&claim, 0, "one").await.unwrap();
        break_events(&db);
        let change = NodeChange::status(NodeStatus::Failed);
        is_backend(db.store.settle_job(&claim, &Outcome::Cancelled, id, change.clone()).await);
        is_backend(db.store.finish(&claim, &Outcome::Cancelled).await);
        is_backend(db.store.change_in_job(&claim, id, change).await);
        is_backend(db.store.step_finished(&claim, "one", StepStatus::Succeeded, None).await);
        is_backend(db.store.recover(Recover::All).await);
        is_backend(db.store.request_cancel(claim.job_id, None).await);
        mend_events(&db);
        let job = db.job(claim.job_id).await;
        assert_eq!((job.status, job.lost_workers, job.cancel_requested), (JobStatus::Running, 0, false));
        assert_eq!(db.steps(claim.job_id).await[0].status, StepStatus::Started);
        let node = db.node(id).await;
        assert_eq!((node.status, node.state_version), (NodeStatus::Provisioning, 1));
        db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
    }

    async fn a_delete_that_fails_leaves_the_waiting_job(db) {
        let (id, waiting) = db.create_node().await;
        let before = db.store.events(&EventFilter { after: 0, job_id: None, limit: 100 }).await.unwrap();
        break_events(&db);
        let job = NewJob::on_node(JobKind::NodeDecommission, id, 3);
        is_backend(db.store.enqueue(id, 1, NodeStatus::Decommissioning, job, true).await);
        mend_events(&db);
        assert_eq!(db.job(waiting).await.status, JobStatus::Queued);
        assert_eq!(db.node(id).await.status, NodeStatus::Provisioning);
        assert_eq!(db.store.events(&EventFilter { after: 0, job_id: None, limit: 100 }).await.unwrap(), before);
        assert!(db.claim().await.is_some());
    }

    async fn the_database_itself_refuses_a_second_open_job_of_a_node_and_a_key_held_twice(db) {
        let (id, _) = db.create_node().await;
        db.create_node().await;
        db.claim().await.unwrap();
        db.claim().await.unwrap();
        let key = format!("INSERT INTO job_exclusions (job_id, key, held) SELECT id, 'node:{id}', TRUE FROM jobs
            WHERE node_id <> '{id}'");
        let second = format!("INSERT INTO jobs SELECT 'other', kind, 'queued', node_id, site_id, environment_id,
            attempt_count, max_attempts, run_after, claim_epoch, locked_at, locked_by, lease_until, lost_workers,
            cancel_requested, started_at, finished_at, error_code, error_detail, created_at, updated_at,
            requested_by, log_bytes, backup_id
            FROM jobs WHERE node_id = '{id}'");
        for statement in [key, second] {
            let refused = db.try_execute(&statement).unwrap_err();
            let text = refused.to_string().to_lowercase();
            assert!(text.contains("unique"), "{text}");
        }
    }

    async fn a_row_that_this_version_does_not_know_is_an_error_that_names_the_column(db) {
        let (id, job_id) = db.create_node().await;
        db.execute("UPDATE jobs SET kind = 'node_dance'");
        db.execute("UPDATE nodes SET target = '{'");
        let Err(StoreError::Backend(error)) = JobCatalog::job(&db.store, job_id).await else { panic!() };
        assert!(error.to_string().starts_with("jobs.kind holds"), "{error}");
        let Err(StoreError::Backend(error)) = NodeStore::node(&db.store, id).await else { panic!() };
        assert!(error.to_string().starts_with("nodes.target holds"), "{error}");
    }
}
