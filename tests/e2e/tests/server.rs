//! The server without any machine: what is missing, what is refused, how it starts and ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use e2e::Installation;
use serde_json::{Value, json};

#[test]
fn a_missing_multipass_is_an_outcome_of_the_job_at_the_first_attempt_and_nothing_else_is_started() {
    let installation = Installation::new().with("LOCAL_PROVIDER", "multipass");
    let server = installation.start();
    let client = server.client();
    let (node, job) = client.create_local_node();
    let ended = client.end_of(&job, Duration::from_secs(20));
    assert_eq!(
        (ended["status"].as_str(), ended["attempt_count"].as_u64()),
        (Some("failed"), Some(1)),
        "{ended:#}"
    );
    assert_eq!(ended["error_code"], "LOCAL_PROVIDER_UNAVAILABLE");
    let message = ended["error_message"].as_str().unwrap();
    assert!(
        message.contains("snap install multipass") && message.contains("pressluft doctor"),
        "{message}"
    );
    assert_eq!(ended["steps"].as_array().unwrap().len(), 1);
    let seen = client.node(&node);
    assert_eq!(
        (seen["status"].as_str(), seen["provider"].as_str()),
        (Some("failed"), Some("multipass"))
    );
    assert_eq!(seen["public_ip"], Value::Null);
    assert_eq!(client.get("/api/nodes")["items"].as_array().unwrap().len(), 1);
    assert!(
        !installation.data_dir().join("machines").exists(),
        "another provider was at work"
    );
    let providers = client.get("/api/providers");
    let local = &providers.as_array().or(providers["items"].as_array()).unwrap()[0];
    assert_eq!(
        (local["id"].as_str(), local["available"].as_bool()),
        (Some("multipass"), Some(false))
    );

    // Asked for again it is a new job with the same end; the node can still be given back.
    let again = client.expect(202, "POST", &format!("/api/jobs/{job}/retry"), None);
    let again = client.end_of(again["job_id"].as_str().unwrap(), Duration::from_secs(20));
    assert_eq!(again["error_code"], "LOCAL_PROVIDER_UNAVAILABLE");
    server.stop();
}

#[test]
fn a_second_server_on_the_same_data_directory_is_refused() {
    let installation = Installation::new();
    let server = installation.start();
    let second = installation.command(&["serve"]).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(
        error.contains("another Pressluft server uses the data directory"),
        "{error}"
    );
    server.stop();
    installation.start().stop();
}

#[test]
fn a_bad_setting_is_one_line_that_names_it_and_status_two() {
    let installation = Installation::new().with("LOCAL_PROVIDER", "docker");
    let output = installation.command(&["serve"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(
        error,
        "pressluft: PRESSLUFT_LOCAL_PROVIDER: expected `multipass` or `nspawn`, not `docker`\n"
    );
}

#[test]
fn the_doctor_names_what_is_missing_with_the_next_command() {
    let installation = Installation::new().with("LOCAL_PROVIDER", "multipass");
    let output = installation.command(&["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().unwrap();
    let provider = checks
        .iter()
        .find(|check| check["name"] == "local provider multipass")
        .unwrap();
    assert!(
        provider["remedy"].as_str().unwrap().contains("snap install multipass"),
        "{provider}"
    );
    let ssh = checks.iter().find(|check| check["name"] == "ssh client").unwrap();
    assert_eq!(ssh["ok"], true);

    let output = Installation::new().command(&["doctor", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn serve_makes_no_login_and_an_admin_can() {
    let installation = Installation::new();
    let create = |args: &[&str], password: &str| {
        let mut command = installation.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        child.wait_with_output().unwrap()
    };
    let args = ["admin", "create", "--email", "operator@example.test"];
    let short = create(&args, "short");
    assert_eq!(short.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&short.stderr).contains("at least 12 characters"));
    assert!(create(&args, "a first long password").status.success());
    let twice = create(&args, "a first long password");
    assert!(
        String::from_utf8_lossy(&twice.stderr).contains("There is an account"),
        "{twice:?}"
    );
    // `dev` makes no second one: the login of its settings is the one above with another password.
    let changed = create(
        &["admin", "set-password", "--email", "operator@example.test"],
        "correct horse battery",
    );
    assert!(changed.status.success(), "{changed:?}");
    let server = installation.start();
    assert_eq!(server.client().get("/api/session")["email"], "operator@example.test");
    server.stop();
}

#[test]
fn migrate_says_what_is_missing_and_applies_it() {
    let installation = Installation::new();
    let run = |args: &[&str]| installation.command(args).output().unwrap();
    let check = run(&["migrate", "--check", "--json"]);
    assert_eq!(check.status.code(), Some(1));
    let missing: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert!(!missing["missing"].as_array().unwrap().is_empty());
    assert!(run(&["migrate"]).status.success());
    assert!(run(&["migrate", "--check"]).status.success());
}

#[test]
fn the_health_pages_answer_without_a_session_and_nothing_else_does() {
    let installation = Installation::new();
    let server = installation.start();
    let client = server.client();
    assert_eq!(client.send("GET", "/healthz", None).status, 200);
    assert_eq!(client.send("GET", "/readyz", None).status, 200);
    client.expect(200, "POST", "/api/logout", None);
    let refused = client.expect(401, "POST", "/api/nodes", Some(json!({"acquisition_source": "local"})));
    assert_eq!(refused["code"], "unauthorized");
    server.stop();
}
