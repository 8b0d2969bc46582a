//! Cryptography at rest: password hashes (argon2id), session tokens, and the box that stored secrets are sealed in
//! (XChaCha20-Poly1305).
//!
//! Everything random here comes from the operating system. No secret is logged, stored or put into an error.

use accounts_domain::HashError;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use domain_kernel::Secret;

mod argon2_hasher;
mod key_file;
mod random_tokens;
mod xchacha_box;

pub use argon2_hasher::Argon2Hasher;
pub use key_file::KeyFileError;
pub use random_tokens::RandomTokens;
pub use xchacha_box::XChaChaBox;

/// A random password for a first login: 24 hexadecimal digits, 96 bits.
pub fn random_password() -> Result<Secret, HashError> {
    let bytes = random_bytes::<12>()?;
    Ok(Secret::new(hexadecimal(&bytes)))
}

/// Bytes of the system's random source.
fn random_bytes<const N: usize>() -> Result<[u8; N], HashError> {
    let mut bytes = [0_u8; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| HashError(format!("the system's random source failed: {error}")))?;
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_password_has_24_hexadecimal_digits_and_none_comes_twice() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert!(one.expose().len() == 24 && one.expose().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(one, other);
    }
}
