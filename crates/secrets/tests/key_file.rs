//! The key file of stored secrets, as other processes and users of the host meet it.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accounts_domain::{SealedSecret, SecretBox};
use domain_kernel::{CancelToken, Clock, Limits, Secret};
use futures_util::future::join_all;
use process_exec::{CommandRunner, CommandSpec, SystemClock, SystemRunner};
use secrets::{KeyFileError, XChaChaBox};

const ROW: &str = "nodes/1/password";

/// The variable by which a copy of this test knows that it is one: the key file's path.
const PATH_OF_A_COPY: &str = "SECRETS_TEST_KEY_FILE";

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/keys/secrets");
    Place { _folder: folder, path }
}

fn made() -> Place {
    let place = place();
    XChaChaBox::open_or_make(&place.path).unwrap();
    place
}

/// Why a key file of this content is refused; it must still be as it was.
fn refused(content: &str) -> KeyFileError {
    let place = made();
    fs::write(&place.path, content).unwrap();
    let error = XChaChaBox::open_or_make(&place.path).unwrap_err();
    assert_eq!(fs::read_to_string(&place.path).unwrap(), content);
    error
}

#[test]
fn the_file_and_its_folder_are_made_for_their_owner_alone_and_nothing_lies_beside() {
    let place = made();
    let folder = place.path.parent().unwrap();
    assert_eq!((mode(&place.path), mode(folder)), (0o600, 0o700));
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let place = made();
    let before = fs::read(&place.path).unwrap();
    let (one, other) = (
        XChaChaBox::open_or_make(&place.path).unwrap(),
        XChaChaBox::open_existing(&place.path).unwrap().unwrap(),
    );
    assert_eq!(fs::read(&place.path).unwrap(), before);
    let sealed = one.seal(&Secret::new("x"), ROW).unwrap();
    assert_eq!(other.open(&sealed, ROW).unwrap().expose(), "x");
}

#[test]
fn without_a_file_there_is_no_box_and_none_is_made_unless_asked() {
    let place = place();
    assert!(XChaChaBox::open_existing(&place.path).unwrap().is_none());
    assert!(!place.path.exists());
}

#[test]
fn a_file_or_folder_that_others_can_look_into_is_refused_with_the_command_that_closes_it() {
    for open in [0o640, 0o604, 0o660] {
        let place = made();
        fs::set_permissions(&place.path, Permissions::from_mode(open)).unwrap();
        let error = XChaChaBox::open_or_make(&place.path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("chmod 600 {}", place.path.display())),
            "{error}"
        );
        assert_eq!(mode(&place.path), open);
    }
    let place = made();
    let folder = place.path.parent().unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    let error = XChaChaBox::open_or_make(&place.path).unwrap_err().to_string();
    assert!(error.contains(&format!("chmod 700 {}", folder.display())), "{error}");
}

#[test]
fn a_file_that_holds_something_else_is_refused_by_its_line_and_never_repeated() {
    // 31, 32 and 33 bytes.
    let short = "c2hvcnQgb2Ygb25lIGJ5dGUsIDMxIGluIGFsbC4gLg==";
    let good = "dGhpcyBrZXkgaXMgZXhhY3RseSAzMiBieXRlcyBsb24=";
    let long = "dGhpcyBrZXkgaXMgb25lIGJ5dGUgdG9vIGxvbmc6IDMz";
    let cases = [
        (String::new(), 1),
        ("\n".to_owned(), 1),
        (format!("0badc0de {short}\n"), 1),
        (format!("0badc0de {long}\n"), 1),
        (format!("0badc0de  {good}\n"), 1),
        (format!("0BADC0DE {good}\n"), 1),
        (format!("0badc0d {good}\n"), 1),
        (format!("{good}\n"), 1),
        (format!("0badc0de {good}\n0badc0de {good}\n"), 2),
        (format!("0badc0de {good}\n\n"), 2),
        ("x".repeat(70_000), 1),
    ];
    for (content, bad) in cases {
        let error = refused(&content);
        assert!(
            matches!(error, KeyFileError::Malformed { line, .. } if line == bad),
            "{error}: {content}"
        );
        let told = format!("{error} {error:?}");
        assert!([short, good, long].iter().all(|key| !told.contains(key)), "{told}");
    }
    let place = made();
    fs::write(&place.path, format!("0badc0de {good}\n")).unwrap();
    XChaChaBox::open_or_make(&place.path).unwrap();
}

#[tokio::test]
async fn processes_that_make_the_key_at_once_end_with_one() {
    if let Some(path) = std::env::var_os(PATH_OF_A_COPY) {
        let path = PathBuf::from(path);
        let sealed = XChaChaBox::open_or_make(&path)
            .unwrap()
            .seal(&Secret::new("x"), ROW)
            .unwrap();
        println!("sealed={}", sealed.as_str());
        return;
    }
    let place = place();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runner = SystemRunner::unrecorded(Arc::clone(&clock));
    let limits = Limits {
        cancel: CancelToken::new(),
        deadline: clock.now().plus(Duration::from_secs(60)),
    };
    let copy = CommandSpec::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "processes_that_make_the_key_at_once_end_with_one",
            "--nocapture",
        ])
        .env(PATH_OF_A_COPY, &place.path);
    let copies = join_all((0..16).map(|_| runner.run(copy.clone(), &limits))).await;
    let secrets = XChaChaBox::open_existing(&place.path).unwrap().unwrap();
    for output in copies {
        let output = output.unwrap();
        assert!(output.success(), "{}", output.stderr_text());
        let text = output.stdout_text();
        let sealed = text.lines().find_map(|line| line.split_once("sealed=")).unwrap().1;
        let opened = secrets.open(&SealedSecret::from_stored(sealed), ROW);
        assert_eq!(opened.unwrap().expose(), "x");
    }
    assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1);
}
