//! Where a storage's objects are: paths of keys, and how the store's errors are told.

use std::error::Error;
use std::io;
use std::sync::Arc;

use domain_kernel::Secret;
use object_store::ObjectStore;
use object_store::path::Path;
use sites_domain::{StorageError, StorageId};

use crate::folder::Folder;

/// How much is written and read at once. S3 wants parts of at least 5 MiB and at most 10,000 of them: 80 GB an object.
pub(crate) const PART_BYTES: usize = 8 * 1024 * 1024;

/// The longest reason of an error: servers answer with whole pages.
const MAX_REASON: usize = 400;

/// A store and what is known of it.
pub(crate) struct Place {
    pub(crate) id: StorageId,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// What every key begins with in the bucket; empty where nothing.
    pub(crate) prefix: String,
    /// The folder, where the store is one.
    pub(crate) folder: Option<Folder>,
    /// What no error may hold.
    pub(crate) secret: Option<Secret>,
    /// Up to what size the server copies an object in one request.
    pub(crate) copy_limit: u64,
}

impl Place {
    /// Where the object of a key is.
    pub(crate) fn path(&self, key: &str) -> Result<Path, StorageError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'/');
        let segments = |segment: &str| !matches!(segment, "" | "." | "..");
        if !key.bytes().all(allowed) || !key.split('/').all(segments) {
            return Err(self.failed(format!("`{key}` is no key")));
        }
        let whole = match self.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        };
        Path::parse(whole).map_err(|error| self.failed(error.to_string()))
    }

    /// Where it is while it is written.
    pub(crate) fn partial(&self, key: &str) -> Result<Path, StorageError> {
        self.path(&format!("{key}.partial"))
    }

    /// Removes an object. One that is not there is no error.
    pub(crate) async fn delete(&self, path: &Path) -> Result<(), StorageError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(path, &error)),
        }
    }

    /// A failure in words of our own.
    pub(crate) fn failed(&self, reason: String) -> StorageError {
        let reason = match self.secret.as_ref().map(Secret::expose) {
            Some(secret) if !secret.is_empty() => reason.replace(secret, "***"),
            _ => reason,
        };
        let mut reason: String = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
            reason.truncate(end);
        }
        StorageError::Failed {
            storage: self.id.clone(),
            reason,
        }
    }

    /// What a failure of the store means.
    pub(crate) fn error(&self, path: &Path, error: &object_store::Error) -> StorageError {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return StorageError::Missing {
                storage: self.id.clone(),
                key: self.key(path),
            };
        }
        match io_cause(error) {
            Some(cause) if self.folder.is_some() => io_error(&self.id, cause),
            _ => self.failed(error.to_string()),
        }
    }

    fn key(&self, path: &Path) -> String {
        let whole = path.as_ref();
        let rest = whole
            .strip_prefix(&self.prefix)
            .map(|rest| rest.trim_start_matches('/'));
        rest.unwrap_or(whole).to_owned()
    }
}

/// What a failure of the host's file system means.
pub(crate) fn io_error(storage: &StorageId, error: &io::Error) -> StorageError {
    let storage = storage.clone();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full { storage },
        _ => StorageError::Failed {
            storage,
            reason: error.to_string(),
        },
    }
}

/// The operating system's own error, where it is among the causes.
fn io_cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn place(secret: &str) -> Place {
        Place {
            id: StorageId::new("s3"),
            store: Arc::new(InMemory::new()),
            prefix: "backups".to_owned(),
            folder: None,
            secret: Some(Secret::new(secret)),
            copy_limit: u64::MAX,
        }
    }

    #[test]
    fn a_key_stays_below_the_prefix() {
        let place = place("x");
        assert_eq!(place.path("a/b-1.tar.zst").unwrap().as_ref(), "backups/a/b-1.tar.zst");
        for bad in ["", "../a", "a//b", "/a", "a/", "a/./b", "A", "a b", "a#1", "a%2e"] {
            assert!(place.path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_is_one_short_line_without_the_secret() {
        let reason = format!("<html>\nhunter2 {}", "x".repeat(2000));
        let told = place("hunter2").failed(reason).to_string();
        assert!(told.contains("<html> *** xxx"), "{told}");
        assert!(!told.contains("hunter2") && told.len() < 500, "{told}");
    }

    #[test]
    fn a_missing_object_is_told_by_its_key() {
        let place = place("x");
        let missing = object_store::Error::NotFound {
            path: "backups/a".to_owned(),
            source: "404".into(),
        };
        let told = place.error(&place.path("a").unwrap(), &missing);
        assert_eq!(
            told,
            StorageError::Missing {
                storage: StorageId::new("s3"),
                key: "a".to_owned()
            }
        );
    }

    #[test]
    fn a_full_disk_is_told_apart_from_other_trouble() {
        let full = object_store::Error::Generic {
            store: "local",
            source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut place = place("x");
        let path = place.path("a").unwrap();
        assert!(matches!(place.error(&path, &full), StorageError::Failed { .. }));
        place.folder = Some(Folder::create(folder.path()).unwrap());
        assert!(matches!(place.error(&path, &full), StorageError::Full { .. }));
    }
}
