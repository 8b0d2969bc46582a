//! Private files and folders, their checksums, and locks that end with their holder. All of it blocks.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use jobs::{StepContext, StepError};
use sha2::Digest;

use crate::failure::io_failed;

/// How often a lock that another holds is tried again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Makes a folder that only its owner may enter.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Makes a file that only its owner may read.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A file's checksum, lower-case hexadecimal.
pub(crate) fn checksum<D: Digest + io::Write>(path: &Path) -> io::Result<String> {
    let mut hash = D::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An exclusive lock, held until dropped or until the process ends, however it ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of a lock file, which is made where it is missing.
    pub(crate) async fn wait(path: &Path, context: &StepContext) -> Result<Self, StepError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|error| io_failed(path, &error))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => context.sleep(LOCK_POLL).await?,
                Err(TryLockError::Error(error)) => return Err(io_failed(path, &error).into()),
            }
        }
    }
}
