//! Reading an object, a part at a time: each request is small, bounded in time and tried again by itself.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::Failure;
use nodes_domain::ByteSource;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use sha2::{Digest, Sha256};
use sites_domain::{StorageError, StoredObject};

use crate::place::{PART_BYTES, Place};

/// An object that is being read. One that is replaced meanwhile is an error, never a mixture.
pub(crate) struct Reader {
    place: Arc<Place>,
    path: Path,
    size: u64,
    e_tag: Option<String>,
    offset: u64,
}

impl Reader {
    /// Fails where there is no such object.
    pub(crate) async fn open(place: Arc<Place>, path: Path) -> Result<Self, StorageError> {
        let found = place
            .store
            .head(&path)
            .await
            .map_err(|error| place.error(&path, &error))?;
        Ok(Self {
            place,
            path,
            size: found.size,
            e_tag: found.e_tag,
            offset: 0,
        })
    }

    /// The next bytes; None at the end.
    pub(crate) async fn part(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        let end = self.size.min(self.offset + PART_BYTES as u64);
        if end == self.offset {
            return Ok(None);
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.offset..end)),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        let error = |error| self.place.error(&self.path, &error);
        let answer = self.place.store.get_opts(&self.path, options).await.map_err(error)?;
        let bytes = answer.bytes().await.map_err(error)?;
        if bytes.len() as u64 != end - self.offset {
            return Err(self
                .place
                .failed(format!("`{}` was cut short while it was read", self.path)));
        }
        self.offset = end;
        Ok(Some(Vec::from(bytes)))
    }
}

#[async_trait]
impl ByteSource for Reader {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.part().await?)
    }
}

/// Reads an object to its end and says what it is.
pub(crate) async fn read_back(place: &Arc<Place>, path: &Path) -> Result<StoredObject, StorageError> {
    let mut reader = Reader::open(Arc::clone(place), path.clone()).await?;
    let mut seen = Seen::default();
    while let Some(part) = reader.part().await? {
        seen.take(&part);
    }
    Ok(seen.object())
}

/// What passed by.
#[derive(Default)]
pub(crate) struct Seen {
    hash: Sha256,
    size: u64,
}

impl Seen {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub(crate) fn object(&self) -> StoredObject {
        StoredObject {
            size_bytes: self.size,
            sha256: format!("{:x}", self.hash.clone().finalize()),
        }
    }
}
