//! Accounts and sessions.

use accounts_domain::{
    Account, AccountStore, AccountStoreError, Email, NewAccount, NewSession, PasswordHash, Session, TokenHash,
};
use async_trait::async_trait;
use diesel::prelude::*;

use crate::Database;
use crate::rows::{AccountRow, SessionRow};
use crate::schema::{accounts, sessions};

#[async_trait]
impl AccountStore for Database {
    async fn create_account(&self, account: NewAccount) -> Result<(), AccountStoreError> {
        let written = self.write(move |connection, now| {
            let row = AccountRow {
                id: account.id.to_string(),
                email: account.email.as_str().to_owned(),
                password_hash: account.password_hash.as_str().to_owned(),
                created_at: now.as_micros(),
            };
            diesel::insert_into(accounts::table).values(&row).execute(connection)?;
            Ok(())
        });
        written.await.map_err(|error| match error {
            taken if taken.is_unique_violation() => AccountStoreError::Duplicate,
            error => error.into(),
        })
    }

    async fn account_by_email(&self, email: &Email) -> Result<Option<Account>, AccountStoreError> {
        let email = email.clone();
        let found = self.read(move |connection| {
            let row = accounts::table
                .filter(accounts::email.eq(email.as_str()))
                .select(AccountRow::as_select())
                .first(connection)
                .optional()?;
            row.map(Account::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn account_count(&self) -> Result<u64, AccountStoreError> {
        let count: i64 = self
            .read(|connection| Ok(accounts::table.count().get_result(connection)?))
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn set_password(&self, email: &Email, hash: PasswordHash) -> Result<bool, AccountStoreError> {
        let email = email.clone();
        let changed = self.write(move |connection, _| {
            let account = accounts::table.filter(accounts::email.eq(email.as_str()));
            let id: Option<String> = account.select(accounts::id).first(connection).optional()?;
            let Some(id) = id else {
                return Ok(false);
            };
            diesel::update(accounts::table.find(&id))
                .set(accounts::password_hash.eq(hash.as_str()))
                .execute(connection)?;
            diesel::delete(sessions::table.filter(sessions::account_id.eq(&id))).execute(connection)?;
            Ok(true)
        });
        Ok(changed.await?)
    }

    async fn create_session(&self, session: NewSession) -> Result<(), AccountStoreError> {
        let written = self.write(move |connection, now| {
            let ended = sessions::table.filter(sessions::expires_at.le(now.as_micros()));
            diesel::delete(ended).execute(connection)?;
            let row = SessionRow {
                token_hash: session.token_hash.0,
                account_id: session.account_id.to_string(),
                created_at: now.as_micros(),
                expires_at: session.expires_at.as_micros(),
            };
            diesel::insert_into(sessions::table).values(&row).execute(connection)?;
            Ok(())
        });
        Ok(written.await?)
    }

    async fn session(&self, token: &TokenHash) -> Result<Option<Session>, AccountStoreError> {
        let (token, now) = (token.0.clone(), self.now());
        let found = self.read(move |connection| {
            let row: Option<(SessionRow, String)> = sessions::table
                .inner_join(accounts::table)
                .filter(sessions::token_hash.eq(token))
                .filter(sessions::expires_at.gt(now.as_micros()))
                .select((SessionRow::as_select(), accounts::email))
                .first(connection)
                .optional()?;
            row.map(|(session, email)| session.with_email(&email)).transpose()
        });
        Ok(found.await?)
    }

    async fn delete_session(&self, token: &TokenHash) -> Result<(), AccountStoreError> {
        let token = token.0.clone();
        let deleted = self.write(move |connection, _| {
            diesel::delete(sessions::table.find(token)).execute(connection)?;
            Ok(())
        });
        Ok(deleted.await?)
    }
}
