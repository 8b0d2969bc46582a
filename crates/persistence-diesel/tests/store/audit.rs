//! The audit log: one line for each thing that an account does, in the transaction of what it tells.

use accounts_domain::{
    AccountStore, AuditAction, AuditEntry, AuditLog, AuditSubjectKind, NewSession, PasswordHash, Refusal, RefusedLogin,
    TokenHash,
};
use domain_kernel::AccountId;
use jobs::{JobCatalog, JobKind, NewJob, PageRequest, StoreError};
use nodes_domain::{Idempotency, NodeStatus, NodeStore};
use serde_json::json;

use crate::support::{SECOND, TestDatabase, new_node, store_tests};

const EMAIL: &str = "ops@example.test";

async fn entries(db: &TestDatabase) -> Vec<AuditEntry> {
    let page = PageRequest {
        limit: 100,
        after: None,
    };
    db.store.entries(&page).await.unwrap().items
}

async fn actions(db: &TestDatabase) -> Vec<AuditAction> {
    entries(db).await.iter().map(|entry| entry.action).collect()
}

fn session(account_id: AccountId, token: &str, db: &TestDatabase) -> NewSession {
    NewSession {
        token_hash: TokenHash(token.to_owned()),
        account_id,
        expires_at: db.now().plus(SECOND),
        client_address: "192.0.2.7".to_owned(),
    }
}

fn away(db: &TestDatabase) {
    db.execute("ALTER TABLE audit RENAME TO audit_away");
}

fn back(db: &TestDatabase) {
    db.execute("ALTER TABLE audit_away RENAME TO audit");
}

store_tests! {
    async fn what_happens_to_an_account_and_its_sessions_is_told_newest_first(db) {
        let id = db.create_account(EMAIL).await;
        db.store.create_session(session(id, "first", &db)).await.unwrap();
        db.store.delete_session(&TokenHash("first".to_owned())).await.unwrap();
        db.store.delete_session(&TokenHash("first".to_owned())).await.unwrap();
        db.store.create_session(session(id, "second", &db)).await.unwrap();
        db.store.set_password(&EMAIL.parse().unwrap(), PasswordHash::new("$argon2id$next")).await.unwrap();
        let log = entries(&db).await;
        assert_eq!(log.iter().map(|entry| entry.action).collect::<Vec<_>>(), [
            AuditAction::PasswordChanged, AuditAction::SessionOpened, AuditAction::SessionClosed,
            AuditAction::SessionOpened, AuditAction::AccountCreated,
        ]);
        let [changed, opened, closed, _, created] = &log[..] else { panic!() };
        for login in [opened, closed] {
            assert_eq!((login.account_id, login.email.as_ref().unwrap().as_str()), (Some(id), EMAIL));
        }
        assert_eq!((opened.client_address.as_deref(), closed.client_address.as_deref()), (Some("192.0.2.7"), None));
        for own in [changed, created] {
            let subject = own.subject.as_ref().unwrap();
            assert_eq!((subject.kind, &subject.id), (AuditSubjectKind::Account, &id.to_string()));
            assert_eq!(subject.email.as_ref().unwrap().as_str(), EMAIL);
            assert_eq!((own.account_id, own.at), (None, db.now()), "the command line has no account");
        }
        assert_eq!(changed.detail, Some(json!({"sessions_ended": 1})));
    }

    async fn refused_logins_name_the_account_that_was_tried_and_nothing_else(db) {
        let id = db.create_account(EMAIL).await;
        let all = [(Some(id), Refusal::Wrong), (Some(id), Refusal::Throttled), (None, Refusal::Wrong), (None, Refusal::Dropped)];
        for (account_id, refusal) in all {
            let refused = RefusedLogin { account_id, client_address: "192.0.2.7".to_owned(), refusal };
            db.store.record_refused_login(refused).await.unwrap();
        }
        let log = entries(&db).await;
        let [dropped, unknown, throttled, refused, _] = &log[..] else { panic!() };
        assert_eq!((dropped.action, &dropped.subject), (AuditAction::LoginRefusalsDropped, &None));
        assert_eq!((unknown.action, &unknown.subject), (AuditAction::LoginRefused, &None));
        assert_eq!((refused.action, throttled.action), (AuditAction::LoginRefused, AuditAction::LoginThrottled));
        assert_eq!(refused.subject.as_ref().unwrap().email.as_ref().unwrap().as_str(), EMAIL);
        for entry in [dropped, unknown, throttled, refused] {
            assert_eq!((entry.account_id, entry.client_address.as_deref()), (None, Some("192.0.2.7")));
            assert_eq!(entry.detail, None);
        }
    }

    async fn a_job_that_an_account_asks_for_is_told_with_its_kind_and_node(db) {
        let id = db.create_account(EMAIL).await;
        let node = new_node();
        let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3).requested_by(Some(id));
        let idempotency = Idempotency { account_id: id, key: "key".to_owned(), request_hash: "hash".to_owned() };
        for _ in 0..2 {
            db.store.create(node.clone(), job.clone(), Some(idempotency.clone())).await.unwrap();
        }
        db.create_node().await;
        let log = entries(&db).await;
        assert_eq!(log.len(), 2, "neither a replayed request nor the system's own job is a line: {log:?}");
        let (entry, subject) = (&log[0], log[0].subject.as_ref().unwrap());
        assert_eq!((entry.action, entry.account_id), (AuditAction::JobRequested, Some(id)));
        assert_eq!((subject.kind, &subject.id, &subject.email), (AuditSubjectKind::Job, &job.id.to_string(), &None));
        assert_eq!(entry.detail, Some(json!({"kind": "node_provision", "node_id": node.id})));
        assert_eq!(db.job(job.id).await.requested_by, Some(id));
    }

    async fn a_job_is_asked_to_end_once_by_whoever_was_first(db) {
        let one = db.create_account("one@example.test").await;
        let two = db.create_account("two@example.test").await;
        let (_, job_id) = db.create_node().await;
        for by in [one, two, one] {
            db.store.request_cancel(job_id, Some(by)).await.unwrap();
        }
        let log = entries(&db).await;
        assert_eq!((log.len(), log[0].action, log[0].account_id), (3, AuditAction::JobCancelRequested, Some(one)));
        assert_eq!(log[0].subject.as_ref().unwrap().id, job_id.to_string());
    }

    async fn a_job_whose_place_another_takes_is_told_as_cancelled(db) {
        let id = db.create_account(EMAIL).await;
        let (node_id, waiting) = db.create_node().await;
        let job = NewJob::on_node(JobKind::NodeDecommission, node_id, 3).requested_by(Some(id));
        db.store.enqueue(node_id, 1, NodeStatus::Decommissioning, job.clone(), true).await.unwrap();
        let log = entries(&db).await;
        let told: Vec<_> = log[..2].iter().map(|entry| (entry.action, &entry.subject.as_ref().unwrap().id)).collect();
        assert_eq!(told, [
            (AuditAction::JobRequested, &job.id.to_string()),
            (AuditAction::JobCancelRequested, &waiting.to_string()),
        ]);
    }

    async fn without_its_line_nothing_is_done(db) {
        let id = db.create_account(EMAIL).await;
        db.store.create_session(session(id, "open", &db)).await.unwrap();
        let (node_id, job_id) = db.create_node().await;
        let told = actions(&db).await;
        away(&db);
        let hash = PasswordHash::new("$argon2id$next");
        assert!(db.store.set_password(&EMAIL.parse().unwrap(), hash.clone()).await.is_err());
        assert!(db.store.create_session(session(id, "other", &db)).await.is_err());
        assert!(db.store.delete_session(&TokenHash("open".to_owned())).await.is_err());
        let cancel = db.store.request_cancel(job_id, Some(id)).await;
        let Err(StoreError::Backend(cause)) = cancel else { panic!("{cancel:?}") };
        assert!(cause.to_string().contains("audit"), "{cause}");
        let job = NewJob::on_node(JobKind::NodeDecommission, node_id, 3).requested_by(Some(id));
        let next = db.store.enqueue(node_id, 1, NodeStatus::Decommissioning, job.clone(), true).await;
        assert!(matches!(next, Err(StoreError::Backend(_))), "{next:?}");
        let node = new_node();
        let first = NewJob::on_node(JobKind::NodeProvision, node.id, 3).requested_by(Some(id));
        assert!(db.store.create(node.clone(), first, None).await.is_err());
        back(&db);
        assert_eq!(actions(&db).await, told);
        let account = db.store.account_by_email(&EMAIL.parse().unwrap()).await.unwrap().unwrap();
        assert!(account.password_hash != hash);
        assert!(db.store.session(&TokenHash("open".to_owned())).await.unwrap().is_some());
        assert!(db.store.session(&TokenHash("other".to_owned())).await.unwrap().is_none());
        assert!(!db.job(job_id).await.cancel_requested);
        assert!(JobCatalog::job(&db.store, job.id).await.unwrap().is_none());
        assert_eq!(db.node(node_id).await.status, NodeStatus::Provisioning);
        assert!(NodeStore::node(&db.store, node.id).await.unwrap().is_none());
    }

    async fn what_cannot_be_done_is_not_told(db) {
        let id = db.create_account(EMAIL).await;
        let (node_id, _) = db.running_job().await;
        let told = actions(&db).await;
        let job = NewJob::on_node(JobKind::NodeDecommission, node_id, 3).requested_by(Some(id));
        assert!(db.store.enqueue(node_id, 1, NodeStatus::Decommissioning, job, true).await.is_err());
        assert!(db.store.create_session(session(AccountId::generate(), "x", &db)).await.is_err());
        let unknown = "else@example.test".parse().unwrap();
        assert!(!db.store.set_password(&unknown, PasswordHash::new("$argon2id$next")).await.unwrap());
        assert_eq!(actions(&db).await, told);
    }

    async fn no_line_holds_a_secret(db) {
        let id = db.create_account(EMAIL).await;
        db.store.create_session(session(id, "hash-of-a-token", &db)).await.unwrap();
        let node = new_node();
        let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3).requested_by(Some(id));
        let idempotency = Idempotency { account_id: id, key: "a-key".to_owned(), request_hash: "a-hash".to_owned() };
        db.store.create(node, job, Some(idempotency)).await.unwrap();
        db.store.set_password(&EMAIL.parse().unwrap(), PasswordHash::new("$argon2id$next")).await.unwrap();
        let text = format!("{:?}", entries(&db).await);
        for secret in ["argon2id", "hash-of-a-token", "a-key", "a-hash"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    async fn a_line_outlives_its_account_and_its_pages_follow_each_other(db) {
        let id = db.create_account(EMAIL).await;
        for token in ["a", "b", "c"] {
            db.store.create_session(session(id, token, &db)).await.unwrap();
        }
        let (_, job_id) = db.create_node().await;
        db.store.request_cancel(job_id, Some(id)).await.unwrap();
        db.execute(&format!("UPDATE jobs SET requested_by = '{id}'"));
        db.execute(&match db.raw() {
            crate::support::Raw::Sqlite(_) => format!("PRAGMA foreign_keys = ON; DELETE FROM accounts WHERE id = '{id}'"),
            crate::support::Raw::Postgres(_) => format!("DELETE FROM accounts WHERE id = '{id}'"),
        });
        let all = entries(&db).await;
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|entry| entry.account_id.is_none() && entry.email.is_none()));
        assert_eq!(db.job(job_id).await.requested_by, None);
        let mut page = PageRequest { limit: 2, after: None };
        let mut read = Vec::new();
        loop {
            let found = db.store.entries(&page).await.unwrap();
            assert!(found.items.len() <= 2);
            read.extend(found.items);
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
        assert_eq!(read, all);
    }
}
