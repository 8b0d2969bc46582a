//! The cache itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::Timestamp;
use jobs::{Failure, StepContext, StepError};
use nodes_domain::ByteSource;
use process_exec::CommandRunner;
use sha2::Sha256;
use sites_domain::{Artifact, ArtifactCache, ArtifactKind, Artifacts};
use tempfile::TempDir;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::ArtifactSource;
use crate::entry::{self, Record};
use crate::failure::{apart, io_failed, unavailable};
use crate::files::{Lock, checksum, private_folder};
use crate::source::{Needed, Wanted, title};

/// How much of a file is read at once.
const CHUNK: usize = 1024 * 1024;

/// Keeps artifacts in a folder.
pub struct Cache {
    root: PathBuf,
    source: ArtifactSource,
    runner: Arc<dyn CommandRunner>,
}

/// A file of the cache, as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    /// What it is.
    pub artifact: Artifact,
    /// The name of the source that it came from.
    pub source: String,
    /// When.
    pub fetched_at: Timestamp,
    /// Where it is.
    pub path: PathBuf,
}

/// What was found when a file was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It is what its record says.
    Ok,
    /// It, or its record, is something else.
    Damaged,
    /// It is not there.
    Missing,
}

/// A file that was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    /// Where it is.
    pub path: PathBuf,
    /// How it is.
    pub state: FileState,
}

impl Cache {
    /// A cache in the folder `artifacts` of the cache directory. Nothing is made before it is used.
    pub fn new(cache_dir: &Path, source: ArtifactSource, runner: Arc<dyn CommandRunner>) -> Self {
        Self {
            root: cache_dir.join("artifacts"),
            source,
            runner,
        }
    }

    /// What is in the cache, of whatever source, sorted by name. Entries without a readable record are left out.
    ///
    /// # Errors
    /// `ARTIFACT_UNAVAILABLE` where the folder cannot be read.
    pub async fn list(&self) -> Result<Vec<CachedFile>, Failure> {
        let root = self.root.clone();
        apart(&self.root, move || {
            let read = |entry: PathBuf| {
                let record = Record::read(&entry).ok()?;
                Some(CachedFile {
                    artifact: record.artifact(),
                    source: record.source,
                    fetched_at: record.fetched_at,
                    path: entry::file(&entry, record.kind),
                })
            };
            Ok(entries(&root)?.into_iter().filter_map(read).collect())
        })
        .await
    }

    /// Reads every file of the cache again and compares it with its record.
    ///
    /// # Errors
    /// `ARTIFACT_UNAVAILABLE` where the folder cannot be read.
    pub async fn verify(&self) -> Result<Vec<CheckedFile>, Failure> {
        let root = self.root.clone();
        let check = move || entries(&root)?.iter().map(|entry| check(entry)).collect();
        apart(&self.root, check).await
    }

    fn entry(&self, wanted: &Wanted) -> PathBuf {
        self.root.join(self.name(wanted))
    }

    fn name(&self, wanted: &Wanted) -> String {
        entry::name(wanted, self.source.name())
    }

    fn lacks(&self, wanted: &Wanted) -> bool {
        entry::usable(&self.entry(wanted), wanted).is_none()
    }

    /// Fetches what is missing. Whoever comes second, in this process or in another, waits for the first and finds it there.
    async fn fetch(&self, missing: Vec<Wanted>, context: &StepContext) -> Result<(), StepError> {
        let mut locks = Vec::new();
        for wanted in &missing {
            let path = self.root.join(format!(".{}.lock", self.name(wanted)));
            locks.push(Lock::wait(&path, context).await?);
        }
        let missing: Vec<_> = missing.into_iter().filter(|wanted| self.lacks(wanted)).collect();
        let Some(first) = missing.first() else {
            return Ok(());
        };
        let staging = self.stage(first).map_err(|error| io_failed(&self.root, &error))?;
        let mut needed = Vec::new();
        for wanted in &missing {
            let folder = entry::stage(staging.path(), &self.name(wanted));
            let folder = folder.map_err(|error| io_failed(staging.path(), &error))?;
            let file = entry::file(&folder, wanted.kind);
            needed.push(Needed {
                wanted: wanted.clone(),
                file,
            });
        }
        let origins = self
            .source
            .fetch(&needed, staging.path(), &self.runner, context)
            .await?;
        context.point("artifacts.fetched").await;
        for (wanted, origin) in missing.into_iter().zip(origins) {
            let (root, name, source) = (self.root.clone(), self.name(&wanted), self.source.name());
            let (staged, now) = (staging.path().join(&name), context.now());
            let told = format!("{} {} is in the cache", title(wanted.kind), wanted.version);
            let commit = move || {
                Record::write(&staged, &wanted, source, &origin, now)?;
                entry::commit(&staged, &root, &name)
            };
            apart(&self.root, commit).await?;
            context.log(&told).await;
        }
        Ok(())
    }

    /// Makes the folder that entries are made in, named by one whose lock is held, and removes what its earlier holders left.
    fn stage(&self, locked: &Wanted) -> io::Result<TempDir> {
        let prefix = format!(".new-{}-", self.name(locked));
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.root)
    }
}

/// The entries, sorted. Locks and what is being made begin with a dot.
fn entries(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let listing = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        listing => listing?,
    };
    for entry in listing {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn check(entry: &Path) -> io::Result<CheckedFile> {
    let record = match Record::read(entry) {
        Ok(record) => record,
        Err(error) => {
            let state = match error.kind() {
                io::ErrorKind::NotFound => FileState::Missing,
                _ => FileState::Damaged,
            };
            let path = entry::record_file(entry);
            return Ok(CheckedFile { path, state });
        }
    };
    let path = entry::file(entry, record.kind);
    let state = match checksum::<Sha256>(&path) {
        Ok(sum) if sum == record.sha256 => FileState::Ok,
        Ok(_) => FileState::Damaged,
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileState::Missing,
        Err(error) => return Err(error),
    };
    Ok(CheckedFile { path, state })
}

#[async_trait]
impl ArtifactCache for Cache {
    async fn ensure(&self, context: &StepContext) -> Result<Artifacts, StepError> {
        context.check()?;
        private_folder(&self.root).map_err(|error| io_failed(&self.root, &error))?;
        let wanted = self.source.wanted().await?;
        let missing: Vec<_> = wanted.iter().filter(|wanted| self.lacks(wanted)).cloned().collect();
        if !missing.is_empty() {
            self.fetch(missing, context).await?;
        }
        let find = |kind: ArtifactKind| {
            let of_kind = wanted.iter().find(|wanted| wanted.kind == kind);
            let artifact = of_kind.and_then(|wanted| entry::usable(&self.entry(wanted), wanted));
            artifact.ok_or_else(|| unavailable(format!("{} was removed from the cache meanwhile.", title(kind))))
        };
        Ok(Artifacts {
            wordpress: find(ArtifactKind::WordPress)?,
            wp_cli: find(ArtifactKind::WpCli)?,
        })
    }

    async fn open(&self, artifact: &Artifact) -> Result<Box<dyn ByteSource>, Failure> {
        let gone = || {
            let Artifact {
                kind, version, sha256, ..
            } = artifact;
            unavailable(format!(
                "The cache has no {} {version} with the checksum {sha256}.",
                title(*kind)
            ))
        };
        let listed = self.list().await?;
        let found = listed
            .into_iter()
            .find(|cached| cached.artifact == *artifact)
            .ok_or_else(gone)?;
        let opened = File::open(&found.path).await;
        let file = opened.map_err(|error| io_failed(&found.path, &error))?;
        let size = file
            .metadata()
            .await
            .map_err(|error| io_failed(&found.path, &error))?
            .len();
        if size != artifact.size_bytes {
            return Err(gone());
        }
        Ok(Box::new(FileSource { file, path: found.path }))
    }
}

struct FileSource {
    file: File,
    path: PathBuf,
}

#[async_trait]
impl ByteSource for FileSource {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut chunk = vec![0; CHUNK];
        let read = self.file.read(&mut chunk).await;
        let count = read.map_err(|error| io_failed(&self.path, &error))?;
        chunk.truncate(count);
        Ok((count > 0).then_some(chunk))
    }
}
