//! Where backups are kept.

use std::fmt;

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::{Failure, StepError};
use nodes_domain::{ByteSink, ByteSource};

/// A storage's id, as a backup remembers it: `local`, `s3`, or that of a storage that another program adds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StorageId(String);

impl StorageId {
    /// Names a storage.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of an object's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// How many there are.
    pub size_bytes: u64,
    /// Their SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// Why a storage did not do as asked. No variant holds a key or a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// It does not answer, or refuses.
    #[error("the backup storage `{storage}` failed: {reason}")]
    Failed {
        /// The storage.
        storage: StorageId,
        /// What was met.
        reason: String,
    },
    /// The disk of a local storage is full.
    #[error("the disk of the backup storage `{storage}` is full")]
    Full {
        /// The storage.
        storage: StorageId,
    },
    /// There is no such object.
    #[error("the backup storage `{storage}` has no object `{key}`")]
    Missing {
        /// The storage.
        storage: StorageId,
        /// The object's key.
        key: String,
    },
    /// What was written or read back is not what was to be stored.
    #[error("{what}: expected {expected:?}, found {found:?}")]
    Mismatch {
        /// When it was noticed, such as `what arrived`, `what was read back`.
        what: &'static str,
        /// What was to be stored.
        expected: StoredObject,
        /// What is there.
        found: StoredObject,
    },
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let code = match error {
            StorageError::Full { .. } => JobErrorCode::HostDiskFull,
            StorageError::Failed { .. } | StorageError::Missing { .. } | StorageError::Mismatch { .. } => {
                JobErrorCode::BackupStorageFailed
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<StorageError> for StepError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// An object that is being written, under another key than its own. Dropped, it is never seen under its own.
#[async_trait]
pub trait Upload: ByteSink {
    /// Ends the writing, compares what arrived with `expected`, reads it back, compares again, and only then gives it its
    /// own key.
    ///
    /// # Errors
    /// [`StorageError::Mismatch`] where it is something else; then nothing is stored.
    async fn finish(self: Box<Self>, expected: &StoredObject) -> Result<(), StorageError>;

    /// Gives up, and removes what was written.
    async fn abort(self: Box<Self>) -> Result<(), StorageError>;
}

/// Keeps backups. Keys are relative paths of `a-z`, `0-9`, `-`, `.` and `/`.
#[async_trait]
pub trait BackupStorage: Send + Sync {
    /// Its id.
    fn id(&self) -> StorageId;

    /// Begins an object. What an earlier, broken-off writing of the same key left is removed.
    async fn begin(&self, key: &str) -> Result<Box<dyn Upload>, StorageError>;

    /// The bytes of an object.
    ///
    /// # Errors
    /// [`StorageError::Missing`]. What fails later, while it is read, is the source's own error.
    async fn open(&self, key: &str) -> Result<Box<dyn ByteSource>, StorageError>;

    /// Removes an object and what a broken-off writing of it left. One that is not there is no error.
    async fn remove(&self, key: &str) -> Result<(), StorageError>;
}
