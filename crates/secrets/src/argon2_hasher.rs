//! Password hashes by argon2id.

use std::sync::Arc;

use accounts_domain::{HashError, PasswordHash, PasswordHasher};
use argon2::password_hash::{Error, PasswordHash as Phc, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use domain_kernel::Secret;
use tokio::sync::Semaphore;

use crate::random_bytes;

/// The most hashes at work at once. Each takes its memory (19 MiB) and a core, and logins come from anywhere.
const MOST_AT_ONCE: usize = 4;

/// Hashes and compares passwords by argon2id on threads for blocking work, a few at a time; others wait their turn.
pub struct Argon2Hasher {
    params: Params,
    turns: Arc<Semaphore>,
}

impl Argon2Hasher {
    /// A hasher with the parameters that OWASP's password storage page names for argon2id: 19456 KiB of memory, two
    /// passes, one lane.
    pub fn new() -> Self {
        Self::build(Params::DEFAULT)
    }

    /// A hasher with other parameters, for tests that hash many passwords: memory in KiB (at least 8 per lane), passes,
    /// lanes. Fails where argon2 refuses them.
    pub fn with_params(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, HashError> {
        let params = Params::new(memory_kib, passes, lanes, None).map_err(failed)?;
        Ok(Self::build(params))
    }

    fn build(params: Params) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            params,
            turns: Arc::new(Semaphore::new(cores.min(MOST_AT_ONCE))),
        }
    }

    /// Runs `work` off the threads that serve requests. The turn goes with the work: it is given back when the work has
    /// ended, even if nobody waits for it any more.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(argon2)
        });
        done.await.map_err(failed)?
    }
}

impl Default for Argon2Hasher {
    fn default() -> Self {
        Self::new()
    }
}

fn failed(error: impl std::fmt::Display) -> HashError {
    HashError(error.to_string())
}

#[async_trait]
impl PasswordHasher for Argon2Hasher {
    async fn hash(&self, password: Secret) -> Result<PasswordHash, HashError> {
        self.in_turn(move |argon2| {
            let salt = SaltString::encode_b64(&random_bytes::<16>()?).map_err(failed)?;
            let phc = argon2
                .hash_password(password.expose().as_bytes(), &salt)
                .map_err(failed)?;
            Ok(PasswordHash::new(phc.to_string()))
        })
        .await
    }

    async fn verify(&self, password: Secret, hash: Option<PasswordHash>) -> Result<bool, HashError> {
        self.in_turn(move |argon2| match hash {
            Some(hash) => compare(&argon2, &password, &hash),
            None => waste(&argon2, &password),
        })
        .await
    }
}

/// By the parameters that the hash itself names, so that older hashes stay good when the parameters rise.
fn compare(argon2: &Argon2<'_>, password: &Secret, hash: &PasswordHash) -> Result<bool, HashError> {
    let phc = Phc::new(hash.as_str()).map_err(failed)?;
    match argon2.verify_password(password.expose().as_bytes(), &phc) {
        Ok(()) => Ok(true),
        Err(Error::Password) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Hashes for nothing: a login with an unknown address must not be answered sooner than one with a wrong password.
fn waste(argon2: &Argon2<'_>, password: &Secret) -> Result<bool, HashError> {
    let mut out = [0_u8; Params::DEFAULT_OUTPUT_LEN];
    argon2
        .hash_password_into(password.expose().as_bytes(), b"no such account.", &mut out)
        .map_err(failed)?;
    // Nobody reads the result; without this the compiler might leave the work out.
    std::hint::black_box(&out);
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::time::{Duration, Instant};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn cheap() -> Argon2Hasher {
        Argon2Hasher::with_params(8, 1, 1).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_accepted_with_its_hash_and_no_other_is() {
        let hasher = Argon2Hasher::new();
        let hash = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(
            hasher
                .verify(secret("correct horse"), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!hasher.verify(secret("correct horsf"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_recommended_cost_and_a_salt_of_its_own() {
        let hasher = Argon2Hasher::new();
        let first = hasher.hash(secret("same")).await.unwrap();
        let second = hasher.hash(secret("same")).await.unwrap();
        assert!(
            first.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            first.as_str()
        );
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_stays_good() {
        let hash = cheap().hash(secret("old")).await.unwrap();
        assert!(Argon2Hasher::new().verify(secret("old"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn without_an_account_the_answer_is_no_and_costs_as_much() {
        let hasher = Argon2Hasher::new();
        let hash = hasher.hash(secret("right")).await.unwrap();
        let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            let start = Instant::now();
            assert!(!hasher.verify(secret("wrong"), Some(hash.clone())).await.unwrap());
            known = known.min(start.elapsed());
            let start = Instant::now();
            assert!(!hasher.verify(secret("wrong"), None).await.unwrap());
            unknown = unknown.min(start.elapsed());
        }
        assert!(unknown * 4 > known && known * 4 > unknown, "{known:?} {unknown:?}");
    }

    #[tokio::test]
    async fn a_text_that_is_no_hash_is_an_error_that_does_not_repeat_it() {
        let garbage = PasswordHash::new("plain-text-password");
        let error = cheap().verify(secret("hunter2"), Some(garbage)).await.unwrap_err();
        assert!(!error.to_string().contains("plain-text-password") && !error.to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn a_hash_waits_for_its_turn_while_as_many_as_allowed_are_at_work() {
        let hasher = cheap();
        let all = hasher.turns.available_permits();
        assert!((1..=MOST_AT_ONCE).contains(&all));
        let taken = Arc::clone(&hasher.turns)
            .acquire_many_owned(u32::try_from(all).unwrap())
            .await
            .unwrap();
        let waiting = hasher.hash(secret("later"));
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it did not wait"),
            () = ready(()) => {}
        }
        drop(taken);
        waiting.await.unwrap();
        assert_eq!(hasher.turns.available_permits(), all);
    }

    #[test]
    fn parameters_that_argon2_refuses_are_an_error() {
        assert!(Argon2Hasher::with_params(1, 1, 1).is_err());
    }
}
