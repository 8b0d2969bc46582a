//! Files that survive a crash whole, and locks that end with their holder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobs::{StepContext, StepError};
use rustix::fs::{FlockOperation, IFlags, flock, ioctl_getflags, ioctl_setflags, statvfs};
use rustix::io::Errno;

use crate::failure::{Code, io_failed};

/// How often a lock that another holds is tried again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Makes a folder and its parents. The last one gets `mode`, whatever the umask.
pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Asks the disk to put each folder that is made in this one away from the others: ext4 then gives a tree its inodes at once,
/// where beside a tree that was just removed it tries every freed one first (0.8 s or 12 s for a root). File systems
/// that know no such hint refuse it, and need none.
pub(crate) fn spread_trees(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    match ioctl_getflags(&folder).and_then(|flags| ioctl_setflags(&folder, flags | IFlags::TOPDIR)) {
        Ok(()) | Err(Errno::NOTTY | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Puts a whole file in place, or leaves what was there: written beside, synced, renamed.
pub(crate) fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let beside = path.with_file_name(name);
    remove_if_there(&beside)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Removes a file; its absence is a success.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

/// Reads a file; None where there is none.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Turns the absence of a thing that was to be removed into a success.
pub(crate) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Fails where fewer than `bytes` are free on the disk of a folder. `what` is what needs them.
pub(crate) fn refuse_full_disk(path: &Path, bytes: u64, what: &str) -> Result<(), StepError> {
    let stat = statvfs(path).map_err(|error| io_failed(Code::LocalAcquisitionFailed, path, &error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let (needed, free) = (bytes / 1_000_000, free / 1_000_000);
    let detail = format!("{what} needs {needed} MB under {}, {free} MB are free.", path.display());
    Err(StepError::failed(Code::HostDiskFull, detail))
}

/// The path with no symbolic links in it, as mounts are listed by. What does not exist yet is taken as it is.
pub(crate) fn without_links(path: &Path) -> PathBuf {
    let resolved = path
        .ancestors()
        .find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    match resolved {
        Some((part, real)) => path.strip_prefix(part).map_or_else(
            |_| path.to_path_buf(),
            |rest| {
                if rest.as_os_str().is_empty() {
                    real.clone()
                } else {
                    real.join(rest)
                }
            },
        ),
        None => path.to_path_buf(),
    }
}

/// An exclusive lock, held until dropped or until the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of a lock file, which is made where it is missing.
    pub(crate) async fn file(ctx: &StepContext, code: Code, path: &Path) -> Result<Self, StepError> {
        let file = open_lock_file(path).map_err(|error| io_failed(code, path, &error))?;
        wait_for(ctx, code, path, &file).await?;
        Ok(Self { _file: file })
    }

    /// Takes the lock of a lock file where nobody holds it.
    pub(crate) fn try_file(path: &Path) -> io::Result<Option<Self>> {
        let file = open_lock_file(path)?;
        Ok(try_lock(&file)?.then_some(Self { _file: file }))
    }

    /// Waits for the lock of a folder. None where there is no such folder, or where it was removed meanwhile.
    pub(crate) async fn folder(ctx: &StepContext, code: Code, path: &Path) -> Result<Option<Self>, StepError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_failed(code, path, &error)),
        };
        wait_for(ctx, code, path, &file).await?;
        let held = file.metadata().map_err(|error| io_failed(code, path, &error))?;
        match fs::metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (held.dev(), held.ino()) => Ok(Some(Self { _file: file })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_failed(code, path, &error)),
        }
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

async fn wait_for(ctx: &StepContext, code: Code, path: &Path, file: &File) -> Result<(), StepError> {
    while !try_lock(file).map_err(|error| io_failed(code, path, &error))? {
        ctx.sleep(LOCK_POLL).await?;
    }
    Ok(())
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_torn_predecessor_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(folder.path().join("a.json.new"), "torn").unwrap();
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o640).unwrap();
        assert_eq!(read_if_there(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_disk_with_too_little_room_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refuse_full_disk(folder.path(), 0, "A node").is_ok());
        let error = refuse_full_disk(folder.path(), u64::MAX, "A node")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("HOST_DISK_FULL: A node needs "), "{error}");
    }

    #[test]
    fn a_path_is_told_as_the_mount_table_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(without_links(&real.join("link/new/data")), real.join("new/data"));
        assert_eq!(without_links(&real.join("link")), real);
    }

    #[test]
    fn a_lock_is_free_again_when_its_holder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::try_file(&path).unwrap();
        assert!(held.is_some());
        assert!(Lock::try_file(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_file(&path).unwrap().is_some());
    }
}
