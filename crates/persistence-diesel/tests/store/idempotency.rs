//! Idempotency keys.

use domain_kernel::AccountId;
use jobs::{JobCatalog, JobKind, NewJob, StoreError};
use nodes_domain::{CreatedNode, Idempotency, NodeStore};

use crate::support::{TestDatabase, new_node, store_tests};

async fn create(db: &TestDatabase, account_id: AccountId, key: &str, hash: &str) -> Result<CreatedNode, StoreError> {
    let node = new_node();
    let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3);
    let idempotency = Idempotency {
        account_id,
        key: key.to_owned(),
        request_hash: hash.to_owned(),
    };
    db.store.create(node, job, Some(idempotency)).await
}

store_tests! {
    async fn the_same_request_is_answered_with_what_the_first_wrote(db) {
        let account = db.create_account("ops@example.test").await;
        let first = create(&db, account, "key", "hash").await.unwrap();
        let again = create(&db, account, "key", "hash").await.unwrap();
        assert!(!first.replayed);
        assert_eq!(again, CreatedNode { replayed: true, ..first });
        assert_eq!(JobCatalog::counts(&db.store).await.unwrap().queued, 1);
    }

    async fn another_request_under_the_same_key_is_refused(db) {
        let account = db.create_account("ops@example.test").await;
        create(&db, account, "key", "hash").await.unwrap();
        let refused = create(&db, account, "key", "other").await;
        assert!(matches!(refused, Err(StoreError::IdempotencyMismatch)), "{refused:?}");
        assert_eq!(NodeStore::counts(&db.store).await.unwrap().live, 1);
    }

    async fn keys_of_two_accounts_never_meet(db) {
        let one = db.create_account("one@example.test").await;
        let two = db.create_account("two@example.test").await;
        let first = create(&db, one, "key", "hash").await.unwrap();
        let second = create(&db, two, "key", "other").await.unwrap();
        assert!(!second.replayed);
        assert_ne!(first.node_id, second.node_id);
    }

    async fn requests_that_come_at_once_make_one_node(db) {
        let account = db.create_account("ops@example.test").await;
        let results = tokio::join!(
            create(&db, account, "key", "hash"),
            create(&db, account, "key", "hash"),
            create(&db, account, "key", "hash"),
            create(&db, account, "key", "hash"),
        );
        let results = [results.0, results.1, results.2, results.3].map(Result::unwrap);
        assert_eq!(results.iter().filter(|created| !created.replayed).count(), 1);
        assert!(results.iter().all(|created| created.node_id == results[0].node_id));
        assert_eq!(NodeStore::counts(&db.store).await.unwrap().live, 1);
    }
}
