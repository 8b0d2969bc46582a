//! A secret box without a key.

use accounts_domain::{SealedSecret, SecretBox, SecretBoxError};
use domain_kernel::Secret;

/// Seals by reversing the text behind its row: nobody finds the secret in it by looking, and it opens for its row alone.
#[derive(Default)]
pub struct FakeSecretBox;

impl SecretBox for FakeSecretBox {
    fn seal(&self, secret: &Secret, row: &str) -> Result<SealedSecret, SecretBoxError> {
        let reversed: String = secret.expose().chars().rev().collect();
        Ok(SealedSecret::from_stored(format!("{row}:{reversed}")))
    }

    fn open(&self, sealed: &SealedSecret, row: &str) -> Result<Secret, SecretBoxError> {
        let reversed = sealed
            .as_str()
            .strip_prefix(row)
            .and_then(|rest| rest.strip_prefix(':'));
        let reversed = reversed.ok_or(SecretBoxError::NotAuthentic)?;
        Ok(Secret::new(reversed.chars().rev().collect::<String>()))
    }
}
