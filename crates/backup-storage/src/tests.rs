//! The same cases over a folder and over a real S3 server.

mod server;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use server::{SECRET, Server, settings};
use sha2::{Digest, Sha256};
use sites_domain::{BackupStorage, StorageError, StoredObject};

use crate::place::PART_BYTES;
use crate::{ObjectStorage, S3Settings};

const KEY: &str = "site-1/env-1/backup-1.tar.zst";

/// A storage and a view below it.
enum Bench<'a> {
    Folder(PathBuf),
    Bucket(&'a Server, &'static str),
}

impl Bench<'_> {
    fn storage(&self) -> ObjectStorage {
        match self {
            Self::Folder(root) => ObjectStorage::folder(root).unwrap(),
            Self::Bucket(server, prefix) => ObjectStorage::s3(&server.settings(prefix)).unwrap(),
        }
    }

    /// Everything that is stored, under whatever name.
    async fn names(&self) -> Vec<String> {
        match self {
            Self::Folder(root) => files_below(root, root),
            Self::Bucket(server, prefix) => server.keys(prefix).await,
        }
    }

    async fn assert_empty(&self) {
        assert_eq!(self.names().await, Vec::<String>::new());
        if let Self::Bucket(server, _) = self {
            assert_eq!(server.unfinished_uploads().await, 0);
        }
    }
}

fn files_below(root: &Path, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(root, &path));
        } else {
            found.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
    found
}

/// Bytes that no two parts share.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn object(content: &[u8]) -> StoredObject {
    StoredObject {
        size_bytes: content.len() as u64,
        sha256: format!("{:x}", Sha256::digest(content)),
    }
}

async fn write(storage: &ObjectStorage, content: &[u8]) -> Box<dyn sites_domain::Upload> {
    let mut upload = storage.begin(KEY).await.unwrap();
    for chunk in content.chunks(100_003) {
        upload.write(chunk).await.unwrap();
    }
    upload
}

async fn read(storage: &ObjectStorage) -> Vec<u8> {
    let mut source = storage.open(KEY).await.unwrap();
    let mut content = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        assert!(!chunk.is_empty() && chunk.len() <= PART_BYTES);
        content.extend(chunk);
    }
    content
}

async fn what_was_stored_comes_back(bench: &Bench<'_>) {
    let storage = bench.storage();
    let content = bytes(20_000_000, 1);
    let upload = write(&storage, &content).await;
    assert!(storage.open(KEY).await.is_err(), "it is seen before it is whole");
    upload.finish(&object(&content)).await.unwrap();
    assert!(read(&storage).await == content);
    assert_eq!(bench.names().await, [KEY]);
}

async fn a_later_object_takes_the_place_of_an_earlier_one(bench: &Bench<'_>) {
    let storage = bench.storage();
    for seed in [1, 2] {
        let content = bytes(3_000, seed);
        write(&storage, &content).await.finish(&object(&content)).await.unwrap();
        assert!(read(&storage).await == content);
    }
    assert_eq!(bench.names().await, [KEY]);
}

async fn an_object_of_exactly_some_parts_comes_back(bench: &Bench<'_>) {
    let storage = bench.storage();
    for size in [0, PART_BYTES, 2 * PART_BYTES] {
        let content = bytes(size, 3);
        write(&storage, &content).await.finish(&object(&content)).await.unwrap();
        assert!(read(&storage).await == content, "{size}");
    }
}

async fn what_is_not_as_expected_is_refused_and_nothing_is_left(bench: &Bench<'_>) {
    let storage = bench.storage();
    let content = bytes(PART_BYTES + 10, 4);
    let mut other = object(&content);
    other.sha256 = object(b"other").sha256;
    let mut shorter = object(&content);
    shorter.size_bytes -= 1;
    for expected in [other, shorter] {
        let error = write(&storage, &content).await.finish(&expected).await.unwrap_err();
        let found = object(&content);
        assert_eq!(
            error,
            StorageError::Mismatch {
                what: "what arrived",
                expected,
                found
            }
        );
        bench.assert_empty().await;
    }
}

async fn an_earlier_object_outlives_a_refused_later_one(bench: &Bench<'_>) {
    let storage = bench.storage();
    let (first, second) = (bytes(1_000, 5), bytes(1_000, 6));
    write(&storage, &first).await.finish(&object(&first)).await.unwrap();
    write(&storage, &second)
        .await
        .finish(&object(&first))
        .await
        .unwrap_err();
    assert!(read(&storage).await == first);
}

async fn an_object_that_is_not_there_is_missing(bench: &Bench<'_>) {
    let storage = bench.storage();
    let error = storage.open(KEY).await.err().unwrap();
    let (id, key) = (storage.id(), KEY.to_owned());
    assert_eq!(error, StorageError::Missing { storage: id, key });
}

async fn an_object_can_be_removed_twice(bench: &Bench<'_>) {
    let storage = bench.storage();
    let content = bytes(1_000, 7);
    write(&storage, &content).await.finish(&object(&content)).await.unwrap();
    storage.remove(KEY).await.unwrap();
    bench.assert_empty().await;
    storage.remove(KEY).await.unwrap();
}

async fn an_aborted_or_dropped_upload_leaves_nothing(bench: &Bench<'_>) {
    let storage = bench.storage();
    let content = bytes(PART_BYTES + 10, 8);
    write(&storage, &content).await.abort().await.unwrap();
    bench.assert_empty().await;
    drop(write(&storage, &content).await);
    // What is dropped is removed by a task of its own; the next writing of the key is what is promised to clear it.
    storage.begin(KEY).await.unwrap().abort().await.unwrap();
    assert_eq!(bench.names().await, Vec::<String>::new());
    assert!(storage.open(KEY).await.is_err());
}

async fn a_key_that_leads_elsewhere_is_refused(bench: &Bench<'_>) {
    let storage = bench.storage();
    for key in ["../elsewhere", "/etc/passwd", "a/../../b", "", "A"] {
        assert!(storage.begin(key).await.is_err(), "{key}");
        assert!(storage.open(key).await.is_err(), "{key}");
        assert!(storage.remove(key).await.is_err(), "{key}");
    }
}

/// Runs every case, each in a place of its own.
macro_rules! each_case {
    ($bench:expr) => {
        each_case!($bench, what_was_stored_comes_back, a_later_object_takes_the_place_of_an_earlier_one,
            an_object_of_exactly_some_parts_comes_back, what_is_not_as_expected_is_refused_and_nothing_is_left,
            an_earlier_object_outlives_a_refused_later_one, an_object_that_is_not_there_is_missing,
            an_object_can_be_removed_twice, an_aborted_or_dropped_upload_leaves_nothing,
            a_key_that_leads_elsewhere_is_refused)
    };
    ($bench:expr, $($case:ident),+) => {
        $(println!("{}", stringify!($case)); $case(&$bench(stringify!($case))).await;)+
    };
}

#[tokio::test]
async fn a_folder_keeps_backups() {
    let folder = tempfile::tempdir().unwrap();
    each_case!(|case| Bench::Folder(folder.path().join(case)));
}

#[tokio::test]
async fn a_bucket_keeps_backups() {
    let server = Server::start().await;
    each_case!(|case| Bench::Bucket(&server, case));
    an_object_too_large_for_one_copy_is_copied_by_parts(&server).await;
    server.end().await;
}

async fn an_object_too_large_for_one_copy_is_copied_by_parts(server: &Server) {
    let storage = ObjectStorage::s3_that_copies(&server.settings("large"), 1_000).unwrap();
    let content = bytes(PART_BYTES + 1_000, 9);
    write(&storage, &content).await.finish(&object(&content)).await.unwrap();
    assert!(read(&storage).await == content);
    assert_eq!(server.keys("large").await, [KEY]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_fails_soon_and_without_the_secret() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let settings = settings(&endpoint, "");
    let storage = ObjectStorage::s3(&settings).unwrap();
    let begun = tokio::time::timeout(Duration::from_secs(60), storage.begin(KEY))
        .await
        .unwrap();
    let error = begun.err().unwrap();
    assert!(matches!(error, StorageError::Failed { .. }), "{error:?}");
    let told = format!("{error} {error:?} {storage:?} {settings:?}");
    assert!(!told.contains(SECRET), "{told}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let good = settings("https://storage.example", "");
    assert!(ObjectStorage::s3(&good).is_ok());
    for endpoint in [
        "not a url",
        "ftp://storage.example",
        "storage.example",
        "https://",
        "https://me:word@storage.example",
    ] {
        let endpoint = Some(endpoint.to_owned());
        let error = ObjectStorage::s3(&S3Settings {
            endpoint,
            ..good.clone()
        });
        assert!(error.is_err(), "{error:?}");
    }
    for prefix in ["a//b", "a/../b"] {
        let prefix = prefix.to_owned();
        let refused = ObjectStorage::s3(&S3Settings { prefix, ..good.clone() });
        assert!(refused.is_err(), "{refused:?}");
    }
    let bucket = String::new();
    assert!(ObjectStorage::s3(&S3Settings { bucket, ..good }).is_err());
}

#[tokio::test]
async fn a_folder_and_its_files_are_private_from_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("backups");
    let storage = ObjectStorage::folder(&root).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let upload = write(&storage, b"content").await;
    let partial = root.join(files_below(&root, &root).pop().unwrap());
    assert_eq!(mode(&partial), 0o600);
    upload.finish(&object(b"content")).await.unwrap();
    assert_eq!(mode(&root.join(KEY)), 0o600);
    for inner in ["", "site-1", "site-1/env-1"] {
        assert_eq!(mode(&root.join(inner)), 0o700, "{inner}");
    }
}

#[tokio::test]
async fn bytes_that_changed_on_the_disk_are_noticed_when_they_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::Folder(folder.path().to_owned());
    let content = bytes(PART_BYTES + 10, 10);
    let upload = write(&bench.storage(), &content).await;
    let partial = folder.path().join(bench.names().await.pop().unwrap());
    let file = fs::OpenOptions::new().write(true).open(partial).unwrap();
    file.write_all_at(&[!content[0]], 0).unwrap();
    let error = upload.finish(&object(&content)).await.unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::Mismatch {
                what: "what was read back",
                ..
            }
        ),
        "{error}"
    );
    bench.assert_empty().await;
}

#[tokio::test]
async fn what_a_crash_left_is_removed_before_the_next_writing_and_with_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::Folder(folder.path().to_owned());
    let storage = bench.storage();
    let place = folder.path().join("site-1/env-1");
    fs::create_dir_all(&place).unwrap();
    let leave = || {
        for left in [
            "backup-1.tar.zst.partial",
            "backup-1.tar.zst.partial#1",
            "backup-1.tar.zst.partial#2",
        ] {
            fs::write(place.join(left), "left").unwrap();
        }
    };
    fs::write(place.join("backup-1.tar.zst.partially"), "another's").unwrap();
    leave();
    storage.begin(KEY).await.unwrap().abort().await.unwrap();
    assert_eq!(bench.names().await, ["site-1/env-1/backup-1.tar.zst.partially"]);
    leave();
    storage.remove(KEY).await.unwrap();
    assert_eq!(bench.names().await, ["site-1/env-1/backup-1.tar.zst.partially"]);
}
