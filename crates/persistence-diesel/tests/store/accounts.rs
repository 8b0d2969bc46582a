//! Accounts and sessions.

use accounts_domain::{AccountStore, AccountStoreError, Email, NewAccount, NewSession, PasswordHash, TokenHash};
use domain_kernel::{AccountId, Timestamp};

use crate::support::{SECOND, TestDatabase, store_tests};

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

fn token(text: &str) -> TokenHash {
    TokenHash(text.to_owned())
}

async fn open_session(db: &TestDatabase, account_id: AccountId, hash: &str, expires_at: Timestamp) {
    let session = NewSession {
        token_hash: token(hash),
        account_id,
        expires_at,
        client_address: "192.0.2.1".to_owned(),
    };
    db.store.create_session(session).await.unwrap();
}

store_tests! {
    async fn an_account_is_found_by_its_address(db) {
        assert_eq!(db.store.account_count().await.unwrap(), 0);
        let id = db.create_account("ops@example.test").await;
        let account = db.store.account_by_email(&email("OPS@example.test")).await.unwrap().unwrap();
        assert_eq!((account.id, account.email, account.created_at), (id, email("ops@example.test"), db.now()));
        assert_eq!(account.password_hash.as_str(), "$argon2id$first");
        assert!(db.store.account_by_email(&email("else@example.test")).await.unwrap().is_none());
        assert_eq!(db.store.account_email(id).await.unwrap(), Some(email("ops@example.test")));
        assert_eq!(db.store.account_email(AccountId::generate()).await.unwrap(), None);
        assert_eq!(db.store.account_count().await.unwrap(), 1);
    }

    async fn an_address_has_one_account(db) {
        db.create_account("ops@example.test").await;
        let again = NewAccount {
            id: AccountId::generate(),
            email: email("ops@example.test"),
            password_hash: PasswordHash::new("$argon2id$second"),
        };
        let refused = db.store.create_account(again).await;
        assert!(matches!(refused, Err(AccountStoreError::Duplicate)), "{refused:?}");
        assert_eq!(db.store.account_count().await.unwrap(), 1);
    }

    async fn a_session_is_found_until_it_ends(db) {
        let id = db.create_account("ops@example.test").await;
        open_session(&db, id, "a", db.now().plus(SECOND)).await;
        let session = db.store.session(&token("a")).await.unwrap().unwrap();
        assert_eq!((session.account_id, session.email), (id, email("ops@example.test")));
        assert_eq!((session.created_at, session.expires_at), (db.now(), db.now().plus(SECOND)));
        assert!(db.store.session(&token("b")).await.unwrap().is_none());
        db.clock.advance(SECOND);
        assert!(db.store.session(&token("a")).await.unwrap().is_none());
    }

    async fn a_new_session_removes_those_that_have_ended(db) {
        let id = db.create_account("ops@example.test").await;
        open_session(&db, id, "old", db.now().plus(SECOND)).await;
        db.clock.advance(SECOND);
        open_session(&db, id, "new", db.now().plus(SECOND)).await;
        // The old one's hash can be written again: its row is gone.
        open_session(&db, id, "old", db.now().plus(SECOND)).await;
        assert!(db.store.session(&token("new")).await.unwrap().is_some());
    }

    async fn a_session_can_be_ended_and_ended_again(db) {
        let id = db.create_account("ops@example.test").await;
        open_session(&db, id, "a", db.now().plus(SECOND)).await;
        db.store.delete_session(&token("a")).await.unwrap();
        db.store.delete_session(&token("a")).await.unwrap();
        assert!(db.store.session(&token("a")).await.unwrap().is_none());
    }

    async fn a_new_password_ends_the_sessions_of_its_account_only(db) {
        let one = db.create_account("one@example.test").await;
        let two = db.create_account("two@example.test").await;
        open_session(&db, one, "a", db.now().plus(SECOND)).await;
        open_session(&db, two, "b", db.now().plus(SECOND)).await;
        let hash = PasswordHash::new("$argon2id$second");
        assert!(db.store.set_password(&email("one@example.test"), hash.clone()).await.unwrap());
        assert!(!db.store.set_password(&email("else@example.test"), hash.clone()).await.unwrap());
        let account = db.store.account_by_email(&email("one@example.test")).await.unwrap().unwrap();
        assert!(account.password_hash == hash);
        assert!(db.store.session(&token("a")).await.unwrap().is_none());
        assert!(db.store.session(&token("b")).await.unwrap().is_some());
    }

    async fn a_session_of_no_account_is_refused_by_the_database(db) {
        let session = NewSession {
            token_hash: token("a"),
            account_id: AccountId::generate(),
            expires_at: db.now().plus(SECOND),
            client_address: "192.0.2.1".to_owned(),
        };
        let refused = db.store.create_session(session).await;
        assert!(matches!(refused, Err(AccountStoreError::Backend(_))), "{refused:?}");
    }
}
