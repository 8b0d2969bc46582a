//! An entry of the cache: a folder with the artifact's file and its record.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use domain_kernel::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sites_domain::{Artifact, ArtifactKind};

use crate::files::{checksum, private_file, private_folder};
use crate::source::Wanted;

const RECORD: &str = "record.json";

/// What is known of an entry's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) kind: ArtifactKind,
    pub(crate) version: String,
    pub(crate) sha256: String,
    pub(crate) size_bytes: u64,
    /// The source's name.
    pub(crate) source: String,
    /// The checksum that what the source gave was compared with, as `sha512:<hex>`.
    pub(crate) origin: String,
    pub(crate) fetched_at: Timestamp,
}

/// The name of an entry. Versions of two sources are never mixed up.
pub(crate) fn name(wanted: &Wanted, source: &str) -> String {
    format!("{}-{}-{source}", wanted.kind, wanted.version)
}

/// Where an entry's file is.
pub(crate) fn file(entry: &Path, kind: ArtifactKind) -> PathBuf {
    entry.join(match kind {
        ArtifactKind::WordPress => "wordpress.tar",
        ArtifactKind::WpCli => "wp-cli.phar",
    })
}

/// Where an entry's record is.
pub(crate) fn record_file(entry: &Path) -> PathBuf {
    entry.join(RECORD)
}

impl Record {
    /// Reads an entry's record.
    pub(crate) fn read(entry: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(record_file(entry))?)?)
    }

    /// Makes the record of the file in a folder that is to become an entry, and brings both to the disk.
    pub(crate) fn write(
        entry: &Path,
        wanted: &Wanted,
        source: &str,
        origin: &str,
        fetched_at: Timestamp,
    ) -> io::Result<Self> {
        let path = file(entry, wanted.kind);
        let content = File::open(&path)?;
        content.sync_all()?;
        let record = Self {
            kind: wanted.kind,
            version: wanted.version.clone(),
            sha256: checksum::<Sha256>(&path)?,
            size_bytes: content.metadata()?.len(),
            source: source.to_owned(),
            origin: origin.to_owned(),
            fetched_at,
        };
        let mut written = private_file(&record_file(entry))?;
        written.write_all(&serde_json::to_vec_pretty(&record)?)?;
        written.sync_all()?;
        Ok(record)
    }

    /// The artifact.
    pub(crate) fn artifact(&self) -> Artifact {
        Artifact {
            kind: self.kind,
            version: self.version.clone(),
            sha256: self.sha256.clone(),
            size_bytes: self.size_bytes,
        }
    }
}

/// The artifact of an entry whose record and size are right and whose origin is still the one that the source names.
pub(crate) fn usable(entry: &Path, wanted: &Wanted) -> Option<Artifact> {
    let record = Record::read(entry).ok()?;
    let size = fs::metadata(file(entry, wanted.kind)).ok()?.len();
    let same = record.kind == wanted.kind && record.version == wanted.version && record.size_bytes == size;
    let origin = wanted.origin.as_ref().is_none_or(|origin| *origin == record.origin);
    (same && origin).then(|| record.artifact())
}

/// Makes the folder that is to become an entry.
pub(crate) fn stage(staging: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = staging.join(name);
    private_folder(&folder)?;
    Ok(folder)
}

/// Moves a whole entry into its place, where nothing but a damaged or outdated one is.
pub(crate) fn commit(staged: &Path, root: &Path, name: &str) -> io::Result<()> {
    let place = root.join(name);
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::open(staged)?.sync_all()?;
    fs::rename(staged, place)?;
    File::open(root)?.sync_all()
}
