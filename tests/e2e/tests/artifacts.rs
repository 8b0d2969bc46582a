//! `pressluft artifacts`: what is fetched, listed, and found damaged.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use e2e::Installation;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Runs the command; its exit status, what it printed, and what it said on standard error.
fn artifacts(installation: &Installation, command: &str) -> (Option<i32>, Value, String) {
    let output = installation
        .command(&["artifacts", command, "--json"])
        .output()
        .unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), printed, said)
}

/// Puts a file into a folder of artifacts under another name, and lists it.
fn put(folder: &Path, file: &str, name: &str) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(folder.join(name), &bytes).unwrap();
    let sum: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sums = folder.join("SHA256SUMS");
    let before = std::fs::read_to_string(&sums).unwrap_or_default();
    std::fs::write(sums, format!("{before}{sum}  {name}\n")).unwrap();
}

#[test]
fn artifacts_are_fetched_listed_and_verified_and_a_damaged_one_is_named() {
    let shared = Installation::new();
    let (status, fetched, said) = artifacts(&shared, "fetch");
    assert_eq!(status, Some(0), "{said}");
    let kinds: Vec<_> = fetched["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["kind"])
        .collect();
    assert_eq!(kinds, [&json!("wordpress"), &json!("wp-cli")]);
    let (status, verified, said) = artifacts(&shared, "verify");
    assert_eq!((status, &verified["ok"]), (Some(0), &json!(true)), "{said}");

    let folder = shared.scratch().join("given");
    std::fs::create_dir(&folder).unwrap();
    let own = shared.scratch().join("own-cache");
    let given = Installation::new()
        .with("ARTIFACT_SOURCE", folder.to_str().unwrap())
        .with("CACHE_DIR", own.to_str().unwrap());
    let (status, _, said) = artifacts(&given, "fetch");
    assert_eq!(status, Some(1));
    assert!(said.contains("SHA256SUMS"), "what to do is said: {said}");
    assert_eq!(artifacts(&given, "list").1["items"], json!([]));

    let (_, listed, _) = artifacts(&shared, "verify");
    for item in listed["items"].as_array().unwrap() {
        let path = item["path"].as_str().unwrap();
        match path.ends_with(".phar") {
            true => put(&folder, path, "wp-cli-2.12.0.phar"),
            false => put(&folder, path, "wordpress-7.1.1.tar"),
        }
    }
    let (status, _, said) = artifacts(&given, "fetch");
    assert_eq!(status, Some(0), "{said}");
    let (_, verified, _) = artifacts(&given, "verify");
    let path = verified["items"][0]["path"].as_str().unwrap().to_owned();
    assert_eq!(verified["items"][0]["state"], "ok");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (status, verified, _) = artifacts(&given, "verify");
    assert_eq!((status, &verified["ok"]), (Some(1), &json!(false)));
    let damaged: Vec<_> = verified["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["state"] == "damaged")
        .collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0]["path"], json!(path));
}
