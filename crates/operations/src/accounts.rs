//! Logging in and out, and making accounts.

use std::sync::Arc;
use std::time::Duration;

use accounts_domain::{
    Account, AccountStore, Email, NewAccount, NewSession, PasswordHasher, Refusal, RefusedLogin, Session, SessionToken,
    TokenSource,
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

/// How many refused logins for accounts that do not exist are written to the audit log within 15 minutes, of one client.
/// Whoever tries many e-mail addresses is slowed down by the hashing alone, and must not be able to fill the disk. Of an
/// account that exists every line is written: the throttle bounds them.
const AUDITED_REFUSALS: usize = 20;

/// A session that was just opened.
pub struct OpenedSession {
    /// The cookie's value.
    pub token: SessionToken,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A login that is looked at.
struct Tried<'a> {
    /// What its failures are counted by.
    subject: &'a str,
    email: Option<&'a Email>,
    from: &'a str,
}

/// The use cases of accounts.
pub struct Accounts {
    store: Arc<dyn AccountStore>,
    hasher: Arc<dyn PasswordHasher>,
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    throttle: LoginThrottle,
    audited: LoginThrottle,
    told_dropped: LoginThrottle,
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
            audited: LoginThrottle::new(AUDITED_REFUSALS),
            told_dropped: LoginThrottle::new(1),
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

    /// The address of an account, where there is one.
    pub async fn email(&self, id: AccountId) -> Result<Option<Email>, UseCaseError> {
        Ok(self.store.account_email(id).await?)
    }

    /// Whether there is any account.
    pub async fn any(&self) -> Result<bool, UseCaseError> {
        Ok(self.store.account_count().await? > 0)
    }

    /// Opens a session. `from` is the client's address, for the audit log and the throttle, which counts failures only.
    pub async fn login(&self, email: &str, password: Secret, from: &str) -> Result<OpenedSession, UseCaseError> {
        // Text that is no address cannot have an account; it costs the same time as one that has none.
        let email: Option<Email> = email.parse().ok();
        let subject = format!("{} {from}", email.as_ref().map_or("", |email| email.as_str()));
        let tried = Tried {
            subject: &subject,
            email: email.as_ref(),
            from,
        };
        let now = self.clock.now();
        self.let_in(&tried, now).await?;
        if password.expose().len() > MAX_PASSWORD {
            return Err(self.refused(&tried, now).await?);
        }
        let account = self.account(tried.email).await?;
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let right = self.hasher.verify(password, hash).await?;
        // Others may have failed meanwhile: tries at the same time must not learn more than tries one after another.
        self.let_in(&tried, now).await?;
        let Some(account) = account.filter(|_| right) else {
            return Err(self.refused(&tried, now).await?);
        };
        self.throttle.succeeded(&subject);
        let token = self.tokens.generate()?;
        let expires_at = self.clock.now().plus(SESSION_LIFETIME);
        let session = NewSession {
            token_hash: self.tokens.hash(&token),
            account_id: account.id,
            expires_at,
            client_address: from.to_owned(),
        };
        self.store.create_session(session).await?;
        Ok(OpenedSession { token, expires_at })
    }

    async fn account(&self, email: Option<&Email>) -> Result<Option<Account>, UseCaseError> {
        match email {
            Some(email) => Ok(self.store.account_by_email(email).await?),
            None => Ok(None),
        }
    }

    /// Refuses a subject that has failed too often. Only the first refusal of a wait is written to the audit log: the
    /// others tell nothing new, and cost a client nothing.
    async fn let_in(&self, tried: &Tried<'_>, now: Timestamp) -> Result<(), UseCaseError> {
        let Some(throttled) = self.throttle.wait(tried.subject, now) else {
            return Ok(());
        };
        if throttled.first {
            self.record_refusal(tried, Refusal::Throttled, now).await?;
        }
        Err(UseCaseError::TooManyRequests {
            retry_after_s: throttled.wait.as_secs().max(1),
        })
    }

    /// Counts a failed login, and gives the answer to it.
    async fn refused(&self, tried: &Tried<'_>, now: Timestamp) -> Result<UseCaseError, UseCaseError> {
        // Counted before anything is waited for, so that tries at the same time all see it.
        self.throttle.failed(tried.subject, now);
        self.record_refusal(tried, Refusal::Wrong, now).await?;
        Ok(UseCaseError::Unauthorized(
            "The e-mail address or the password is wrong.",
        ))
    }

    /// Writes a refused login to the audit log. Where there were too many for accounts that do not exist, one line says
    /// that the others are dropped.
    async fn record_refusal(&self, tried: &Tried<'_>, refusal: Refusal, now: Timestamp) -> Result<(), UseCaseError> {
        let account = self.account(tried.email).await?;
        let refusal = match &account {
            Some(_) => refusal,
            None if self.audited.wait(tried.from, now).is_none() => {
                self.audited.failed(tried.from, now);
                refusal
            }
            None if self.told_dropped.wait(tried.from, now).is_none() => {
                self.told_dropped.failed(tried.from, now);
                Refusal::Dropped
            }
            None => return Ok(()),
        };
        let refused = RefusedLogin {
            account_id: account.map(|account| account.id),
            client_address: tried.from.to_owned(),
            refusal,
        };
        Ok(self.store.record_refused_login(refused).await?)
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

/// Whether a password may be set: by its length alone.
pub fn check_password(password: &Secret) -> Result<(), UseCaseError> {
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
