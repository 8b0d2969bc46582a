//! What a folder needs beyond what `object_store` does: private modes, a flush to the disk, and the removal of what a crash
//! left. All of it blocks, so it runs apart.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The root of a local storage.
#[derive(Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes the folder where it is missing, readable by its owner alone.
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        make_private(root)?;
        fs::set_permissions(root, Permissions::from_mode(0o700))?;
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// Removes what was left of writing `partial`, and makes the folder that it will be in.
    pub(crate) async fn clear(&self, partial: &object_store::path::Path) -> io::Result<()> {
        let partial = self.file(partial);
        apart(move || {
            make_private(parent(&partial)?)?;
            unfinished(&partial)?.iter().try_for_each(fs::remove_file)
        })
        .await
    }

    /// Makes the file that is being written private. `object_store` writes into `<partial>#<number>` until it is complete.
    pub(crate) async fn hide(&self, partial: &object_store::path::Path) -> io::Result<()> {
        let partial = self.file(partial);
        let private = |file: &PathBuf| fs::set_permissions(file, Permissions::from_mode(0o600));
        apart(move || unfinished(&partial)?.iter().try_for_each(private)).await
    }

    /// Brings a file's bytes to the disk.
    pub(crate) async fn flush(&self, path: &object_store::path::Path) -> io::Result<()> {
        let file = self.file(path);
        apart(move || File::open(file)?.sync_all()).await
    }

    /// Brings a file's name to the disk.
    pub(crate) async fn flush_name(&self, path: &object_store::path::Path) -> io::Result<()> {
        let file = self.file(path);
        apart(move || File::open(parent(&file)?)?.sync_all()).await
    }

    fn file(&self, path: &object_store::path::Path) -> PathBuf {
        self.root.join(path.as_ref())
    }
}

/// `partial` itself and the files that `object_store` writes before it becomes `partial`.
fn unfinished(partial: &Path) -> io::Result<Vec<PathBuf>> {
    let name = partial.file_name().unwrap_or_default();
    let is_of_it = |other: &OsStr| {
        let rest = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"#"))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(parent(partial)?)? {
        let entry = entry?;
        if is_of_it(&entry.file_name()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other("it has no parent folder"))
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
