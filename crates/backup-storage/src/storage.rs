//! The storage itself.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use nodes_domain::ByteSource;
use object_store::local::LocalFileSystem;
use sites_domain::{BackupStorage, StorageError, StorageId, Upload};

use crate::S3Settings;
use crate::folder::Folder;
use crate::place::{Place, io_error};
use crate::read::Reader;
use crate::upload::ObjectUpload;

/// What S3 copies in one request.
const S3_COPY_LIMIT: u64 = 5 * 1024 * 1024 * 1024;

/// Keeps backups in a folder or in a bucket. Cheap to clone.
#[derive(Clone)]
pub struct ObjectStorage {
    place: Arc<Place>,
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStorage({})", self.place.id)
    }
}

impl ObjectStorage {
    /// The storage `local`: a folder, which is made where it is missing (0700; its files 0600).
    ///
    /// # Errors
    /// [`StorageError::Failed`] or [`StorageError::Full`] where the folder cannot be made.
    pub fn folder(root: &Path) -> Result<Self, StorageError> {
        let id = StorageId::new("local");
        let folder = Folder::create(root).map_err(|error| io_error(&id, &error))?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(|error| StorageError::Failed {
            storage: id.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self::of(Place {
            id,
            store: Arc::new(store),
            prefix: String::new(),
            folder: Some(folder),
            secret: None,
            copy_limit: u64::MAX,
        }))
    }

    /// The storage `s3`: a bucket. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// [`StorageError::Failed`] where the settings make no sense.
    pub fn s3(settings: &S3Settings) -> Result<Self, StorageError> {
        Self::s3_that_copies(settings, S3_COPY_LIMIT)
    }

    /// The same where the server copies no more than `copy_limit` bytes in one request.
    pub(crate) fn s3_that_copies(settings: &S3Settings, copy_limit: u64) -> Result<Self, StorageError> {
        let id = StorageId::new("s3");
        let store = settings.client().map_err(|reason| StorageError::Failed {
            storage: id.clone(),
            reason,
        })?;
        Ok(Self::of(Place {
            id,
            store: Arc::new(store),
            prefix: settings.prefix.trim_matches('/').to_owned(),
            folder: None,
            secret: Some(settings.secret_access_key.clone()),
            copy_limit,
        }))
    }

    fn of(place: Place) -> Self {
        Self { place: Arc::new(place) }
    }

    /// Removes what a broken-off writing of a key left.
    async fn clear(&self, key: &str) -> Result<(), StorageError> {
        let partial = self.place.partial(key)?;
        match &self.place.folder {
            Some(folder) => {
                let cleared = folder.clear(&partial).await;
                cleared.map_err(|error| io_error(&self.place.id, &error))
            }
            None => self.place.delete(&partial).await,
        }
    }
}

#[async_trait]
impl BackupStorage for ObjectStorage {
    fn id(&self) -> StorageId {
        self.place.id.clone()
    }

    async fn begin(&self, key: &str) -> Result<Box<dyn Upload>, StorageError> {
        self.clear(key).await?;
        Ok(Box::new(ObjectUpload::begin(Arc::clone(&self.place), key).await?))
    }

    async fn open(&self, key: &str) -> Result<Box<dyn ByteSource>, StorageError> {
        let path = self.place.path(key)?;
        Ok(Box::new(Reader::open(Arc::clone(&self.place), path).await?))
    }

    async fn remove(&self, key: &str) -> Result<(), StorageError> {
        self.place.delete(&self.place.path(key)?).await?;
        self.clear(key).await
    }
}
