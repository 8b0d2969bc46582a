//! Accounts and sessions.

use accounts_domain::{Account, PasswordHash, Session};
use diesel::prelude::*;
use domain_kernel::Timestamp;

use crate::error::DbError;
use crate::rows::read;
use crate::schema::{accounts, sessions};

// No Debug: the hash is not for logs.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = accounts)]
pub(crate) struct AccountRow {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) password_hash: String,
    pub(crate) created_at: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = DbError;

    fn try_from(row: AccountRow) -> Result<Self, DbError> {
        Ok(Self {
            id: read("accounts.id", &row.id)?,
            email: read("accounts.email", &row.email)?,
            password_hash: PasswordHash::new(row.password_hash),
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}

// No Debug: the hash is not for logs.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions)]
pub(crate) struct SessionRow {
    pub(crate) token_hash: String,
    pub(crate) account_id: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
}

impl SessionRow {
    /// The session with the address of its account.
    pub(crate) fn with_email(self, email: &str) -> Result<Session, DbError> {
        Ok(Session {
            account_id: read("sessions.account_id", &self.account_id)?,
            email: read("accounts.email", email)?,
            created_at: Timestamp::from_micros(self.created_at),
            expires_at: Timestamp::from_micros(self.expires_at),
        })
    }
}
