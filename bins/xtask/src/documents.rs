//! The documents that a reader is sent to are there and begin with a heading, and links between files lead somewhere.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::Report;
use crate::markdown::local_links;
use crate::repo::{Repo, TextFile};

/// What must be there.
const REQUIRED: &[&str] = &[
    "README.md",
    "PLAN.md",
    "PROGRESS.md",
    "changes/node-acquisition-parity/design.md",
    "changes/node-acquisition-parity/proposal.md",
    "changes/node-acquisition-parity/tasks.md",
    "contracts/error-codes.json",
    "contracts/job-types.json",
    "contracts/node-provider.md",
    "contracts/openapi.yaml",
    "contracts/schemas/error.json",
    "docs/ARCHITECTURE.md",
    "docs/api-contract.md",
    "docs/contract-traceability.md",
    "docs/data-model.md",
    "docs/error-codes.md",
    "docs/features/feature-install-bootstrap.md",
    "docs/features/feature-node-provision.md",
    "docs/features/feature-wave5-node-acquisition-parity.md",
    "docs/features/feature-wave5-runtime-readiness.md",
    "docs/job-types.md",
    "docs/state-machines.md",
    "docs/testing.md",
    "docs/ui-flows.md",
];

/// Checks the documents.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let files = repo.files()?;
    Ok(Report {
        looked_at: format!("{} documents", files.iter().filter(|file| is_page(file)).count()),
        problems: problems(REQUIRED, &files),
    })
}

fn is_page(file: &TextFile) -> bool {
    file.path.ends_with(".md")
}

fn problems(required: &[&str], files: &[TextFile]) -> Vec<String> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let missing = required.iter().filter(|path| !paths.contains(**path));
    let mut problems: Vec<_> = missing.map(|path| format!("{path} is not there")).collect();
    for file in files.iter().filter(|file| is_page(file)) {
        if required.contains(&file.path.as_str()) && !file.text.lines().any(|line| line.starts_with("# ")) {
            problems.push(format!("{} has no heading", file.path));
        }
        for link in local_links(&file.text) {
            let target = resolved(&file.path, link);
            let folder = format!("{target}/");
            if !paths.contains(target.as_str()) && !paths.iter().any(|path| path.starts_with(&folder)) {
                problems.push(format!("{}: the link {link} leads nowhere", file.path));
            }
        }
    }
    problems
}

/// A link's target from the root, without `.` and `..`.
fn resolved(page: &str, link: &str) -> String {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts = Vec::new();
    for part in folder.split('/').chain(link.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| TextFile {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        problems(&["docs/a.md"], &files)
    }

    #[test]
    fn documents_that_are_there_and_link_to_what_is_there_are_well() {
        let files = [
            (
                "docs/a.md",
                "<!-- x -->\n# A\n[b](../crates/b.rs) [c](c.md#d) [e](../crates/)",
            ),
            ("docs/c.md", ""),
            ("crates/b.rs", ""),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn a_missing_document_an_empty_one_and_a_dead_link_are_found() {
        assert_eq!(found(&[]), ["docs/a.md is not there"]);
        assert_eq!(found(&[("docs/a.md", "text")]), ["docs/a.md has no heading"]);
        let dead = [("docs/a.md", "# A\n[b](b.md)")];
        assert_eq!(found(&dead), ["docs/a.md: the link b.md leads nowhere"]);
    }
}
