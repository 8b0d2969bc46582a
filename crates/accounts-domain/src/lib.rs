//! Accounts: who may operate Pressluft, their sessions, and what a store and a hasher must do for them.

mod account;
mod store;

pub use account::{Account, Email, EmailError, PasswordHash, Session, SessionToken, TokenHash};
pub use store::{AccountStore, AccountStoreError, HashError, NewAccount, NewSession, PasswordHasher, TokenSource};
