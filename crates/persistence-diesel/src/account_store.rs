//! Accounts and sessions.

use accounts_domain::{
    Account, AccountStore, AccountStoreError, AuditAction, AuditSubjectKind, Email, NewAccount, NewSession,
    PasswordHash, Refusal, RefusedLogin, Session, TokenHash,
};
use async_trait::async_trait;
use diesel::prelude::*;
use domain_kernel::AccountId;
use serde_json::json;

use crate::Database;
use crate::audit_log::{self, NewLine};
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
            let line = NewLine {
                subject: Some((AuditSubjectKind::Account, &row.id)),
                detail: Some(json!({"email": row.email})),
                ..NewLine::default()
            };
            audit_log::write(connection, now, AuditAction::AccountCreated, line)
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

    async fn account_email(&self, id: AccountId) -> Result<Option<Email>, AccountStoreError> {
        let found = self.read(move |connection| {
            let row = accounts::table
                .find(id.to_string())
                .select(AccountRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(Account::try_from).transpose()?.map(|account| account.email))
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
        let changed = self.write(move |connection, now| {
            let account = accounts::table.filter(accounts::email.eq(email.as_str()));
            let id: Option<String> = account.select(accounts::id).first(connection).optional()?;
            let Some(id) = id else {
                return Ok(false);
            };
            diesel::update(accounts::table.find(&id))
                .set(accounts::password_hash.eq(hash.as_str()))
                .execute(connection)?;
            let ended = diesel::delete(sessions::table.filter(sessions::account_id.eq(&id))).execute(connection)?;
            let line = NewLine {
                subject: Some((AuditSubjectKind::Account, &id)),
                detail: Some(json!({"sessions_ended": ended})),
                ..NewLine::default()
            };
            audit_log::write(connection, now, AuditAction::PasswordChanged, line)?;
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
            let line = NewLine {
                account_id: Some(&row.account_id),
                client_address: Some(&session.client_address),
                ..NewLine::default()
            };
            audit_log::write(connection, now, AuditAction::SessionOpened, line)
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
        let deleted = self.write(move |connection, now| {
            let session = sessions::table.find(token);
            let owner = session.clone().select(sessions::account_id);
            let account_id: Option<String> = owner.first(connection).optional()?;
            let Some(account_id) = account_id else {
                return Ok(());
            };
            diesel::delete(session).execute(connection)?;
            let line = NewLine {
                account_id: Some(&account_id),
                ..NewLine::default()
            };
            audit_log::write(connection, now, AuditAction::SessionClosed, line)
        });
        Ok(deleted.await?)
    }

    async fn record_refused_login(&self, refused: RefusedLogin) -> Result<(), AccountStoreError> {
        let written = self.write(move |connection, now| {
            let account_id = refused.account_id.map(|id| id.to_string());
            let line = NewLine {
                subject: account_id.as_deref().map(|id| (AuditSubjectKind::Account, id)),
                client_address: Some(&refused.client_address),
                ..NewLine::default()
            };
            let action = match refused.refusal {
                Refusal::Wrong => AuditAction::LoginRefused,
                Refusal::Throttled => AuditAction::LoginThrottled,
                Refusal::Dropped => AuditAction::LoginRefusalsDropped,
            };
            audit_log::write(connection, now, action, line)
        });
        Ok(written.await?)
    }
}
