//! Backups in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jobs::Failure;
use nodes_domain::{ByteSink, ByteSource};
use sites_domain::{BackupStorage, StorageError, StorageId, StoredObject, Upload};

use crate::fake_provider::lock;
use crate::{ChunkSource, sha256_of};

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Vec<u8>>,
    unfinished: BTreeMap<String, Vec<u8>>,
    failure: Option<StorageError>,
    full: bool,
    flips: bool,
}

/// A storage in memory. It gives way with every call, so that a test can drop a run there; what is dropped stays unfinished.
pub struct MemoryStorage {
    id: StorageId,
    kept: Arc<Mutex<Kept>>,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new(id: &str) -> Self {
        Self {
            id: StorageId::new(id),
            kept: Arc::default(),
        }
    }

    /// What is stored.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.kept).objects.clone()
    }

    /// The keys of what was begun and neither finished nor removed.
    pub fn unfinished(&self) -> Vec<String> {
        lock(&self.kept).unfinished.keys().cloned().collect()
    }

    /// Removes what was begun and not finished.
    pub fn clear_unfinished(&self) {
        lock(&self.kept).unfinished.clear();
    }

    /// Flips a bit of every object.
    pub fn corrupt(&self) {
        for bytes in lock(&self.kept).objects.values_mut() {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        }
    }

    /// Removes an object behind everybody's back.
    pub fn lose(&self, key: &str) {
        lock(&self.kept).objects.remove(key);
    }

    /// From now on every call fails so; `None` ends it.
    pub fn fail(&self, failure: Option<StorageError>) {
        lock(&self.kept).failure = failure;
    }

    /// From now on its disk is full, or not.
    pub fn fill(&self, full: bool) {
        lock(&self.kept).full = full;
    }

    /// From now on what is read back differs from what was written, or not.
    pub fn flip(&self, flips: bool) {
        lock(&self.kept).flips = flips;
    }

    async fn working(&self) -> Result<(), StorageError> {
        tokio::task::yield_now().await;
        lock(&self.kept).failure.clone().map_or(Ok(()), Err)
    }
}

struct MemoryUpload {
    key: String,
    id: StorageId,
    kept: Arc<Mutex<Kept>>,
}

#[async_trait]
impl ByteSink for MemoryUpload {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        let mut kept = lock(&self.kept);
        if kept.full {
            let storage = self.id.clone();
            return Err(StorageError::Full { storage }.into());
        }
        let written = kept.unfinished.entry(self.key.clone()).or_default();
        written.extend_from_slice(chunk);
        Ok(())
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn finish(self: Box<Self>, expected: &StoredObject) -> Result<(), StorageError> {
        tokio::task::yield_now().await;
        let mut kept = lock(&self.kept);
        let mut bytes = kept.unfinished.remove(&self.key).unwrap_or_default();
        let mut what = "what arrived";
        if kept.flips {
            what = "what was read back";
            if let Some(first) = bytes.first_mut() {
                *first ^= 1;
            }
        }
        let found = StoredObject {
            size_bytes: bytes.len() as u64,
            sha256: sha256_of(&bytes),
        };
        if found != *expected {
            let expected = expected.clone();
            return Err(StorageError::Mismatch { what, expected, found });
        }
        kept.objects.insert(self.key.clone(), bytes);
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        tokio::task::yield_now().await;
        lock(&self.kept).unfinished.remove(&self.key);
        Ok(())
    }
}

#[async_trait]
impl BackupStorage for MemoryStorage {
    fn id(&self) -> StorageId {
        self.id.clone()
    }

    async fn begin(&self, key: &str) -> Result<Box<dyn Upload>, StorageError> {
        self.working().await?;
        lock(&self.kept).unfinished.insert(key.to_owned(), Vec::new());
        Ok(Box::new(MemoryUpload {
            key: key.to_owned(),
            id: self.id.clone(),
            kept: Arc::clone(&self.kept),
        }))
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ByteSource>, StorageError> {
        self.working().await?;
        let bytes = lock(&self.kept).objects.get(key).cloned();
        let bytes = bytes.ok_or_else(|| StorageError::Missing {
            storage: self.id.clone(),
            key: key.to_owned(),
        })?;
        Ok(Box::new(ChunkSource::new(&bytes)))
    }

    async fn remove(&self, key: &str) -> Result<(), StorageError> {
        self.working().await?;
        let mut kept = lock(&self.kept);
        kept.objects.remove(key);
        kept.unfinished.remove(key);
        Ok(())
    }
}
