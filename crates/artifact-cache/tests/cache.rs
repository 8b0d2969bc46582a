//! The cache over each of its sources. The registry of the npm source is the host's own, the official downloads are served
//! from 127.0.0.1.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artifact_cache::{ArtifactSource, Cache, FileState, NpmPackage, OfficialSource};
use domain_kernel::JobErrorCode as Code;
use jobs::StepError;
use process_exec::fake::ScriptedRunner;
use process_exec::{CommandRunner, CommandSpec, SystemRunner};
use sites_domain::{Artifact, ArtifactCache, Artifacts};
use support::{Server, phar, sha256, wordpress_tar, wordpress_tgz};
use test_support::{RealClock, step_context};

fn context() -> jobs::StepContext {
    step_context("fetch", Duration::from_secs(300), Arc::new(RealClock)).0
}

fn no_runner() -> Arc<dyn CommandRunner> {
    Arc::new(ScriptedRunner::new())
}

fn system_runner() -> Arc<dyn CommandRunner> {
    Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)))
}

fn code(error: &StepError) -> Code {
    match error {
        StepError::Failed(failure) => failure.code,
        other => panic!("{other}"),
    }
}

async fn content(cache: &Cache, artifact: &Artifact) -> Vec<u8> {
    let mut source = cache.open(artifact).await.unwrap();
    let mut content = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        content.extend(chunk);
    }
    content
}

async fn assert_empty(cache: &Cache, root: &Path) {
    assert_eq!(cache.list().await.unwrap(), []);
    let folder = root.join("artifacts");
    let left = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let left: Vec<_> = left.filter(|entry| entry.path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn official(server: &Server) -> ArtifactSource {
    ArtifactSource::Official(OfficialSource {
        wordpress_url: server.url(),
        wp_cli_url: server.url(),
        wordpress_version: "7.1.1".to_owned(),
        wp_cli_version: "2.12.0".to_owned(),
    })
}

#[tokio::test]
async fn the_pinned_package_gives_the_same_wordpress_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let source = ArtifactSource::Npm(NpmPackage::pinned());
    let cache = Cache::new(folder.path(), source.clone(), system_runner());
    let Artifacts { wordpress, wp_cli } = cache.ensure(&context()).await.unwrap();
    assert_eq!(
        (wordpress.version.as_str(), wp_cli.version.as_str()),
        ("7.1.1", "2.12.0")
    );
    assert_eq!(
        wordpress.sha256,
        "c62332ad0886033efc2220b6f0f4d9b84b52efa82911e6271147b0844b5e8ae6"
    );
    assert_eq!(
        wp_cli.sha256,
        "ce34ddd838f7351d6759068d09793f26755463b4a4610a5a5c0a97b68220d85c"
    );
    for artifact in [&wordpress, &wp_cli] {
        assert_eq!(sha256(&content(&cache, artifact).await), artifact.sha256);
    }
    let listed = cache.list().await.unwrap();
    assert_eq!(listed.len(), 2);
    for cached in &listed {
        assert_eq!(cached.source, "npm");
        assert_eq!(fs::metadata(&cached.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A second cache over the same folder asks npm for nothing.
    let again = Cache::new(folder.path(), source, no_runner())
        .ensure(&context())
        .await
        .unwrap();
    assert_eq!(again, Artifacts { wordpress, wp_cli });
}

#[tokio::test]
async fn a_package_that_is_not_the_pinned_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let integrity = format!("sha512-{}==", "A".repeat(86));
    let package = NpmPackage {
        integrity,
        ..NpmPackage::pinned()
    };
    let cache = Cache::new(folder.path(), ArtifactSource::Npm(package), system_runner());
    let error = cache.ensure(&context()).await.unwrap_err();
    assert_eq!(code(&error), Code::ArtifactChecksumMismatch);
    assert_empty(&cache, folder.path()).await;
}

#[tokio::test]
async fn a_host_without_npm_and_a_package_that_is_not_there_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let source = || ArtifactSource::Npm(NpmPackage::pinned());
    let error = Cache::new(folder.path(), source(), no_runner())
        .ensure(&context())
        .await
        .unwrap_err();
    assert_eq!(code(&error), Code::ArtifactUnavailable);
    assert!(error.to_string().contains("apt-get install npm"), "{error}");
    let refusing = ScriptedRunner::new().answer(1, "", "npm error code E404\nnpm error 404 Not Found\n");
    let cache = Cache::new(folder.path(), source(), Arc::new(refusing));
    let error = cache.ensure(&context()).await.unwrap_err();
    assert_eq!(code(&error), Code::ArtifactUnavailable);
    assert!(
        error.to_string().contains("(E404): try `npm pack wp-studio@1.22.0`"),
        "{error}"
    );
    let full = ScriptedRunner::new().answer(1, "", "npm error code ENOSPC\n");
    let cache = Cache::new(folder.path(), source(), Arc::new(full));
    assert_eq!(code(&cache.ensure(&context()).await.unwrap_err()), Code::HostDiskFull);
    assert_empty(&cache, folder.path()).await;
}

#[tokio::test]
async fn official_downloads_are_checked_and_unpacked_once() {
    let server = Server::good();
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path(), official(&server), no_runner());
    let artifacts = cache.ensure(&context()).await.unwrap();
    assert_eq!(content(&cache, &artifacts.wordpress).await, wordpress_tar("7.1.1"));
    assert_eq!(content(&cache, &artifacts.wp_cli).await, phar());
    assert_eq!(server.asked(), 4);
    assert_eq!(cache.ensure(&context()).await.unwrap(), artifacts);
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn a_download_that_is_not_as_published_is_refused_and_nothing_is_left() {
    let (wordpress, wp_cli) = ("/wordpress-7.1.1.tar.gz", "/v2.12.0/wp-cli-2.12.0.phar");
    // Well-formed and of the right version: the checksum alone tells.
    let other_wordpress = support::tgz_with("wordpress/more.php");
    let other_phar = [phar(), b"more".to_vec()].concat();
    let cases = [
        (wordpress, Some(other_wordpress), Code::ArtifactChecksumMismatch),
        (wp_cli, Some(other_phar), Code::ArtifactChecksumMismatch),
        (wordpress, None, Code::ArtifactUnavailable),
        ("/wordpress-7.1.1.tar.gz.sha1", None, Code::ArtifactUnavailable),
        (
            "/wordpress-7.1.1.tar.gz.sha1",
            Some(b"<html>".to_vec()),
            Code::ArtifactUnavailable,
        ),
    ];
    for (path, body, expected) in cases {
        let server = Server::good().with(path, body);
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), official(&server), no_runner());
        let error = cache.ensure(&context()).await.unwrap_err();
        assert_eq!(code(&error), expected, "{path}: {error}");
        assert_empty(&cache, folder.path()).await;
    }
}

#[tokio::test]
async fn a_download_that_is_cut_short_or_refused_leaves_nothing() {
    let server = Server::good().cut_short("/v2.12.0/wp-cli-2.12.0.phar");
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path(), official(&server), no_runner());
    let error = cache.ensure(&context()).await.unwrap_err();
    assert_eq!(code(&error), Code::ArtifactUnavailable, "{error}");
    assert_empty(&cache, folder.path()).await;
    drop(server);
    let error = cache.ensure(&context()).await.unwrap_err();
    assert_eq!(code(&error), Code::ArtifactUnavailable);
    assert!(error.to_string().contains("PRESSLUFT_ARTIFACT_SOURCE"), "{error}");
}

#[tokio::test]
async fn an_archive_of_another_version_or_with_foreign_paths_is_refused() {
    for tgz in [wordpress_tgz("7.1.2"), support::tgz_with("elsewhere/index.php")] {
        let server = Server::good().publishing(tgz);
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), official(&server), no_runner());
        assert_eq!(
            code(&cache.ensure(&context()).await.unwrap_err()),
            Code::ArtifactChecksumMismatch
        );
        assert_empty(&cache, folder.path()).await;
    }
}

#[tokio::test]
async fn files_of_the_host_are_used_by_their_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    let cache = Cache::new(folder.path(), ArtifactSource::Folder(files.clone()), no_runner());
    assert_eq!(
        code(&cache.ensure(&context()).await.unwrap_err()),
        Code::ArtifactUnavailable
    );

    let (tgz, tar) = (wordpress_tgz("7.1.1"), wordpress_tar("7.1.0"));
    fs::write(files.join("wordpress-7.1.1.tar.gz"), &tgz).unwrap();
    fs::write(files.join("wordpress-7.1.0.tar"), &tar).unwrap();
    fs::write(files.join("wp-cli-2.12.0.phar"), phar()).unwrap();
    let list = |tgz: &[u8]| {
        let lines = [
            (tgz, "wordpress-7.1.1.tar.gz"),
            (&tar, "wordpress-7.1.0.tar"),
            (&phar(), "wp-cli-2.12.0.phar"),
        ];
        let lines = lines.map(|(content, name)| format!("{}  {name}\n", sha256(content)));
        fs::write(files.join("SHA256SUMS"), lines.concat()).unwrap();
    };
    list(b"other");
    assert_eq!(
        code(&cache.ensure(&context()).await.unwrap_err()),
        Code::ArtifactChecksumMismatch
    );
    assert_empty(&cache, folder.path()).await;
    list(&tgz);
    let artifacts = cache.ensure(&context()).await.unwrap();
    assert_eq!(artifacts.wordpress.version, "7.1.1");
    assert_eq!(content(&cache, &artifacts.wordpress).await, wordpress_tar("7.1.1"));
    // Other files under the same name are other artifacts.
    list(b"changed");
    assert_eq!(
        code(&cache.ensure(&context()).await.unwrap_err()),
        Code::ArtifactChecksumMismatch
    );
}

#[tokio::test]
async fn a_damaged_or_missing_file_is_found_and_fetched_again_where_its_size_tells() {
    let server = Server::good();
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path(), official(&server), no_runner());
    let artifacts = cache.ensure(&context()).await.unwrap();
    let path = |artifact: &Artifact| {
        let name = if *artifact == artifacts.wordpress {
            "wordpress"
        } else {
            "wp-cli"
        };
        let entry = format!("artifacts/{name}-{}-official", artifact.version);
        fs::read_dir(folder.path().join(entry))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().unwrap() != "json")
            .unwrap()
    };
    let states = async || -> Vec<FileState> {
        cache
            .verify()
            .await
            .unwrap()
            .iter()
            .map(|checked| checked.state)
            .collect()
    };
    assert_eq!(states().await, [FileState::Ok, FileState::Ok]);
    let mut bytes = wordpress_tar("7.1.1");
    bytes[600] ^= 1;
    fs::write(path(&artifacts.wordpress), bytes).unwrap();
    assert_eq!(states().await, [FileState::Damaged, FileState::Ok]);
    fs::remove_file(path(&artifacts.wp_cli)).unwrap();
    assert_eq!(states().await, [FileState::Damaged, FileState::Missing]);
    let error = cache.open(&artifacts.wp_cli).await.err().unwrap();
    assert_eq!(error.code, Code::ArtifactUnavailable);
    fs::remove_file(path(&artifacts.wordpress)).unwrap();
    assert_eq!(cache.ensure(&context()).await.unwrap(), artifacts);
    assert_eq!(states().await, [FileState::Ok, FileState::Ok]);
}

/// Both parts of this test are this test: with the variable set it is a process that fetches.
#[tokio::test]
async fn two_processes_at_once_fetch_once_and_a_killed_one_leaves_no_entry() {
    let name = "two_processes_at_once_fetch_once_and_a_killed_one_leaves_no_entry";
    if let (Some(root), Ok(url)) = (std::env::var_os("FETCH_INTO"), std::env::var("FETCH_FROM")) {
        let source = ArtifactSource::Official(OfficialSource {
            wordpress_url: url.clone(),
            wp_cli_url: url,
            ..OfficialSource::pinned()
        });
        let cache = Cache::new(Path::new(&root), source, no_runner());
        cache.ensure(&context()).await.unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fetch = |server: &Server| {
        let command = CommandSpec::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("FETCH_INTO", folder.path())
            .env("FETCH_FROM", server.url());
        let (context, cancel, _) = step_context("fetch", Duration::from_secs(60), Arc::new(RealClock));
        let task = tokio::spawn(async move { system_runner().run(command, &context.limits).await });
        (task, cancel)
    };

    let stalling = Server::good().stalling("/v2.12.0/wp-cli-2.12.0.phar");
    let (killed, cancel) = fetch(&stalling);
    stalling.stalled().await;
    cancel.cancel(domain_kernel::StopReason::Shutdown);
    assert!(killed.await.unwrap().is_err());
    let server = Server::good();
    let cache = Cache::new(folder.path(), official(&server), no_runner());
    assert_eq!(cache.list().await.unwrap(), []);
    let leftover = fs::read_dir(folder.path().join("artifacts")).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".new-")
    });
    assert_eq!(leftover.count(), 1, "it was killed half-way");

    let (one, two) = (fetch(&server).0, fetch(&server).0);
    for ended in [one.await, two.await] {
        let output = ended.unwrap().unwrap();
        assert!(output.success(), "{}", output.stdout_text());
    }
    assert_eq!(server.asked(), 4);
    assert_eq!(cache.list().await.unwrap().len(), 2);
    let folders = fs::read_dir(folder.path().join("artifacts"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), 2);
}
