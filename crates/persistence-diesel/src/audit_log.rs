//! The one way in which lines of the audit log are written, always in the transaction of what they tell, and how they
//! are read.

use std::collections::HashMap;

use ::jobs::{Page, PageRequest};
use accounts_domain::{AccountStoreError, AuditAction, AuditEntry, AuditLog, AuditSubjectKind, Email};
use async_trait::async_trait;
use diesel::prelude::*;
use domain_kernel::Timestamp;
use serde_json::{Value, json};

use crate::Database;
use crate::connection::{AnyBackend, AnyConnection};
use crate::error::DbError;
use crate::rows::{AuditRow, JobRow, read};
use crate::schema::{accounts, audit};

/// A line to be written. `detail` never holds a secret, nor what was typed into a login.
#[derive(Debug, Default)]
pub(crate) struct NewLine<'a> {
    pub(crate) account_id: Option<&'a str>,
    pub(crate) subject: Option<(AuditSubjectKind, &'a str)>,
    pub(crate) client_address: Option<&'a str>,
    pub(crate) detail: Option<Value>,
}

pub(crate) fn write(
    connection: &mut AnyConnection,
    now: Timestamp,
    action: AuditAction,
    line: NewLine<'_>,
) -> Result<(), DbError> {
    diesel::insert_into(audit::table)
        .values((
            audit::at.eq(now.as_micros()),
            audit::account_id.eq(line.account_id),
            audit::action.eq(action.as_str()),
            audit::subject_kind.eq(line.subject.map(|(kind, _)| kind.as_str())),
            audit::subject_id.eq(line.subject.map(|(_, id)| id)),
            audit::client_address.eq(line.client_address),
            audit::detail.eq(line.detail.map(|detail| detail.to_string())),
        ))
        .execute(connection)?;
    Ok(())
}

/// Writes what an account did to a job, with `{"kind", "node_id"?, "site_id"?, "environment_id"?}`. What the system does by itself is no line.
pub(crate) fn job(
    connection: &mut AnyConnection,
    now: Timestamp,
    action: AuditAction,
    job: &JobRow,
    by: Option<&str>,
) -> Result<(), DbError> {
    if by.is_none() {
        return Ok(());
    }
    let mut detail = json!({"kind": job.kind});
    let ids = [
        ("node_id", &job.node_id),
        ("site_id", &job.site_id),
        ("environment_id", &job.environment_id),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            detail[name] = id.as_str().into();
        }
    }
    let line = NewLine {
        account_id: by,
        subject: Some((AuditSubjectKind::Job, &job.id)),
        detail: Some(detail),
        ..NewLine::default()
    };
    write(connection, now, action, line)
}

#[async_trait]
impl AuditLog for Database {
    async fn entries(&self, page: &PageRequest) -> Result<Page<AuditEntry>, AccountStoreError> {
        let page = page.clone();
        let found = self.read(move |connection| {
            let mut query = audit::table
                .select(AuditRow::as_select())
                .order(audit::id.desc())
                .limit(i64::from(page.limit) + 1)
                .into_boxed::<AnyBackend>();
            if let Some(after) = &page.after {
                query = query.filter(audit::id.lt(read::<i64>("the cursor of the audit log", after)?));
            }
            let rows: Vec<AuditRow> = query.load(connection)?;
            let emails = emails_of(connection, &rows)?;
            let entries = rows
                .into_iter()
                .map(|row| row.with_emails(|id| emails.get(id).cloned()));
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            Ok(Page::from_overfull(entries, page.limit, |entry| entry.id.to_string()))
        });
        Ok(found.await?)
    }
}

/// The addresses of the accounts that these lines name. Ids of other things are not found among accounts.
fn emails_of(connection: &mut AnyConnection, rows: &[AuditRow]) -> Result<HashMap<String, Email>, DbError> {
    let named = rows.iter().flat_map(|row| [&row.account_id, &row.subject_id]);
    let ids: Vec<&str> = named.filter_map(Option::as_deref).collect();
    let found: Vec<(String, String)> = accounts::table
        .filter(accounts::id.eq_any(ids))
        .select((accounts::id, accounts::email))
        .load(connection)?;
    let emails = found
        .into_iter()
        .map(|(id, email)| Ok((id, read("accounts.email", &email)?)));
    emails.collect()
}
