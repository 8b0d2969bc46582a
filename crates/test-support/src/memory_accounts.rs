//! Accounts and sessions in memory, with a hasher and a source of tokens that cost nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounts_domain::{
    Account, AccountStore, AccountStoreError, Email, HashError, NewAccount, NewSession, PasswordHash, PasswordHasher,
    RefusedLogin, Session, SessionToken, TokenHash, TokenSource,
};
use async_trait::async_trait;
use domain_kernel::{AccountId, Clock, Secret};

/// Accounts in memory.
pub struct MemoryAccounts {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    accounts: Vec<Account>,
    sessions: Vec<(TokenHash, Session)>,
    refused: Vec<RefusedLogin>,
    opened_from: Vec<String>,
}

impl MemoryAccounts {
    /// No accounts yet; `clock` tells which sessions have ended.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            table: Mutex::new(Table::default()),
        }
    }

    /// How many sessions are kept, those that have ended included.
    pub fn sessions_kept(&self) -> usize {
        self.table().sessions.len()
    }

    /// The refused logins that were to be written to the audit log, in order.
    pub fn refused_logins(&self) -> Vec<RefusedLogin> {
        self.table().refused.clone()
    }

    /// The clients' addresses that sessions were opened from, in order.
    pub fn opened_from(&self) -> Vec<String> {
        self.table().opened_from.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AccountStore for MemoryAccounts {
    async fn create_account(&self, new: NewAccount) -> Result<(), AccountStoreError> {
        let mut table = self.table();
        if table.accounts.iter().any(|account| account.email == new.email) {
            return Err(AccountStoreError::Duplicate);
        }
        table.accounts.push(Account {
            id: new.id,
            email: new.email,
            password_hash: new.password_hash,
            created_at: self.clock.now(),
        });
        Ok(())
    }

    async fn account_by_email(&self, email: &Email) -> Result<Option<Account>, AccountStoreError> {
        let table = self.table();
        Ok(table.accounts.iter().find(|account| account.email == *email).cloned())
    }

    async fn account_email(&self, id: AccountId) -> Result<Option<Email>, AccountStoreError> {
        let table = self.table();
        let found = table.accounts.iter().find(|account| account.id == id);
        Ok(found.map(|account| account.email.clone()))
    }

    async fn account_count(&self) -> Result<u64, AccountStoreError> {
        Ok(self.table().accounts.len() as u64)
    }

    async fn set_password(&self, email: &Email, hash: PasswordHash) -> Result<bool, AccountStoreError> {
        let mut table = self.table();
        let Some(account) = table.accounts.iter_mut().find(|account| account.email == *email) else {
            return Ok(false);
        };
        account.password_hash = hash;
        let id = account.id;
        table.sessions.retain(|(_, session)| session.account_id != id);
        Ok(true)
    }

    async fn create_session(&self, new: NewSession) -> Result<(), AccountStoreError> {
        let now = self.clock.now();
        let mut table = self.table();
        table.sessions.retain(|(_, session)| session.expires_at > now);
        let account = table.accounts.iter().find(|account| account.id == new.account_id);
        let email = account.map(|account| account.email.clone());
        let email = email.ok_or_else(|| AccountStoreError::Backend("there is no such account".into()))?;
        let session = Session {
            account_id: new.account_id,
            email,
            created_at: now,
            expires_at: new.expires_at,
        };
        table.sessions.push((new.token_hash, session));
        table.opened_from.push(new.client_address);
        Ok(())
    }

    async fn session(&self, token: &TokenHash) -> Result<Option<Session>, AccountStoreError> {
        let now = self.clock.now();
        let table = self.table();
        let found = table.sessions.iter().find(|(hash, _)| hash == token);
        Ok(found
            .map(|(_, session)| session.clone())
            .filter(|session| session.expires_at > now))
    }

    async fn delete_session(&self, token: &TokenHash) -> Result<(), AccountStoreError> {
        self.table().sessions.retain(|(hash, _)| hash != token);
        Ok(())
    }

    async fn record_refused_login(&self, refused: RefusedLogin) -> Result<(), AccountStoreError> {
        self.table().refused.push(refused);
        Ok(())
    }
}

/// A hasher whose hash of a password is the password behind a word. It gives way, and counts.
#[derive(Default)]
pub struct PlainHasher {
    verified: AtomicU64,
}

impl PlainHasher {
    /// How often a password was compared, with or without an account.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::SeqCst)
    }
}

fn plain(password: &Secret) -> PasswordHash {
    PasswordHash::new(format!("plain:{}", password.expose()))
}

#[async_trait]
impl PasswordHasher for PlainHasher {
    async fn hash(&self, password: Secret) -> Result<PasswordHash, HashError> {
        Ok(plain(&password))
    }

    async fn verify(&self, password: Secret, hash: Option<PasswordHash>) -> Result<bool, HashError> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(hash == Some(plain(&password)))
    }
}

/// Tokens that are numbered.
#[derive(Default)]
pub struct NumberedTokens {
    made: AtomicU64,
}

impl TokenSource for NumberedTokens {
    fn generate(&self) -> Result<SessionToken, HashError> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        Ok(SessionToken(Secret::new(format!("{number:064x}"))))
    }

    fn hash(&self, token: &SessionToken) -> TokenHash {
        TokenHash(format!("hash-of-{}", token.0.expose()))
    }
}
