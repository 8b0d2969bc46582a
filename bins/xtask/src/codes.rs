//! Each error code of the registry is made by product code, asserted by a test, and documented. A code that nothing makes
//! is a promise that nobody keeps; one that no test asserts may be made at the wrong place.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Report;
use crate::repo::{Repo, TextFile};
use crate::source::{functions, product_part, test_part, without_comment};

/// The registry, as generated from domain-kernel and nodes-domain.
const REGISTRY: &str = "contracts/error-codes.json";

/// The page of the registry.
const PAGE: &str = "docs/error-codes.md";

/// Where codes are listed and not made.
const LISTS: &[&str] = &[
    "crates/domain-kernel/src/error_code.rs",
    "crates/api/src/contracts",
    "crates/api/src/openapi.rs",
    "crates/api/src/routes.rs",
    "crates/api/src/schema.rs",
];

/// The parts of the registry and the enum of each. `Code` alone stands for the job's.
const PARTS: &[(&str, &str)] = &[
    ("api", "ApiErrorCode"),
    ("job", "JobErrorCode"),
    ("readiness", "ReasonCode"),
];

/// What stands before a code with which a test itself fails something.
const SET_UP: &[&str] = &["Failure::new(", "failed(", "refuses(", " code: "];

struct Code {
    text: String,
    /// Its variants as they are written: `JobErrorCode::JobTimeout`.
    written: Vec<String>,
}

/// Checks the registry against the code, the tests and the page.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let json: Value = serde_json::from_str(&repo.read(REGISTRY)?).with_context(|| format!("{REGISTRY} is not JSON"))?;
    let codes = read(&json);
    ensure!(!codes.is_empty(), "{REGISTRY} holds no \"code\"");
    let files = repo.files()?;
    let product: Vec<String> = files
        .iter()
        .filter(|file| !LISTS.iter().any(|list| file.path.starts_with(list)))
        .filter_map(|file| Some(stripped(product_part(file)?)))
        .collect();
    let asserting: Vec<String> = files.iter().flat_map(asserting).collect();
    let modules: Vec<_> = files.iter().filter(|file| is_module(&file.path)).collect();
    let on_nodes = |code: &Code| {
        modules
            .iter()
            .any(|file| file.text.contains(&format!("\"{}\"", code.text)))
    };
    let mut problems = problems(&codes, &product, &asserting);
    // What runs on nodes names a code as a text.
    problems.retain(|problem| !codes.iter().any(|code| *problem == not_made(code) && on_nodes(code)));
    problems.extend(undocumented(&codes, &repo.read(PAGE)?));
    Ok(Report {
        looked_at: format!("{} codes, {} places that assert", codes.len(), asserting.len()),
        problems,
    })
}

fn read(registry: &Value) -> Vec<Code> {
    let mut codes = Vec::new();
    for (part, name) in PARTS {
        for entry in registry[part].as_array().into_iter().flatten() {
            let text = entry["code"].as_str().unwrap_or_default().to_owned();
            let variant = camel_case(&text);
            let mut written = vec![format!("{name}::{variant}")];
            if *part == "job" {
                written.push(format!("Code::{variant}"));
            }
            codes.push(Code { text, written });
        }
    }
    codes
}

fn problems(codes: &[Code], product: &[String], asserting: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for code in codes {
        if !product.iter().any(|text| makes(text, code)) {
            problems.push(not_made(code));
        }
        if !asserting.iter().any(|text| asserts(text, code)) {
            problems.push(format!("no test asserts {}", code.text));
        }
    }
    problems
}

fn undocumented(codes: &[Code], page: &str) -> Vec<String> {
    let missing = codes
        .iter()
        .filter(|code| !page.contains(&format!("| `{}` |", code.text)));
    missing
        .map(|code| format!("{PAGE} does not tell of {}", code.text))
        .collect()
}

/// The texts of a file's tests that assert something: Rust by function, other languages by line.
fn asserting(file: &TextFile) -> Vec<String> {
    let Some(tests) = test_part(file) else {
        return Vec::new();
    };
    if file.path.ends_with(".rs") {
        let functions = functions(tests).into_iter().map(|function| function.text);
        return functions.filter(|text| text.contains("assert")).collect();
    }
    let words = ["assert", "expect", "equal"];
    let lines = tests.lines().filter(|line| !line.trim_start().starts_with(['#', '/']));
    lines
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .map(str::to_owned)
        .collect()
}

fn not_made(code: &Code) -> String {
    format!("no product code makes {}", code.text)
}

/// Whether a file is Python that runs on nodes.
fn is_module(path: &str) -> bool {
    path.starts_with("ansible/sites/") && path.ends_with(".py")
}

/// Whether product code makes a code: names it elsewhere than in a pattern.
fn makes(text: &str, code: &Code) -> bool {
    let made = |(_, after): (&str, &str)| !after.trim_start().starts_with(['|', '=']);
    code.written.iter().any(|written| words(text, written).any(made))
}

/// Whether a test that asserts names a code, other than to fail something with it.
fn asserts(text: &str, code: &Code) -> bool {
    let seen = |(before, _): (&str, &str)| {
        !SET_UP
            .iter()
            .any(|set_up| before.trim_end_matches('\n').ends_with(set_up))
    };
    let as_text = [format!("\"{}\"", code.text)];
    let mut written = code.written.iter().chain(&as_text);
    written.any(|written| words(text, written).any(seen))
}

/// What stands before and behind each place where `word` stands by itself.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).filter_map(move |(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        (!before.ends_with(inner) && !after.starts_with(inner)).then_some((before, after))
    })
}

fn stripped(text: &str) -> String {
    text.lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

fn camel_case(code: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + &rest.to_lowercase()
    };
    code.split('_').map(word).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn codes() -> Vec<Code> {
        read(&json!({
            "api": [{"code": "conflict"}],
            "job": [{"code": "JOB_TIMEOUT"}],
            "readiness": [{"code": "sudo_unavailable"}],
        }))
    }

    /// What is wrong with these codes where product code and a test are as given.
    fn found(product: &str, test: &str) -> Vec<String> {
        let file = TextFile {
            path: "crates/a/tests/all.rs".to_owned(),
            text: test.to_owned(),
        };
        problems(&codes(), &[stripped(product)], &asserting(&file))
    }

    const PRODUCT: &str = "f(ApiErrorCode::Conflict); g(Code::JobTimeout); h(ReasonCode::SudoUnavailable)";
    const TEST: &str = "#[test]\nfn a() {\n    assert_eq!(x, [\"conflict\"]);\n    assert_eq!(y, JobErrorCode::JobTimeout);\n    \
                        for z in [ReasonCode::SudoUnavailable] {\n        assert!(z);\n    }\n}\n";

    #[test]
    fn codes_that_are_made_and_asserted_are_well() {
        assert_eq!(found(PRODUCT, TEST), Vec::<String>::new());
    }

    #[test]
    fn a_code_that_product_code_only_matches_or_mentions_is_not_made() {
        for product in [
            "",
            "match x { JobErrorCode::JobTimeout => 1 }",
            "JobErrorCode::JobTimeout | y => 1",
            "// JobErrorCode::JobTimeout",
            "JobErrorCode::JobTimeoutX; XCode::JobTimeout; ApiErrorCode::JobTimeout",
        ] {
            let product = format!("{}\n{product}", PRODUCT.replace("g(Code::JobTimeout)", ""));
            assert_eq!(
                found(&product, TEST),
                ["no product code makes JOB_TIMEOUT"],
                "{product}"
            );
        }
    }

    #[test]
    fn a_code_that_a_test_only_mentions_or_makes_is_not_asserted() {
        for test in [
            "",
            "// assert JobErrorCode::JobTimeout",
            "fn b() {\n    JobErrorCode::JobTimeout;\n}",
            "fn b() {\n    assert!(Failure::new(JobErrorCode::JobTimeout, \"\"));\n}",
            "fn b() {\n    let x = X { code: JobErrorCode::JobTimeout };\n    assert!(x);\n}",
            "fn b() {\n    assert!(x); // JobErrorCode::JobTimeout\n}",
        ] {
            let test = format!(
                "{}\n{test}",
                TEST.replace("    assert_eq!(y, JobErrorCode::JobTimeout);\n", "")
            );
            assert_eq!(found(PRODUCT, &test), ["no test asserts JOB_TIMEOUT"], "{test}");
        }
    }

    #[test]
    fn a_code_without_a_row_of_the_page_is_undocumented() {
        let page = "| `conflict` | 409 |\n| `JOB_TIMEOUT` | no |\n`sudo_unavailable`\n";
        let expected = format!("{PAGE} does not tell of sudo_unavailable");
        assert_eq!(undocumented(&codes(), page), [expected]);
    }
}
