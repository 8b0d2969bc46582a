//! Each error code of the registry is named by a test. That a test names a code does not prove that it reaches it; that no
//! test names it proves that none does.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Report;
use crate::repo::{Repo, TextFile};

/// The registry, as generated from domain-kernel.
const REGISTRY: &str = "contracts/error-codes.json";

/// Checks the registry against the tests.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let json: Value = serde_json::from_str(&repo.read(REGISTRY)?).with_context(|| format!("{REGISTRY} is not JSON"))?;
    let mut codes = Vec::new();
    collect(&json, &mut codes);
    ensure!(!codes.is_empty(), "{REGISTRY} holds no \"code\"");
    let tests: Vec<String> = repo.files()?.iter().filter_map(test_text).collect();
    Ok(Report {
        looked_at: format!("{} codes, {} files with tests", codes.len(), tests.len()),
        problems: missing(&codes, &tests),
    })
}

/// Every text under a key `code`, wherever it stands.
fn collect(value: &Value, codes: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(code) if key == "code" => codes.push(code.to_owned()),
                    _ => collect(value, codes),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, codes)),
        _ => {}
    }
}

fn missing(codes: &[String], tests: &[String]) -> Vec<String> {
    let untold = codes.iter().filter(|code| !tests.iter().any(|text| names(text, code)));
    untold.map(|code| format!("no test names {code}")).collect()
}

/// A file's tests: all of it below a `tests` folder, else what follows `#[cfg(test)]`, which stands last in a file.
fn test_text(file: &TextFile) -> Option<String> {
    let path = &file.path;
    let program = [".rs", ".py", ".sh", ".js", ".ts"]
        .iter()
        .any(|ending| path.ends_with(ending));
    if (path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")) && program {
        return Some(file.text.clone());
    }
    if !path.ends_with(".rs") {
        return None;
    }
    let at = file.text.find("#[cfg(test)]\nmod ")?;
    Some(file.text[at..].to_owned())
}

/// Whether a text has the code itself, or its variant. A short name means other things too, so it must stand as a text
/// (`"conflict"`) or behind the name of its enum (`ApiErrorCode::Conflict`, `Code::Conflict`).
fn names(text: &str, code: &str) -> bool {
    let variant = camel_case(code);
    if code.contains('_') && code == code.to_uppercase() {
        return has_word(text, code) || has_word(text, &variant);
    }
    text.contains(&format!("\"{code}\"")) || has_word(text, &format!("Code::{variant}"))
}

fn camel_case(code: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + &rest.to_lowercase()
    };
    code.split('_').map(word).collect()
}

/// Whether `word` stands in `text` and does not go on.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn codes_are_found_wherever_the_registry_keeps_them() {
        let mut codes = Vec::new();
        collect(
            &json!({"api": [{"code": "conflict", "status": 409}], "jobs": {"x": {"code": "JOB_TIMEOUT"}}}),
            &mut codes,
        );
        assert_eq!(codes, ["conflict", "JOB_TIMEOUT"]);
    }

    #[test]
    fn a_code_that_only_product_code_names_is_missing() {
        let files = [
            file(
                "crates/a/src/lib.rs",
                "const A: &str = \"HOST_DISK_FULL\";\n#[cfg(test)]\nmod tests { /* JOB_TIMEOUT */ }",
            ),
            file("crates/a/tests/all.rs", "JobErrorCode::WorkerLost, Code::Internal"),
            file("tests/e2e/tests/x.rs", "\"conflict\""),
            file("docs/tests/x.md", "NODE_NOT_READY"),
        ];
        let tests: Vec<String> = files.iter().filter_map(test_text).collect();
        let codes = [
            "HOST_DISK_FULL",
            "JOB_TIMEOUT",
            "WORKER_LOST",
            "INTERNAL",
            "conflict",
            "NODE_NOT_READY",
        ];
        let codes = codes.map(str::to_owned);
        assert_eq!(
            missing(&codes, &tests),
            ["no test names HOST_DISK_FULL", "no test names NODE_NOT_READY"]
        );
    }

    #[test]
    fn a_short_name_counts_as_a_text_or_behind_its_enum_only() {
        assert!(names("ApiErrorCode::NotFound;", "not_found"));
        assert!(names("code == \"not_found\"", "not_found"));
        assert!(!names("ErrorKind::NotFound", "not_found"));
        assert!(!names("not_found", "not_found"));
        assert!(!names("ApiErrorCode::NodeNotReadyYet", "node_not_ready"));
        assert!(!names("LOCAL_ACQUISITION_FAILED_X", "LOCAL_ACQUISITION_FAILED"));
        assert!(names("Code::Internal)", "INTERNAL"));
        assert!(!names("UseCaseError::Internal", "INTERNAL"));
    }
}
