//! The key pair that Pressluft logs in with: one per installation, made on first use, never overwritten.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::Failure;
use nodes_domain::{ManagedKey, ManagedKeys};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

use crate::files::{blocking, failed, keep_file, private_folder, sync_folder_of, write_beside};

const NAME: &str = "pressluft_ed25519";

/// The key pair in `<data directory>/keys`.
#[derive(Debug, Clone)]
pub struct ManagedKeyFile {
    data_dir: PathBuf,
}

impl ManagedKeyFile {
    /// The key of a data directory. Nothing is touched before it is asked for.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
        }
    }
}

#[async_trait]
impl ManagedKeys for ManagedKeyFile {
    async fn key(&self) -> Result<ManagedKey, Failure> {
        let data_dir = self.data_dir.clone();
        blocking(move || load_or_make(&data_dir)).await
    }
}

fn load_or_make(data_dir: &Path) -> Result<ManagedKey, Failure> {
    let trouble = |path: &Path, error: &io::Error| failed(JobErrorCode::SshKeyGenerationFailed, path, error);
    let folder = std::path::absolute(data_dir.join("keys")).map_err(|error| trouble(data_dir, &error))?;
    private_folder(&folder).map_err(|error| trouble(&folder, &error))?;
    let path = folder.join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(&path)?;
            // Whoever was first: the key that is there is the key.
            fs::read(&path).map_err(|error| trouble(&path, &error))?
        }
        Err(error) => return Err(trouble(&path, &error)),
    };
    let key = parse(&text).map_err(|reason| {
        let detail = format!(
            "{} is {reason}. It is left as it is: restore it from a backup. Without one, move it away; Pressluft then \
             makes a new key, which remote machines have to be given by hand",
            path.display()
        );
        Failure::new(JobErrorCode::SshKeyGenerationFailed, detail)
    })?;
    close_to_others(&path).map_err(|error| trouble(&path, &error))?;
    let public_key = key
        .public_key()
        .to_openssh()
        .map_err(|error| Failure::new(JobErrorCode::SshKeyGenerationFailed, error.to_string()))?;
    let public_path = folder.join(format!("{NAME}.pub"));
    keep_file(&public_path, format!("{public_key}\n").as_bytes(), 0o644)
        .map_err(|error| trouble(&public_path, &error))?;
    Ok(ManagedKey {
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        public_key,
        private_key_path: path,
    })
}

/// Puts a new key at `path`, unless there is one.
fn make(path: &Path) -> Result<(), Failure> {
    let broken = |error: ssh_key::Error| Failure::new(JobErrorCode::SshKeyGenerationFailed, error.to_string());
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(broken)?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    key.set_comment(format!("pressluft@{host}"));
    let text = key.to_openssh(LineEnding::LF).map_err(broken)?;
    place(path, text.as_bytes()).map_err(|error| failed(JobErrorCode::SshKeyGenerationFailed, path, &error))
}

fn place(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = write_beside(path, content, 0o600)?;
    // A link, unlike a rename, fails where the name is taken.
    let linked = match fs::hard_link(&beside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&beside)?;
    linked?;
    sync_folder_of(path)
}

fn parse(text: &[u8]) -> Result<PrivateKey, String> {
    let key = PrivateKey::from_openssh(text).map_err(|error| format!("not a readable OpenSSH key ({error})"))?;
    if key.is_encrypted() {
        return Err("locked by a passphrase".to_owned());
    }
    if key.algorithm() != Algorithm::Ed25519 {
        return Err(format!("a key of type {}, not ssh-ed25519", key.algorithm()));
    }
    Ok(key)
}

/// `ssh` does not use a key that others may read.
fn close_to_others(path: &Path) -> io::Result<()> {
    let mode = path.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "the private key was open to other users");
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}
