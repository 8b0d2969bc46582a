//! Where control sockets live: a private folder on a short path, because a Unix socket's path has at most 107 bytes and
//! `ssh` adds 17 of its own while it makes one.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The folder for the sockets of one data directory: `/run/pressluft-<uid>/<8 hex>`, under `/tmp` where `/run` is not
/// ours to write. The hex digits come from the data directory's path, so the next start finds what this one leaves.
pub(crate) fn folder(data_dir: &Path) -> io::Result<PathBuf> {
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let uid = rustix::process::geteuid().as_raw();
    let base = PathBuf::from(format!("/run/pressluft-{uid}"));
    let base = match own_private(&base, uid) {
        Ok(()) => base,
        Err(_) => {
            let base = PathBuf::from(format!("/tmp/pressluft-{uid}"));
            own_private(&base, uid)?;
            base
        }
    };
    let folder = base.join(short);
    own_private(&folder, uid)?;
    Ok(folder)
}

/// Makes a folder of mode 0700, or makes sure that the one that is there is ours alone: under `/tmp` anybody could have
/// been first.
fn own_private(path: &Path, uid: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = path.symlink_metadata()?;
    if meta.is_dir() && meta.uid() == uid && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} is not a folder of this user alone: remove it",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_open_to_others_or_a_link_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let made = temporary.path().join("made");
        own_private(&made, uid).unwrap();
        own_private(&made, uid).unwrap();
        let open = temporary.path().join("open");
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        own_private(&open, uid).unwrap_err();
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(&made, &link).unwrap();
        own_private(&link, uid).unwrap_err();
        own_private(&made, uid + 1).unwrap_err();
    }
}
