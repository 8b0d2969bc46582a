//! Opening a database.

use std::sync::Arc;

use domain_kernel::Clock;
use jobs::JobCatalog;
use persistence_diesel::{Database, OpenError};
use test_support::ManualClock;

use crate::support::store_tests;

store_tests! {
    async fn a_migrated_database_has_nothing_pending_and_nothing_in_it(db) {
        assert_eq!(db.store.pending().unwrap(), Vec::<String>::new());
        assert_eq!(db.store.migrate().unwrap(), Vec::<String>::new());
        assert_eq!(JobCatalog::counts(&db.store).await.unwrap().queued, 0);
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new())
}

#[test]
fn a_new_file_lists_every_migration_as_pending_until_they_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite");
    let database = Database::open(path.to_str().unwrap(), clock()).unwrap();
    let pending = database.pending().unwrap();
    assert!(!pending.is_empty());
    assert_eq!(database.migrate().unwrap(), pending);
    assert_eq!(database.pending().unwrap(), Vec::<String>::new());
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error_at_once_that_names_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/db.sqlite");
    let started = std::time::Instant::now();
    let error = Database::open(path.to_str().unwrap(), clock()).err().unwrap();
    assert!(matches!(error, OpenError::Connect(_)), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn a_server_that_does_not_answer_is_an_error_that_does_not_tell_the_password() {
    let error = Database::open("postgres://user:hunter2@127.0.0.1:1/db", clock())
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Connect(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn sqlite_keeps_a_write_ahead_log_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite");
    let database = Database::open(path.to_str().unwrap(), clock()).unwrap();
    database.migrate().unwrap();
    assert!(folder.path().join("db.sqlite-wal").exists());
}
