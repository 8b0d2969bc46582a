//! The use cases of accounts.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use accounts_domain::{AccountStore, Refusal};
use domain_kernel::{ApiErrorCode, Secret};
use futures_util::future::join_all;
use operations::{Accounts, SESSION_LIFETIME, UseCaseError};
use test_support::{ManualClock, MemoryAccounts, NumberedTokens, PlainHasher};

const EMAIL: &str = "ops@example.test";
const PASSWORD: &str = "correct horse";
const WINDOW: Duration = Duration::from_secs(15 * 60);

struct Desk {
    clock: Arc<ManualClock>,
    store: Arc<MemoryAccounts>,
    hasher: Arc<PlainHasher>,
    accounts: Accounts,
}

/// An installation with one account.
async fn desk() -> Desk {
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(MemoryAccounts::new(clock.clone()));
    let hasher = Arc::new(PlainHasher::default());
    let tokens = Arc::new(NumberedTokens::default());
    let accounts = Accounts::new(store.clone(), hasher.clone(), tokens, clock.clone());
    assert!(!accounts.any().await.unwrap());
    accounts.create(EMAIL, Secret::new(PASSWORD)).await.unwrap();
    Desk {
        clock,
        store,
        hasher,
        accounts,
    }
}

impl Desk {
    async fn login(&self, password: &str, from: &str) -> Result<(), ApiErrorCode> {
        let opened = self.accounts.login(EMAIL, Secret::new(password), from).await;
        opened.map(|_| ()).map_err(|error| error.code())
    }

    /// Tries addresses without an account, by their numbers.
    async fn spray(&self, numbers: Range<usize>, from: &str) {
        for number in numbers {
            let email = format!("ops{number}@example.test");
            assert!(self.accounts.login(&email, Secret::new("x"), from).await.is_err());
        }
    }

    /// How many refusals of a kind were told.
    fn told(&self, refusal: Refusal) -> usize {
        let told = self.store.refused_logins();
        told.iter().filter(|refused| refused.refusal == refusal).count()
    }
}

#[tokio::test]
async fn a_session_lasts_twelve_hours_and_a_logout_ends_it_before() {
    let desk = desk().await;
    assert!(desk.accounts.any().await.unwrap());
    let opened = desk
        .accounts
        .login(" Ops@Example.Test", Secret::new(PASSWORD), "a")
        .await
        .unwrap();
    let session = desk.accounts.session(&opened.token).await.unwrap();
    assert_eq!((session.email.as_str(), session.expires_at), (EMAIL, opened.expires_at));
    desk.clock.advance(SESSION_LIFETIME - Duration::from_micros(1));
    assert!(desk.accounts.session(&opened.token).await.is_ok());
    desk.clock.advance(Duration::from_micros(1));
    let refused = desk.accounts.session(&opened.token).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Unauthorized);

    let opened = desk.accounts.login(EMAIL, Secret::new(PASSWORD), "a").await.unwrap();
    desk.accounts.logout(&opened.token).await.unwrap();
    assert!(desk.accounts.session(&opened.token).await.is_err());
    desk.accounts.logout(&opened.token).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_answered_the_same_at_the_same_cost() {
    let desk = desk().await;
    let wrong = desk
        .accounts
        .login(EMAIL, Secret::new("wrong"), "a")
        .await
        .err()
        .unwrap();
    let unknown = desk
        .accounts
        .login("who@example.test", Secret::new(PASSWORD), "a")
        .await
        .err()
        .unwrap();
    let no_address = desk
        .accounts
        .login("nobody", Secret::new(PASSWORD), "a")
        .await
        .err()
        .unwrap();
    assert_eq!(wrong.code(), ApiErrorCode::Unauthorized);
    assert_eq!(wrong.to_string(), unknown.to_string());
    assert_eq!(wrong.to_string(), no_address.to_string());
    assert_eq!(desk.hasher.verified(), 3);
    assert_eq!(desk.store.sessions_kept(), 0);
}

#[tokio::test]
async fn the_sixth_try_after_five_failures_is_refused_even_with_the_right_password_until_the_window_ends() {
    let desk = desk().await;
    for _ in 0..5 {
        assert_eq!(desk.login("wrong", "a").await, Err(ApiErrorCode::Unauthorized));
    }
    let refused = desk
        .accounts
        .login(EMAIL, Secret::new(PASSWORD), "a")
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, UseCaseError::TooManyRequests { retry_after_s: 900 }),
        "{refused}"
    );
    assert_eq!(desk.hasher.verified(), 5, "a refused try costs nothing");
    assert_eq!(desk.login(PASSWORD, "b").await, Ok(()), "another place is not held up");
    desk.clock.advance(WINDOW);
    assert_eq!(desk.login(PASSWORD, "a").await, Ok(()));
}

#[tokio::test]
async fn logins_that_succeed_are_never_throttled_and_forget_the_failures_before_them() {
    let desk = desk().await;
    for _ in 0..20 {
        assert_eq!(desk.login(PASSWORD, "a").await, Ok(()));
    }
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(desk.login("wrong", "a").await, Err(ApiErrorCode::Unauthorized));
        }
        assert_eq!(desk.login(PASSWORD, "a").await, Ok(()));
    }
}

#[tokio::test]
async fn tries_at_the_same_time_learn_no_more_than_five_answers() {
    let desk = desk().await;
    let mut passwords = vec!["wrong"; 29];
    passwords.push(PASSWORD);
    let answers = join_all(passwords.into_iter().map(|password| desk.login(password, "a"))).await;
    let told = answers
        .iter()
        .filter(|answer| **answer == Err(ApiErrorCode::Unauthorized))
        .count();
    assert_eq!(told, 5);
    assert_eq!(answers.last(), Some(&Err(ApiErrorCode::TooManyRequests)));
}

#[tokio::test]
async fn a_password_has_12_characters_to_1024_bytes() {
    let desk = desk().await;
    for (number, (password, good)) in [
        ("x".repeat(11), false),
        ("x".repeat(12), true),
        ("ä".repeat(12), true),
        ("x".repeat(1024), true),
        ("x".repeat(1025), false),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("ops{number}@example.test");
        let made = desk.accounts.create(&email, Secret::new(&password)).await;
        assert_eq!(made.is_ok(), good, "{} bytes", password.len());
        if let Err(error) = made {
            assert_eq!(error.code(), ApiErrorCode::BadRequest);
        }
        let set = desk.accounts.set_password(EMAIL, Secret::new(&password)).await;
        assert_eq!(set.is_ok(), good, "{} bytes", password.len());
    }
}

#[tokio::test]
async fn a_password_that_is_too_long_is_refused_at_login_without_being_hashed_and_counts() {
    let desk = desk().await;
    for _ in 0..5 {
        assert_eq!(
            desk.login(&"x".repeat(1025), "a").await,
            Err(ApiErrorCode::Unauthorized)
        );
    }
    assert_eq!(desk.hasher.verified(), 0);
    assert_eq!(desk.login(PASSWORD, "a").await, Err(ApiErrorCode::TooManyRequests));
}

#[tokio::test]
async fn an_address_has_one_account_and_text_that_is_no_address_has_none() {
    let desk = desk().await;
    let again = desk
        .accounts
        .create("OPS@example.test", Secret::new(PASSWORD))
        .await
        .unwrap_err();
    assert_eq!(again.code(), ApiErrorCode::Conflict);
    let bad = desk.accounts.create("nobody", Secret::new(PASSWORD)).await.unwrap_err();
    assert_eq!(bad.code(), ApiErrorCode::BadRequest);
}

#[tokio::test]
async fn a_new_password_ends_the_accounts_sessions() {
    let desk = desk().await;
    let opened = desk.accounts.login(EMAIL, Secret::new(PASSWORD), "a").await.unwrap();
    desk.accounts
        .set_password(EMAIL, Secret::new("another password"))
        .await
        .unwrap();
    assert!(desk.accounts.session(&opened.token).await.is_err());
    assert_eq!(desk.login(PASSWORD, "a").await, Err(ApiErrorCode::Unauthorized));
    assert_eq!(desk.login("another password", "a").await, Ok(()));
    let unknown = desk
        .accounts
        .set_password("who@example.test", Secret::new(PASSWORD))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), ApiErrorCode::NotFound);
}

#[tokio::test]
async fn logins_are_told_with_the_clients_address_and_refused_ones_without_what_was_typed() {
    let desk = desk().await;
    desk.login(PASSWORD, "192.0.2.1").await.unwrap();
    assert_eq!(desk.store.opened_from(), ["192.0.2.1"]);
    assert!(desk.store.refused_logins().is_empty());
    assert!(desk.login("wrong", "192.0.2.2").await.is_err());
    for typed in ["who@example.test", PASSWORD, "correct@horse"] {
        let refused = desk.accounts.login(typed, Secret::new("x"), "192.0.2.3").await;
        assert!(refused.is_err());
    }
    assert!(desk.login(&"x".repeat(1025), "192.0.2.4").await.is_err());
    let account = desk.store.account_by_email(&EMAIL.parse().unwrap()).await.unwrap();
    let id = account.map(|account| account.id);
    let told: Vec<_> = desk.store.refused_logins();
    let told: Vec<_> = told
        .iter()
        .map(|refused| (refused.account_id, refused.client_address.as_str(), refused.refusal))
        .collect();
    assert_eq!(
        told,
        [
            (id, "192.0.2.2", Refusal::Wrong),
            (None, "192.0.2.3", Refusal::Wrong),
            (None, "192.0.2.3", Refusal::Wrong),
            (None, "192.0.2.3", Refusal::Wrong),
            (id, "192.0.2.4", Refusal::Wrong),
        ]
    );
}

#[tokio::test]
async fn only_the_first_of_the_throttled_tries_of_a_window_is_told() {
    let desk = desk().await;
    let throttled = || desk.told(Refusal::Throttled);
    for window in 1..3 {
        for _ in 0..5 {
            assert!(desk.login("wrong", "a").await.is_err());
        }
        for _ in 0..10 {
            assert_eq!(desk.login(PASSWORD, "a").await, Err(ApiErrorCode::TooManyRequests));
        }
        assert_eq!((throttled(), desk.store.refused_logins().len()), (window, 6 * window));
        desk.clock.advance(WINDOW);
    }
}

#[tokio::test]
async fn one_client_that_tries_many_addresses_does_not_fill_the_audit_log_and_one_line_says_so() {
    let desk = desk().await;
    desk.spray(0..100, "a").await;
    assert_eq!((desk.told(Refusal::Wrong), desk.told(Refusal::Dropped)), (20, 1));
    // Six tries of one address without an account: the last of them is throttled.
    for _ in 0..6 {
        let refused = desk.accounts.login("else@example.test", Secret::new("x"), "a").await;
        assert!(refused.is_err());
    }
    assert_eq!(desk.store.refused_logins().len(), 21);
    desk.spray(0..1, "b").await;
    assert_eq!(desk.told(Refusal::Wrong), 21, "another client is told");
    desk.clock.advance(WINDOW);
    desk.spray(0..100, "a").await;
    assert_eq!((desk.told(Refusal::Wrong), desk.told(Refusal::Dropped)), (41, 2));
}

#[tokio::test]
async fn the_line_about_dropped_refusals_comes_once_in_a_window_whenever_the_refusals_come() {
    let desk = desk().await;
    for minute in 0..30 {
        // Slowly first, so that afterwards a place becomes free every minute.
        let count = if minute < 15 { 1 } else { 20 };
        desk.spray(100 * minute..100 * minute + count, "a").await;
        desk.clock.advance(WINDOW / 15);
    }
    assert_eq!(desk.told(Refusal::Dropped), 1);
}

#[tokio::test]
async fn junk_does_not_hide_the_refusals_of_an_account() {
    let desk = desk().await;
    desk.spray(0..100, "a").await;
    for _ in 0..20 {
        assert!(desk.login("wrong", "a").await.is_err());
    }
    let told = desk.store.refused_logins();
    let told: Vec<_> = told.iter().filter(|refused| refused.account_id.is_some()).collect();
    assert_eq!(told.len(), 6);
    assert!(told[..5].iter().all(|refused| refused.refusal == Refusal::Wrong));
    assert_eq!(told[5].refusal, Refusal::Throttled);
}
