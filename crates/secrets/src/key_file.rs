//! The file that holds the keys of stored secrets: made on first use, never overwritten, refused where it is not private
//! or not whole.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::{hexadecimal, random_bytes};

/// Bytes in a key.
const KEY_LENGTH: usize = 32;

/// A file longer than this holds something else: it is not read into memory.
const LONGEST_FILE: u64 = 64 * 1024;

/// Why the key file cannot be used. It is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Other users can read the file or look into its folder.
    #[error(
        "{path} is open to other users (mode {mode:o}): if nobody else has read it, run `chmod {wanted:o} {path}`",
        path = path.display()
    )]
    Open {
        /// The file or its folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it should have.
        wanted: u32,
    },
    /// It holds something else than keys.
    #[error(
        "{path}, line {line}: {reason}. The file is left as it is: restore it from a backup, because stored secrets open \
         with these keys only",
        path = path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, without anything of what the line holds.
        reason: &'static str,
    },
    /// The system's random source failed.
    #[error("no key can be made: {0}")]
    Random(String),
    /// The system refused.
    #[error("the key file {path} cannot be used", path = path.display())]
    System {
        /// The file or its folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A key and its id. Its bytes are wiped when it is dropped.
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) bytes: Zeroizing<[u8; KEY_LENGTH]>,
}

/// Names a key: 8 lower-case hexadecimal digits, chosen at random when the key is made. Not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyId(String);

impl KeyId {
    /// The id that a text is.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 8 && hexadecimal).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys of a file, oldest first, at least one. `None` where there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<Key>>, KeyFileError> {
    let failed = |source| KeyFileError::System {
        path: path.to_owned(),
        source,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if let Some(folder) = path.parent() {
        private(folder, &fs::metadata(folder).map_err(failed)?, 0o700)?;
    }
    // Asked of the open file, so that what was looked at is what is read.
    let metadata = file.metadata().map_err(failed)?;
    private(path, &metadata, 0o600)?;
    let malformed = |line, reason| KeyFileError::Malformed {
        path: path.to_owned(),
        line,
        reason,
    };
    if !metadata.is_file() || metadata.len() > LONGEST_FILE {
        return Err(malformed(1, "this is no key file"));
    }
    // Room for all of it at once: a text that grows leaves copies of itself behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_FILE as usize));
    file.read_to_string(&mut text).map_err(failed)?;
    let mut keys: Vec<Key> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let key = parse(line).map_err(|reason| malformed(index + 1, reason))?;
        if keys.iter().any(|known| known.id == key.id) {
            return Err(malformed(index + 1, "the key id is there twice"));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(malformed(1, "the file is empty"));
    }
    Ok(Some(keys))
}

/// Makes the file with one new key, and its folder (0700) where that is missing. A file that is there stays.
pub(crate) fn make(path: &Path) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::System {
        path: path.to_owned(),
        source,
    };
    let random = |error: accounts_domain::HashError| KeyFileError::Random(error.0);
    let id = hexadecimal(&random_bytes::<4>().map_err(random)?);
    let bytes = Zeroizing::new(random_bytes::<KEY_LENGTH>().map_err(random)?);
    let key = Zeroizing::new(Base64::encode_string(bytes.as_slice()));
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    // Written whole beside it (0600 from the start), then given its name: unlike a plain rename this fails where the name
    // is taken, so of several that are first all but one give way.
    let mut beside = tempfile::Builder::new()
        .prefix(".new-key-")
        .tempfile_in(folder)
        .map_err(failed)?;
    beside
        .write_all(Zeroizing::new(format!("{id} {}\n", *key)).as_bytes())
        .and_then(|()| beside.as_file().sync_all())
        .map_err(failed)?;
    match beside.persist_noclobber(path) {
        Ok(_) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error)),
    }
}

fn private(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), KeyFileError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyFileError::Open {
        path: path.to_owned(),
        mode,
        wanted,
    })
}

fn parse(line: &str) -> Result<Key, &'static str> {
    let (id, key) = line.split_once(' ').ok_or("expected `<key id> <key>`")?;
    let id = KeyId::parse(id).ok_or("a key id has 8 lower-case hexadecimal digits")?;
    let mut bytes = Zeroizing::new([0_u8; KEY_LENGTH]);
    match Base64::decode(key, bytes.as_mut_slice()) {
        Ok(decoded) if decoded.len() == KEY_LENGTH => Ok(Key { id, bytes }),
        Ok(_) | Err(_) => Err("a key is 32 bytes in base64"),
    }
}
