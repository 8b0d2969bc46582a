//! The managed key pair.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use domain_kernel::JobErrorCode;
use futures_util::future::join_all;
use nodes_domain::ManagedKeys;
use ssh_readiness::ManagedKeyFile;

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_first_use_makes_a_private_key_and_later_ones_find_it() {
    let data = tempfile::tempdir().unwrap();
    let keys = ManagedKeyFile::new(data.path());
    let key = keys.key().await.unwrap();
    assert!(key.public_key.starts_with("ssh-ed25519 AAAA"), "{}", key.public_key);
    let comment = key.public_key.split(' ').nth(2).unwrap();
    assert!(comment.starts_with("pressluft@"), "{comment}");
    assert!(key.fingerprint.starts_with("SHA256:"));
    assert_eq!(key.private_key_path, data.path().join("keys/pressluft_ed25519"));
    assert_eq!(mode(&key.private_key_path), 0o600);
    assert_eq!(mode(&data.path().join("keys")), 0o700);
    let first = key.private_key_path.metadata().unwrap();
    assert_eq!(keys.key().await.unwrap(), key);
    assert_eq!(ManagedKeyFile::new(data.path()).key().await.unwrap(), key);
    assert_eq!(key.private_key_path.metadata().unwrap().ino(), first.ino());
    assert_eq!(first.nlink(), 1, "no temporary name stays behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_first_uses_at_once_end_with_one_key() {
    let data = tempfile::tempdir().unwrap();
    let uses = (0..20).map(|_| {
        let keys = ManagedKeyFile::new(data.path());
        tokio::spawn(async move { keys.key().await.unwrap().public_key })
    });
    let made: HashSet<_> = join_all(uses).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.len(), 1);
    let files = data.path().join("keys").read_dir().unwrap().count();
    assert_eq!(files, 2, "only the pair stays");
}

#[tokio::test]
async fn a_missing_public_half_is_made_again() {
    let data = tempfile::tempdir().unwrap();
    let keys = ManagedKeyFile::new(data.path());
    let key = keys.key().await.unwrap();
    let public = data.path().join("keys/pressluft_ed25519.pub");
    let text = fs::read_to_string(&public).unwrap();
    assert_eq!(text, format!("{}\n", key.public_key));
    fs::remove_file(&public).unwrap();
    assert_eq!(keys.key().await.unwrap(), key);
    assert_eq!(fs::read_to_string(&public).unwrap(), text);
}

#[tokio::test]
async fn a_broken_key_is_an_error_and_stays_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    let keys = ManagedKeyFile::new(data.path());
    let path = keys.key().await.unwrap().private_key_path;
    for broken in [
        "",
        "not a key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    ] {
        fs::write(&path, broken).unwrap();
        let failure = keys.key().await.unwrap_err();
        assert_eq!(failure.code, JobErrorCode::SshKeyGenerationFailed);
        assert!(
            failure.detail.contains("pressluft_ed25519") && failure.detail.contains("restore it"),
            "{failure}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(keys.key().await.unwrap_err().code, JobErrorCode::SshKeyGenerationFailed);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    fs::write(&file, "").unwrap();
    let failure = ManagedKeyFile::new(file).key().await.unwrap_err();
    assert_eq!(failure.code, JobErrorCode::SshKeyGenerationFailed);
}

#[tokio::test]
async fn a_key_that_others_may_read_is_closed_to_them() {
    let data = tempfile::tempdir().unwrap();
    let keys = ManagedKeyFile::new(data.path());
    let path = keys.key().await.unwrap().private_key_path;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    keys.key().await.unwrap();
    assert_eq!(mode(&path), 0o600);
}
