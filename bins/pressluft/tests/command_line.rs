//! The program as it is started: its exit status and what it says.

// The program is a process of the test's own: process-exec belongs to the product.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs the program in a folder of its own, with these settings and nothing else of the environment.
fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pressluft"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses to start has closed its input already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_setting_that_cannot_be_used_ends_the_start_with_status_2_and_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("PRESSLUFT_BIND", "192.0.2.1:8080"),
        ("PRESSLUFT_BIND", "300.0.0.1:8080"),
        ("PRESSLUFT_ADMIN_PASSWORD", "hunter2"),
        ("PRESSLUFT_ANSIBLE_DIR", "/nowhere"),
        ("PRESSLUFT_ANSIBLE_VENV", "/nowhere"),
        ("PRESSLUFT_RETENTION", "for ever"),
        ("PRESSLUFT_TRUSTED_PROXY", "localhost"),
    ] {
        for command in ["dev", "serve"] {
            let output = run(folder.path(), &[command], &[(name, value)], "");
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{name}={value}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
            assert!(told.starts_with(&format!("pressluft: {name}: ")), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
    let output = run(folder.path(), &["serve", "--bind", "192.0.2.1:8080"], &[], "");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("pressluft: --bind: cannot listen on 192.0.2.1:8080"),
        "{told}"
    );
}

#[test]
fn the_audit_log_is_printed_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str], input: &str| {
        let output = run(folder.path(), arguments, &[], input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        said(&["admin", "audit"], ""),
        "The audit log is empty: nobody has done anything yet.\n"
    );
    let email = ["--email", "ops@example.test"];
    said(&["admin", "create", email[0], email[1]], "correct horse battery\n");
    said(
        &["admin", "set-password", email[0], email[1]],
        "another long password\n",
    );

    let table = said(&["admin", "audit"], "");
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("TIME"), "{table}");
    assert!(lines[1].contains("account.password_changed"), "{table}");
    assert!(
        lines[2].contains("account.created") && lines[2].contains("account ops@example.test"),
        "{table}"
    );
    assert!(!table.contains("horse") && !table.contains("argon2"), "{table}");

    let newest: Value = serde_json::from_str(&said(&["admin", "audit", "--limit", "1", "--json"], "")).unwrap();
    let items = newest["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), items[0]["action"].as_str()),
        (1, Some("account.password_changed"))
    );
    assert_eq!(items[0]["subject"]["email"], "ops@example.test");
}
