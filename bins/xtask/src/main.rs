//! `cargo xtask <check>...`: the rules of this repository that no other tool knows. Each check reads the repository and
//! changes nothing; the exit status is 0 where all of them hold and 1 where one does not.
//!
//! Nothing of the workspace is used here, so that the checks run when it does not build.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program speaks by printing"
)]

mod codes;
mod deps;
mod documents;
mod layers;
mod licence;
mod markdown;
mod metadata;
mod openapi;
mod plan;
mod repo;
mod source;
mod text;
mod traceability;

use std::process::ExitCode;

use anyhow::Result;

use crate::repo::Repo;

/// What a check found.
struct Report {
    /// What was looked at, for the summary.
    looked_at: String,
    /// What breaks a rule: one line each, naming the place and the rule.
    problems: Vec<String>,
}

type Check = fn(&Repo) -> Result<Report>;

const CHECKS: &[(&str, Check, &str)] = &[
    ("check-layers", layers::check, "which crate may depend on which"),
    ("check-deps", deps::check, "licences, banned crates, duplicate versions"),
    (
        "check-text",
        text::check,
        "templates, paths, host names, length of files, shell scripts",
    ),
    (
        "check-codes",
        codes::check,
        "each error code is made, asserted by a test, documented",
    ),
    (
        "check-traceability",
        traceability::check,
        "each endpoint with its handler, job types, error codes, tests",
    ),
    (
        "check-documents",
        documents::check,
        "the documents are there, links lead somewhere",
    ),
    ("check-plan", plan::check, "each task has a command and a state"),
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Option<Vec<_>> = names
        .iter()
        .map(|name| CHECKS.iter().find(|(known, _, _)| known == name))
        .collect();
    match chosen {
        Some(checks) if !checks.is_empty() => run(&checks),
        _ => {
            eprintln!("Usage: cargo xtask <check>...\n");
            for (name, _, about) in CHECKS {
                eprintln!("  {name:19} {about}");
            }
            ExitCode::from(2)
        }
    }
}

fn run(checks: &[&(&str, Check, &str)]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, check, _) in checks {
        match Repo::find().and_then(|repo| check(&repo)) {
            Ok(report) if report.problems.is_empty() => println!("{name}: {}: ok", report.looked_at),
            Ok(report) => {
                for problem in &report.problems {
                    println!("{name}: {problem}");
                }
                println!("{name}: {}: {} broken", report.looked_at, report.problems.len());
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                println!("{name}: not done: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
