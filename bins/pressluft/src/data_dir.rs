//! The data directory: made private, and held by one server at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DataDirError {
    /// Another server holds it.
    InUse(PathBuf),
    /// Other users can look into it.
    Open(PathBuf),
    /// The system refused.
    System(PathBuf, io::Error),
}

impl std::fmt::Display for DataDirError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another Pressluft server uses the data directory {}. Stop it first, or set another PRESSLUFT_DATA_DIR",
                path.display()
            ),
            Self::Open(path) => write!(
                f,
                "the data directory {0} is open to other users. If it is Pressluft's alone: chmod 700 {0}; otherwise set \
                 another PRESSLUFT_DATA_DIR",
                path.display()
            ),
            Self::System(path, _) => write!(f, "the data directory {} cannot be used", path.display()),
        }
    }
}

impl std::error::Error for DataDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse(_) | Self::Open(_) => None,
            Self::System(_, source) => Some(source),
        }
    }
}

/// A data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// The lock of a data directory: held until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDir {
    /// Makes it (0700) where it is missing. One that other users can look into is refused.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::System(path.to_owned(), source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        // A folder that was there before is never closed to others behind their back: it may be `/srv`.
        if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(DataDirError::Open(path.to_owned()));
        }
        let path = path.canonicalize().map_err(failed)?;
        fs::create_dir_all(path.join("run")).map_err(failed)?;
        Ok(Self { path })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the record of child processes.
    pub fn children(&self) -> PathBuf {
        self.path.join("run/children")
    }

    /// The file with the keys of stored secrets.
    pub fn secret_keys(&self) -> PathBuf {
        self.path.join("keys/secrets")
    }

    /// The folder of backups.
    pub fn backups(&self) -> PathBuf {
        self.path.join("backups")
    }

    /// Locks it for this process; refused where another server holds it.
    pub fn lock(&self) -> Result<DataDirLock, DataDirError> {
        let failed = |source| DataDirError::System(self.path.clone(), source);
        let options = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.join("lock"));
        let file = options.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDirLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(self.path.clone())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The id of this control-plane host, made on first use.
    pub fn host_id(&self) -> Result<String, DataDirError> {
        let file = self.path.join("host-id");
        let failed = |source| DataDirError::System(self.path.clone(), source);
        match fs::read_to_string(&file) {
            Ok(id) => return Ok(id.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let id = uuid::Uuid::now_v7().to_string();
        let temporary = self.path.join("host-id.new");
        fs::write(&temporary, &id)
            .and_then(|()| fs::rename(&temporary, &file))
            .map_err(failed)?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&folder.path().join("data")).unwrap();
        let lock = dir.lock().unwrap();
        assert!(matches!(dir.lock(), Err(DataDirError::InUse(_))));
        drop(lock);
        dir.lock().unwrap();
    }

    #[test]
    fn a_folder_that_is_open_to_others_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::Open(_))));
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn it_is_private_and_keeps_its_host_id() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&folder.path().join("data")).unwrap();
        assert_eq!(dir.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(dir.host_id().unwrap(), dir.host_id().unwrap());
    }
}
