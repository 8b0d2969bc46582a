//! Names of machines: which ones Multipass can carry, and one lock for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use tokio::sync::OwnedMutexGuard;

/// The longest name.
const MAX: usize = 63;

/// The name of the machine that Multipass makes by itself and mounts the user's home folder into, where
/// `client.primary-name` does not say otherwise.
pub const PRIMARY: &str = "primary";

/// Why a machine cannot have a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Multipass would refuse it.
    #[error(
        "`{0}` is no name for a machine: a letter, then letters, digits and dashes, not ending in a dash, 63 at most"
    )]
    Malformed(String),
    /// Multipass would make it by itself and mount the user's home folder.
    #[error("`{0}` is the name of Multipass's primary machine")]
    Primary(String),
}

/// Whether a machine may be called so, where `primary` is the primary machine's name.
///
/// # Errors
/// Says why not.
pub fn check_name(name: &str, primary: &str) -> Result<(), NameError> {
    let edge = |byte: Option<&u8>, fits: fn(&u8) -> bool| byte.is_some_and(fits);
    let bytes = name.as_bytes();
    let shaped = edge(bytes.first(), u8::is_ascii_alphabetic)
        && edge(bytes.last(), u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && bytes.len() <= MAX;
    if !shaped {
        return Err(NameError::Malformed(name.to_owned()));
    }
    if name == primary || name == PRIMARY {
        return Err(NameError::Primary(name.to_owned()));
    }
    Ok(())
}

impl From<NameError> for StepError {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::Malformed(_) => JobErrorCode::LocalConfigInvalid,
            NameError::Primary(_) => JobErrorCode::LocalInstanceConflict,
        };
        Self::failed(code, error.to_string())
    }
}

/// One lock for each name: of two calls that change the same machine the second waits for the first.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// Takes the lock of a name.
    pub(crate) async fn lock(&self, context: &StepContext, name: &str) -> Result<OwnedMutexGuard<()>, StepError> {
        context.check()?;
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        tokio::select! {
            biased;
            guard = lock.lock_owned() => Ok(guard),
            ended = context.sleep(context.time_left()) => Err(ended.err().unwrap_or(StepError::DeadlineExceeded)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_multipass_refuses_or_makes_by_itself_are_refused() {
        let longest = "a".repeat(63);
        for name in ["a", "A", "n1", "pressluft-0123456789ab", "a-b", &longest] {
            assert_eq!(check_name(name, PRIMARY), Ok(()), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in [
            "", "n_1", "1n", "n-", "n.a", "-n", "n a", "n\n", "ä", "--all", &too_long,
        ] {
            assert_eq!(
                check_name(name, PRIMARY),
                Err(NameError::Malformed(name.to_owned())),
                "{name}"
            );
        }
        for (name, primary) in [("primary", "primary"), ("primary", "other"), ("other", "other")] {
            assert_eq!(check_name(name, primary), Err(NameError::Primary(name.to_owned())));
        }
    }
}
