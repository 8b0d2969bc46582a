//! Session tokens: 32 bytes of the system's random source, of which the database knows a hash only.

use accounts_domain::{HashError, SessionToken, TokenHash, TokenSource};
use domain_kernel::Secret;
use sha2::{Digest, Sha256};

use crate::{hexadecimal, random_bytes};

/// Makes session tokens. A token has 256 random bits, so a plain SHA-256 of it cannot be guessed backwards.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomTokens;

impl RandomTokens {
    /// A source of tokens.
    pub fn new() -> Self {
        Self
    }
}

impl TokenSource for RandomTokens {
    fn generate(&self) -> Result<SessionToken, HashError> {
        let bytes = random_bytes::<32>()?;
        Ok(SessionToken(Secret::new(hexadecimal(&bytes))))
    }

    fn hash(&self, token: &SessionToken) -> TokenHash {
        TokenHash(hexadecimal(&Sha256::digest(token.0.expose())))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_token_is_32_bytes_in_hexadecimal_and_none_comes_twice() {
        let tokens = RandomTokens::new();
        let made: HashSet<String> = (0..100)
            .map(|_| tokens.generate().unwrap().0.expose().to_owned())
            .collect();
        assert_eq!(made.len(), 100);
        for token in made {
            assert_eq!(token.len(), 64);
            assert!(token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        }
    }

    #[test]
    fn the_stored_hash_is_the_sha256_of_the_tokens_text() {
        let token = SessionToken(Secret::new("abc"));
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(RandomTokens::new().hash(&token), TokenHash(expected.to_owned()));
    }
}
