//! What a store and a hasher must do for accounts.

use async_trait::async_trait;
use domain_kernel::{AccountId, Secret, Timestamp};

use crate::{Account, Email, PasswordHash, Session, SessionToken, TokenHash};

/// Why a store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountStoreError {
    /// There is an account with that address.
    #[error("there is an account with that address")]
    Duplicate,
    /// The database failed.
    #[error("the database failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why hashing failed.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed or compared: {0}")]
pub struct HashError(pub String);

/// An account to be written.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its id.
    pub id: AccountId,
    /// Its address.
    pub email: Email,
    /// The password's hash.
    pub password_hash: PasswordHash,
}

/// A session to be written.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The token's hash.
    pub token_hash: TokenHash,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The address that the client logged in from, for the audit log.
    pub client_address: String,
}

/// A login that was refused, for the audit log. It has no room for what was typed: people type passwords into the field
/// of the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLogin {
    /// The account that was tried, where there is one.
    pub account_id: Option<AccountId>,
    /// The client's address.
    pub client_address: String,
    /// How it was refused.
    pub refusal: Refusal,
}

/// How a login was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such account, or the password is wrong.
    Wrong,
    /// Without a look at the password, because too many had failed before.
    Throttled,
    /// In either way. It stands for all that follow from that address and are not written.
    Dropped,
}

/// Keeps accounts and sessions. Every change is written together with its line in the audit log.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Writes an account.
    async fn create_account(&self, account: NewAccount) -> Result<(), AccountStoreError>;

    /// The account with an address.
    async fn account_by_email(&self, email: &Email) -> Result<Option<Account>, AccountStoreError>;

    /// The address of an account.
    async fn account_email(&self, id: AccountId) -> Result<Option<Email>, AccountStoreError>;

    /// How many accounts there are.
    async fn account_count(&self) -> Result<u64, AccountStoreError>;

    /// Replaces an account's password and ends its sessions. `false` where there is no such account.
    async fn set_password(&self, email: &Email, hash: PasswordHash) -> Result<bool, AccountStoreError>;

    /// Writes a session, and removes those that have ended.
    async fn create_session(&self, session: NewSession) -> Result<(), AccountStoreError>;

    /// The session with a token, unless it has ended.
    async fn session(&self, token: &TokenHash) -> Result<Option<Session>, AccountStoreError>;

    /// Ends a session. No error where there is none.
    async fn delete_session(&self, token: &TokenHash) -> Result<(), AccountStoreError>;

    /// Writes a refused login to the audit log.
    async fn record_refused_login(&self, refused: RefusedLogin) -> Result<(), AccountStoreError>;
}

/// Hashes and compares passwords, off the threads that serve requests.
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// Hashes a password.
    async fn hash(&self, password: Secret) -> Result<PasswordHash, HashError>;

    /// Whether the password is the one of the hash. Without a hash (no such account) it takes as long and says no.
    async fn verify(&self, password: Secret, hash: Option<PasswordHash>) -> Result<bool, HashError>;
}

/// Makes session tokens and their hashes.
pub trait TokenSource: Send + Sync {
    /// A new token from the system's random source.
    fn generate(&self) -> Result<SessionToken, HashError>;

    /// The hash under which a token is stored.
    fn hash(&self, token: &SessionToken) -> TokenHash;
}
