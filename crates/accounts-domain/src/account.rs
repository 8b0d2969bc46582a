//! An account and its sessions.

use std::fmt;
use std::str::FromStr;

use domain_kernel::{AccountId, Secret, Timestamp};

/// Why a text is not an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct EmailError;

/// An e-mail address in lower case, at most 254 characters. Only its form is checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        let (local, domain) = text.split_once('@').ok_or(EmailError)?;
        let whole = text.len() <= 254 && !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        if whole && !text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Ok(Self(text.to_lowercase()))
        } else {
            Err(EmailError)
        }
    }
}

/// A password's hash in PHC form. Not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a PHC text.
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

/// An operator's account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The address that the operator logs in with.
    pub email: Email,
    /// The password's hash.
    pub password_hash: PasswordHash,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The secret in a session's cookie: 32 random bytes as hexadecimal text.
#[derive(Debug, Clone)]
pub struct SessionToken(pub Secret);

/// SHA-256 of a session token, hexadecimal: all that the database knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash(pub String);

/// A session as stored.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose it is.
    pub account_id: AccountId,
    /// The account's address.
    pub email: Email,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_lower_case_and_other_text_is_refused() {
        assert_eq!(
            " Ops@Example.Test ".parse::<Email>().unwrap().as_str(),
            "ops@example.test"
        );
        for text in ["", "a", "@b", "a@", "a@b@c", "a b@c", &format!("{}@b", "x".repeat(254))] {
            assert_eq!(text.parse::<Email>(), Err(EmailError), "{text:?}");
        }
    }
}
