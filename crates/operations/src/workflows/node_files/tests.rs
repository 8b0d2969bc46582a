//! The scripts are for a shell: only one can say that they work.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a shell is run, and a test fails by panicking"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const SUM: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn hello() -> StoredObject {
    StoredObject {
        size_bytes: 5,
        sha256: SUM.to_owned(),
    }
}

fn run(script: &str, input: &str) -> (Option<i32>, String) {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_gets_its_name_when_it_is_whole_and_what_was_broken_off_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("new/file.tar");
    let text = path.to_str().unwrap();
    let script = take_script(text, &hello(), "0600", "b-2");
    fs::create_dir(home.path().join("new")).unwrap();
    fs::write(home.path().join("new/file.tar.a-1.part"), "hel").unwrap();
    fs::write(home.path().join("new/other"), "stays").unwrap();
    assert_eq!(run(&script, "hello").0, Some(0));
    assert_eq!(names(path.parent().unwrap()), ["file.tar", "other"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "hello");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(&script, "hello").0, Some(0), "once more");
    for other in ["", "hell", "hellp", "hello!"] {
        assert_eq!(run(&script, other).0, Some(MISMATCH), "{other:?}");
        assert_eq!(names(path.parent().unwrap()), ["file.tar", "other"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello", "what was there stays");
    }
}

#[test]
fn a_folder_that_is_missing_is_made_for_all_to_look_into() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("artifacts/file.phar");
    let script = take_script(path.to_str().unwrap(), &hello(), "0644", "a-1");
    assert_eq!(run(&script, "hello").0, Some(0));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn what_is_there_is_told_and_the_same_bytes_are_known() {
    let home = tempfile::tempdir().unwrap();
    let (there, missing) = (home.path().join("there"), home.path().join("missing"));
    let (there, missing) = (there.to_str().unwrap(), missing.to_str().unwrap());
    fs::write(there, "hello").unwrap();
    let (status, told) = run(&present_script(&[missing, there]), "");
    assert_eq!((status, told), (Some(0), format!("{there}\n")));
    assert_eq!(run(&present_script(&[there, missing]), "").0, Some(0));
    assert_eq!(run(&same_script(there, &hello()), "").0, Some(0));
    assert_ne!(run(&same_script(missing, &hello()), "").0, Some(0));
    fs::write(there, "hellp").unwrap();
    assert_ne!(run(&same_script(there, &hello()), "").0, Some(0));
}

#[test]
fn a_symlink_is_made_moved_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let link = home.path().join("wp-cli.phar");
    for to in ["a.phar", "b.phar", "b.phar"] {
        assert_eq!(run(&link_script(link.to_str().unwrap(), to), "").0, Some(0));
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(to));
        assert_eq!(names(home.path()), ["wp-cli.phar"]);
    }
}

#[test]
fn root_runs_a_script_as_it_is_and_gets_its_input_and_its_end() {
    let (status, whose) = run("id -u", "");
    assert_eq!(status, Some(0));
    if whose.trim() != "0" {
        // Others need sudo, which a test does not ask for.
        return;
    }
    let (status, told) = run(&as_root("cat; echo 'it'\\''s'; exit 7"), "in ");
    assert_eq!((status, told.as_str()), (Some(7), "in it's\n"));
}
