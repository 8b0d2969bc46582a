//! The audit log: who asked for what, and when. Each line is written in the transaction of what it tells, so that there
//! is neither the one without the other.

use async_trait::async_trait;
use domain_kernel::{AccountId, Timestamp};
use jobs::{Page, PageRequest, text_enum};

use crate::{AccountStoreError, Email};

text_enum!(
    /// What was done.
    AuditAction {
        /// An account was made, on the command line.
        AccountCreated = "account.created",
        /// An account's password was replaced and its sessions were ended, on the command line.
        PasswordChanged = "account.password_changed",
        /// Somebody logged in.
        SessionOpened = "session.opened",
        /// Somebody logged out.
        SessionClosed = "session.closed",
        /// A login was refused: no such account, or the wrong password.
        LoginRefused = "login.refused",
        /// Logins were refused without a look at the password, because too many had failed before. One line for each
        /// time that this began, not for each try.
        LoginThrottled = "login.throttled",
        /// Refused logins from one address get no line of their own any more, because there were too many for accounts
        /// that do not exist. One line for each 15 minutes in which that goes on.
        LoginRefusalsDropped = "login.refusals_dropped",
        /// A job was asked for.
        JobRequested = "job.requested",
        /// A job was asked to end, or was ended because another took its place.
        JobCancelRequested = "job.cancel_requested",
        /// A host key was pinned for a node in place of another.
        HostKeyPinned = "node.host_key_pinned",
        /// Somebody was shown an environment's WordPress login.
        LoginShown = "environment.login_shown",
        /// A failed site or environment was found to work again.
        Reset = "environment.reset",
        /// The schedule of an environment's backups was changed.
        BackupScheduled = "environment.backup_scheduled",
        /// A backup was given up.
        BackupExpired = "backup.expired",
    }
);

text_enum!(
    /// What a line can be about.
    AuditSubjectKind {
        /// An account.
        Account = "account",
        /// A job.
        Job = "job",
        /// A node.
        Node = "node",
        /// An environment.
        Environment = "environment",
        /// A backup.
        Backup = "backup",
    }
);

/// What a line is about. It may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSubject {
    /// What it is.
    pub kind: AuditSubjectKind,
    /// Its id.
    pub id: String,
    /// An account's address.
    pub email: Option<Email>,
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place in the log; later lines have higher ones.
    pub id: i64,
    /// When it was done.
    pub at: Timestamp,
    /// The account that did it. `None`: the command line, a login that nobody was let in by, or the account is gone.
    pub account_id: Option<AccountId>,
    /// That account's address.
    pub email: Option<Email>,
    /// What was done.
    pub action: AuditAction,
    /// What it was done to.
    pub subject: Option<AuditSubject>,
    /// The client's address, for logins.
    pub client_address: Option<String>,
    /// More about it: an object. It holds no secret, and nothing that was typed into a login.
    pub detail: Option<serde_json::Value>,
}

/// Reads the audit log. What is written to it is written by the stores, with what it tells.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Its lines, newest first.
    async fn entries(&self, page: &PageRequest) -> Result<Page<AuditEntry>, AccountStoreError>;
}
