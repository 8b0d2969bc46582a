//! Accounts: who may operate Pressluft, their sessions, what was done by whom, and what a store and a hasher must do for
//! them.
//! What a secret box must do, for secrets that have to be read again, is here too.

mod account;
mod audit;
mod secret_box;
mod store;

pub use account::{Account, Email, EmailError, PasswordHash, Session, SessionToken, TokenHash};
pub use audit::{AuditAction, AuditEntry, AuditLog, AuditSubject, AuditSubjectKind};
pub use secret_box::{SealedSecret, SecretBox, SecretBoxError};
pub use store::{
    AccountStore, AccountStoreError, HashError, NewAccount, NewSession, PasswordHasher, Refusal, RefusedLogin,
    TokenSource,
};
