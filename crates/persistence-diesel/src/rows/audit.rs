//! Lines of the audit log.

use accounts_domain::{AuditEntry, AuditSubject, Email};
use diesel::prelude::*;
use domain_kernel::Timestamp;

use crate::error::DbError;
use crate::rows::{read, read_optional};
use crate::schema::audit;

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = audit)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    pub(crate) at: i64,
    pub(crate) account_id: Option<String>,
    pub(crate) action: String,
    pub(crate) subject_kind: Option<String>,
    pub(crate) subject_id: Option<String>,
    pub(crate) client_address: Option<String>,
    pub(crate) detail: Option<String>,
}

impl AuditRow {
    /// The line with the addresses of the accounts that it names, as far as `email_of` knows them.
    pub(crate) fn with_emails(self, email_of: impl Fn(&str) -> Option<Email>) -> Result<AuditEntry, DbError> {
        let subject = match (self.subject_kind, self.subject_id) {
            (Some(kind), Some(id)) => Some(AuditSubject {
                kind: read("audit.subject_kind", &kind)?,
                email: email_of(&id),
                id,
            }),
            _ => None,
        };
        Ok(AuditEntry {
            id: self.id,
            at: Timestamp::from_micros(self.at),
            account_id: read_optional("audit.account_id", self.account_id.as_deref())?,
            email: self.account_id.as_deref().and_then(email_of),
            action: read("audit.action", &self.action)?,
            subject,
            client_address: self.client_address,
            detail: read_optional("audit.detail", self.detail.as_deref())?,
        })
    }
}
