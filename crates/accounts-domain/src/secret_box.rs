//! Secrets at rest: what the database may hold of them, and who can read it.

use domain_kernel::Secret;

/// Why a secret was not sealed or not opened. No variant holds anything of the secret, and none tells more of a key
/// than its id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretBoxError {
    /// The system gave no random bytes, or the secret is too long to be sealed.
    #[error("the secret cannot be sealed: {0}")]
    Unsealable(String),
    /// The text is not of the form that sealing makes.
    #[error("this is not a sealed secret")]
    Malformed,
    /// It was sealed with a key that is not here.
    #[error("the secret was sealed with the key {key}, which is not in the key file: restore that key from a backup")]
    UnknownKey {
        /// The key's id.
        key: String,
    },
    /// It was changed since it was sealed, or it was sealed for another row.
    #[error("the sealed secret was changed, or belongs to another row")]
    NotAuthentic,
}

/// A sealed secret, the only form in which a secret is stored: a text of printable ASCII without blanks,
/// `pl1.<key id>.<base64>`. It may be printed, but there is no reason to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret(String);

impl SealedSecret {
    /// Wraps a text as it was stored. Whether it is one is found out by opening it.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Seals secrets for the database and opens them.
///
/// `row` names the place where the secret is stored, such as `sites/<id>/database_password`. It is not secret and not
/// kept in the sealed text, but a secret opens only with the row that it was sealed for: whoever can write to the
/// database cannot move one row's secret to another.
pub trait SecretBox: Send + Sync {
    /// Seals a secret for a row. The same secret gives another text each time.
    fn seal(&self, secret: &Secret, row: &str) -> Result<SealedSecret, SecretBoxError>;

    /// Opens a secret that was sealed for that row.
    fn open(&self, sealed: &SealedSecret, row: &str) -> Result<Secret, SecretBoxError>;
}
