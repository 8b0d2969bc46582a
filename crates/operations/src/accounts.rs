//! Logging in and out, and making accounts.

use std::sync::Arc;
use std::time::Duration;

use accounts_domain::{
    AccountStore, Email, NewAccount, NewSession, PasswordHasher, Session, SessionToken, TokenSource,
};
use domain_kernel::{AccountId, Clock, Secret, Timestamp};

use crate::UseCaseError;
use crate::throttle::LoginThrottle;

/// How long a session lasts.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Passwords have at least this many characters.
const MIN_PASSWORD: usize = 12;

/// Longer passwords are refused, so that hashing costs what it should.
const MAX_PASSWORD: usize = 1024;

/// A session that was just opened.
pub struct OpenedSession {
    /// The cookie's value.
    pub token: SessionToken,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The use cases of accounts.
pub struct Accounts {
    store: Arc<dyn AccountStore>,
    hasher: Arc<dyn PasswordHasher>,
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    throttle: LoginThrottle,
}

impl Accounts {
    /// The use cases over these adapters.
    pub fn new(
        store: Arc<dyn AccountStore>,
        hasher: Arc<dyn PasswordHasher>,
        tokens: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            hasher,
            tokens,
            clock,
            throttle: LoginThrottle::default(),
        }
    }

    /// Makes an account.
    pub async fn create(&self, email: &str, password: Secret) -> Result<AccountId, UseCaseError> {
        let email: Email = email
            .parse()
            .map_err(|error| UseCaseError::Invalid(format!("`email` is {error}.")))?;
        check_password(&password)?;
        let id = AccountId::generate();
        let password_hash = self.hasher.hash(password).await?;
        self.store
            .create_account(NewAccount {
                id,
                email,
                password_hash,
            })
            .await?;
        Ok(id)
    }

    /// Replaces an account's password and ends its sessions.
    pub async fn set_password(&self, email: &str, password: Secret) -> Result<(), UseCaseError> {
        let email: Email = email
            .parse()
            .map_err(|error| UseCaseError::Invalid(format!("`email` is {error}.")))?;
        check_password(&password)?;
        let hash = self.hasher.hash(password).await?;
        if self.store.set_password(&email, hash).await? {
            Ok(())
        } else {
            Err(UseCaseError::NotFound("account"))
        }
    }

    /// Whether there is any account.
    pub async fn any(&self) -> Result<bool, UseCaseError> {
        Ok(self.store.account_count().await? > 0)
    }

    /// Opens a session. `from` is where the client is, for the throttle, which counts failures only.
    pub async fn login(&self, email: &str, password: Secret, from: &str) -> Result<OpenedSession, UseCaseError> {
        const REFUSED: UseCaseError = UseCaseError::Unauthorized("The e-mail address or the password is wrong.");
        // Text that is no address cannot have an account; it costs the same time as one that has none.
        let email: Option<Email> = email.parse().ok();
        let subject = format!("{} {from}", email.as_ref().map_or("", |email| email.as_str()));
        let now = self.clock.now();
        self.let_in(&subject, now)?;
        if password.expose().len() > MAX_PASSWORD {
            self.throttle.failed(&subject, now);
            return Err(REFUSED);
        }
        let account = match &email {
            Some(email) => self.store.account_by_email(email).await?,
            None => None,
        };
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let right = self.hasher.verify(password, hash).await?;
        // Others may have failed meanwhile: tries at the same time must not learn more than tries one after another.
        self.let_in(&subject, now)?;
        let Some(account) = account.filter(|_| right) else {
            self.throttle.failed(&subject, now);
            return Err(REFUSED);
        };
        self.throttle.succeeded(&subject);
        let token = self.tokens.generate()?;
        let expires_at = self.clock.now().plus(SESSION_LIFETIME);
        let session = NewSession {
            token_hash: self.tokens.hash(&token),
            account_id: account.id,
            expires_at,
        };
        self.store.create_session(session).await?;
        Ok(OpenedSession { token, expires_at })
    }

    /// Refuses a subject that has failed too often.
    fn let_in(&self, subject: &str, now: Timestamp) -> Result<(), UseCaseError> {
        match self.throttle.wait(subject, now) {
            None => Ok(()),
            Some(wait) => Err(UseCaseError::TooManyRequests {
                retry_after_s: wait.as_secs().max(1),
            }),
        }
    }

    /// The session with a token.
    pub async fn session(&self, token: &SessionToken) -> Result<Session, UseCaseError> {
        let session = self.store.session(&self.tokens.hash(token)).await?;
        session.ok_or(UseCaseError::Unauthorized("There is no valid session. Log in first."))
    }

    /// Ends a session. No error where there is none.
    pub async fn logout(&self, token: &SessionToken) -> Result<(), UseCaseError> {
        Ok(self.store.delete_session(&self.tokens.hash(token)).await?)
    }
}

fn check_password(password: &Secret) -> Result<(), UseCaseError> {
    if password.expose().chars().count() < MIN_PASSWORD {
        return Err(UseCaseError::Invalid(format!(
            "A password has at least {MIN_PASSWORD} characters."
        )));
    }
    if password.expose().len() > MAX_PASSWORD {
        return Err(UseCaseError::Invalid(format!(
            "A password has at most {MAX_PASSWORD} bytes."
        )));
    }
    Ok(())
}
