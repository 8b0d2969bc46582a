//! Writing an object: under another key until it was read back.

use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use jobs::Failure;
use nodes_domain::ByteSink;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutPayload};
use sites_domain::{StorageError, StoredObject, Upload};

use crate::place::{PART_BYTES, Place, io_error};
use crate::read::{Reader, Seen, read_back};

/// An object that is being written.
pub(crate) struct ObjectUpload {
    place: Arc<Place>,
    path: Path,
    partial: Path,
    /// None where it has ended, well or not.
    parts: Option<Box<dyn MultipartUpload>>,
    buffer: Vec<u8>,
    seen: Seen,
}

impl ObjectUpload {
    pub(crate) async fn begin(place: Arc<Place>, key: &str) -> Result<Self, StorageError> {
        let (path, partial) = (place.path(key)?, place.partial(key)?);
        let parts = place.store.put_multipart(&partial).await;
        let parts = parts.map_err(|error| place.error(&partial, &error))?;
        if let Some(folder) = &place.folder {
            let hidden = folder.hide(&partial).await;
            hidden.map_err(|error| io_error(&place.id, &error))?;
        }
        Ok(Self {
            place,
            path,
            partial,
            parts: Some(parts),
            buffer: Vec::new(),
            seen: Seen::default(),
        })
    }

    async fn send(&mut self) -> Result<(), StorageError> {
        let Some(parts) = &mut self.parts else {
            return Err(self.place.failed("this upload has ended".to_owned()));
        };
        let payload = PutPayload::from(mem::take(&mut self.buffer));
        let sent = parts.put_part(payload).await;
        sent.map_err(|error| self.place.error(&self.partial, &error))
    }

    /// Sends what is left and makes it one object, at the other key.
    async fn complete(&mut self) -> Result<(), StorageError> {
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        let Some(parts) = &mut self.parts else {
            return Err(self.place.failed("this upload has ended".to_owned()));
        };
        let completed = parts.complete().await;
        completed.map_err(|error| self.place.error(&self.partial, &error))?;
        self.parts = None;
        if let Some(folder) = &self.place.folder {
            let flushed = folder.flush(&self.partial).await;
            flushed.map_err(|error| io_error(&self.place.id, &error))?;
        }
        Ok(())
    }

    async fn store(&mut self, expected: &StoredObject) -> Result<(), StorageError> {
        compare("what arrived", expected, self.seen.object())?;
        self.complete().await?;
        let found = read_back(&self.place, &self.partial).await?;
        compare("what was read back", expected, found)?;
        publish(&self.place, &self.partial, &self.path, expected).await
    }

    /// Removes what was written, whether it is parts or one object already.
    async fn discard(&mut self) -> Result<(), StorageError> {
        self.buffer = Vec::new();
        if let Some(mut parts) = self.parts.take() {
            let aborted = parts.abort().await;
            return aborted.map_err(|error| self.place.error(&self.partial, &error));
        }
        self.place.delete(&self.partial).await
    }
}

fn compare(what: &'static str, expected: &StoredObject, found: StoredObject) -> Result<(), StorageError> {
    if *expected == found {
        return Ok(());
    }
    Err(StorageError::Mismatch {
        what,
        expected: expected.clone(),
        found,
    })
}

/// Gives an object that was read back its own key.
async fn publish(place: &Arc<Place>, partial: &Path, path: &Path, expected: &StoredObject) -> Result<(), StorageError> {
    let error = |error: object_store::Error| place.error(path, &error);
    if let Some(folder) = &place.folder {
        place.store.rename(partial, path).await.map_err(error)?;
        let flushed = folder.flush_name(path).await;
        return flushed.map_err(|error| io_error(&place.id, &error));
    }
    if expected.size_bytes <= place.copy_limit {
        place.store.copy(partial, path).await.map_err(error)?;
    } else {
        copy_by_parts(place, partial, path, expected).await?;
    }
    // The object is whole at its own key: what cannot be removed now is removed with it, or before it is written again.
    if let Err(error) = place.delete(partial).await {
        tracing::warn!(%error, object = %partial, "a verified backup's second copy could not be removed");
    }
    Ok(())
}

/// Copies what the server does not copy in one request: read again, compared again before it can be seen.
async fn copy_by_parts(
    place: &Arc<Place>,
    from: &Path,
    to: &Path,
    expected: &StoredObject,
) -> Result<(), StorageError> {
    let error = |error: object_store::Error| place.error(to, &error);
    let mut parts = place.store.put_multipart(to).await.map_err(error)?;
    let copied = async {
        let mut reader = Reader::open(Arc::clone(place), from.clone()).await?;
        let mut seen = Seen::default();
        while let Some(part) = reader.part().await? {
            seen.take(&part);
            parts.put_part(PutPayload::from(part)).await.map_err(error)?;
        }
        compare("what was copied", expected, seen.object())?;
        parts.complete().await.map_err(error)?;
        Ok(())
    }
    .await;
    if copied.is_err()
        && let Err(error) = parts.abort().await
    {
        tracing::warn!(%error, object = %to, "the parts of a failed copy could not be removed");
    }
    copied
}

#[async_trait]
impl ByteSink for ObjectUpload {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let (taken, later) = rest.split_at(rest.len().min(PART_BYTES - self.buffer.len()));
            self.seen.take(taken);
            self.buffer.extend_from_slice(taken);
            if self.buffer.len() == PART_BYTES {
                self.send().await?;
            }
            rest = later;
        }
        Ok(())
    }
}

#[async_trait]
impl Upload for ObjectUpload {
    async fn finish(mut self: Box<Self>, expected: &StoredObject) -> Result<(), StorageError> {
        let stored = self.store(expected).await;
        if stored.is_err()
            && let Err(error) = self.discard().await
        {
            tracing::warn!(%error, object = %self.partial, "what a failed upload left could not be removed");
        }
        stored
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StorageError> {
        self.discard().await
    }
}

impl Drop for ObjectUpload {
    /// Parts that nobody completes cost money on a server. A folder's store removes its own.
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take().filter(|_| self.place.folder.is_none()) else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if let Err(error) = parts.abort().await {
                    tracing::warn!(%error, "the parts of a dropped upload could not be removed");
                }
            })),
            Err(error) => tracing::warn!(%error, "the parts of a dropped upload are left"),
        }
    }
}
