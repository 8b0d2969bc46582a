//! Which crate may depend on which. The table is the one of docs/ARCHITECTURE.md; dev-dependencies are free.

use anyhow::Result;

use crate::Report;
use crate::metadata::{Metadata, Package};
use crate::repo::Repo;
use Place::{Harness, Level, TestOnly, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// 0 kernel, 1 processes and jobs, 2 domains, 3 use cases, 4 adapters, 5 delivery, 6 the whole.
    Level(u8),
    /// A dev-dependency of others.
    TestOnly,
    /// Tests of the whole, and what they stand on.
    Harness,
    /// These checks.
    Tool,
}

/// A new crate gets its line here.
const PLACES: &[(&str, Place)] = &[
    ("domain-kernel", Level(0)),
    ("process-exec", Level(1)),
    ("jobs", Level(1)),
    ("nodes-domain", Level(2)),
    ("sites-domain", Level(2)),
    ("accounts-domain", Level(2)),
    ("operations", Level(3)),
    ("persistence-diesel", Level(4)),
    ("queue-apalis", Level(4)),
    ("acquisition-multipass", Level(4)),
    ("acquisition-nspawn", Level(4)),
    ("acquisition-ssh", Level(4)),
    ("ssh-readiness", Level(4)),
    ("ansible-runner", Level(4)),
    ("artifact-cache", Level(4)),
    ("backup-storage", Level(4)),
    ("site-preview", Level(4)),
    ("secrets", Level(4)),
    (HTTP_SESSION, Level(4)),
    ("api", Level(5)),
    ("devserver-ui", Level(5)),
    ("pressluft", Level(6)),
    ("e2e", Harness),
    ("bench", Harness),
    ("machines", Harness),
    ("multipass-stand-in", Harness),
    ("provider-conformance", TestOnly),
    ("test-support", TestOnly),
    ("xtask", Tool),
];

/// The middleware that the crates of delivery share: it may see the use cases, and they may see it.
const HTTP_SESSION: &str = "http-session";

/// What levels 0 to 3 know nothing of: a name, or the first word of names.
const OUTER: &[&str] = &["actix", "diesel", "openssh", "apalis"];

/// What only persistence-diesel knows.
const SQL: &[&str] = &["diesel", "libsqlite3-sys", "pq-sys", "rusqlite", "sqlx"];

/// Checks the workspace.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let members = repo.members()?;
    Ok(Report {
        looked_at: format!("{} crates", members.packages.len()),
        problems: problems(&members),
    })
}

fn place(name: &str) -> Option<Place> {
    PLACES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place)
}

fn told(name: &str, place: Place) -> String {
    match place {
        Level(level) => format!("{name} (level {level})"),
        TestOnly => format!("{name} (test crate)"),
        Harness => format!("{name} (tests of the whole)"),
        Tool => format!("{name} (tool)"),
    }
}

fn problems(members: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in &members.packages {
        match place(&package.name) {
            Some(place) => problems.extend(of_package(package, place)),
            None => problems.push(format!(
                "{} is in no layer: give it a line in bins/xtask/src/layers.rs and in docs/ARCHITECTURE.md",
                package.name
            )),
        }
    }
    problems
}

fn of_package(package: &Package, from: Place) -> Vec<String> {
    let mut problems = Vec::new();
    for dependency in package.dependencies.iter().filter(|dependency| !dependency.dev) {
        let (to, rule) = match place(&dependency.name) {
            Some(to) => {
                let rule = between((&package.name, from), (&dependency.name, to));
                (told(&dependency.name, to), rule)
            }
            None => (dependency.name.clone(), outside(&package.name, from, &dependency.name)),
        };
        if let Some(rule) = rule {
            problems.push(format!("{} depends on {to}: {rule}", told(&package.name, from)));
        }
    }
    problems
}

/// The rule that a dependency within the workspace breaks.
fn between((name, from): (&str, Place), (dependency, to): (&str, Place)) -> Option<&'static str> {
    match (from, to) {
        (TestOnly, TestOnly) => None,
        (_, TestOnly) => Some("test crates are dev-dependencies only"),
        (Harness, Level(_) | Harness) => None,
        (Level(_) | TestOnly, Harness) => Some("only tests of the whole use one another"),
        (Tool, _) => Some("the checks use no crate of the workspace, so that they run when it does not build"),
        (_, Tool) => Some("nothing uses the checks"),
        (TestOnly, Level(4..)) | (Level(5), Level(4)) if dependency != HTTP_SESSION => {
            Some("only bins/pressluft and tests/e2e name concrete adapters; delivery sees http-session alone")
        }
        (TestOnly, _) => None,
        (Level(4), Level(4)) => Some("adapters never see each other"),
        (Level(4), Level(3)) if name != HTTP_SESSION => {
            Some("adapters never see operations; they implement the traits of levels 0 to 2")
        }
        // Sites live on nodes (docs/decisions/0013-sites-see-nodes.md).
        (Level(2), Level(2)) if name == "sites-domain" && dependency == "nodes-domain" => None,
        (Level(upper), Level(lower)) if lower >= upper => Some("a crate depends only on lower levels"),
        (Level(_), Level(_)) => None,
    }
}

/// The rule that a dependency from outside breaks.
fn outside(name: &str, from: Place, dependency: &str) -> Option<&'static str> {
    if SQL.iter().any(|family| of_family(dependency, family)) && name != "persistence-diesel" {
        return Some("only persistence-diesel knows SQL, and levels 0 to 3 know no database");
    }
    let Level(0..=3) = from else {
        return None;
    };
    if OUTER.iter().any(|family| of_family(dependency, family)) {
        return Some("levels 0 to 3 know no actix, diesel, openssh or apalis");
    }
    if of_family(dependency, "tokio") && name != "process-exec" {
        return Some("of levels 0 to 3 only process-exec knows tokio");
    }
    None
}

fn of_family(name: &str, family: &str) -> bool {
    let rest = name.strip_prefix(family);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What a workspace of one crate with one dependency breaks.
    fn broken(name: &str, dependency: &str, kind: &Value) -> Vec<String> {
        let metadata = json!({"packages": [{
            "id": name, "name": name, "version": "0.1.0", "license": "MIT",
            "dependencies": [{"name": dependency, "kind": kind, "rename": "other"}],
        }]});
        problems(&Metadata::parse(&metadata.to_string()).unwrap())
    }

    #[test]
    fn every_rule_is_enforced_and_named_with_the_crate_and_the_dependency() {
        let cases = [
            ("domain-kernel", "jobs", "lower levels"),
            ("nodes-domain", "accounts-domain", "lower levels"),
            ("jobs", "operations", "lower levels"),
            ("operations", "persistence-diesel", "lower levels"),
            ("pressluft", "e2e", "only tests of the whole"),
            ("pressluft", "bench", "only tests of the whole"),
            ("ssh-readiness", "ansible-runner", "adapters never see each other"),
            ("http-session", "secrets", "adapters never see each other"),
            ("queue-apalis", "operations", "adapters never see operations"),
            ("secrets", "api", "lower levels"),
            ("api", "secrets", "only bins/pressluft and tests/e2e"),
            (
                "devserver-ui",
                "acquisition-nspawn",
                "only bins/pressluft and tests/e2e",
            ),
            ("api", "devserver-ui", "lower levels"),
            (
                "test-support",
                "persistence-diesel",
                "only bins/pressluft and tests/e2e",
            ),
            ("nodes-domain", "actix-web", "levels 0 to 3"),
            ("operations", "diesel", "levels 0 to 3"),
            ("operations", "diesel_migrations", "levels 0 to 3"),
            ("process-exec", "openssh", "levels 0 to 3"),
            ("jobs", "apalis-core", "levels 0 to 3"),
            ("jobs", "tokio", "only process-exec"),
            ("operations", "tokio-util", "only process-exec"),
            ("queue-apalis", "diesel", "only persistence-diesel"),
            ("pressluft", "libsqlite3-sys", "only persistence-diesel"),
            ("operations", "test-support", "dev-dependencies only"),
            ("e2e", "provider-conformance", "dev-dependencies only"),
            ("xtask", "domain-kernel", "no crate of the workspace"),
            ("api", "xtask", "nothing uses the checks"),
            ("pressluft", "machines", "only tests of the whole"),
            ("test-support", "machines", "only tests of the whole"),
        ];
        for (name, dependency, rule) in cases {
            for kind in [Value::Null, json!("build")] {
                let found = broken(name, dependency, &kind);
                assert_eq!(found.len(), 1, "{name} -> {dependency}: {found:?}");
                let line = &found[0];
                assert!(
                    line.starts_with(name) && line.contains(dependency) && line.contains(rule),
                    "{line}"
                );
            }
            assert_eq!(broken(name, dependency, &json!("dev")), Vec::<String>::new());
        }
    }

    #[test]
    fn what_the_layers_allow_is_let_through() {
        let cases = [
            ("jobs", "domain-kernel"),
            ("operations", "nodes-domain"),
            ("process-exec", "tokio"),
            ("ssh-readiness", "openssh"),
            ("persistence-diesel", "diesel"),
            ("api", "http-session"),
            ("http-session", "operations"),
            ("api", "operations"),
            ("api", "actix-web"),
            ("pressluft", "acquisition-nspawn"),
            ("e2e", "pressluft"),
            ("e2e", "ssh-readiness"),
            ("bench", "pressluft"),
            ("bench", "e2e"),
            ("e2e", "multipass-stand-in"),
            ("multipass-stand-in", "machines"),
            ("machines", "acquisition-nspawn"),
            ("test-support", "operations"),
            ("provider-conformance", "test-support"),
            ("jobs", "tokiotastic"),
        ];
        for (name, dependency) in cases {
            assert_eq!(broken(name, dependency, &Value::Null), Vec::<String>::new());
        }
    }

    #[test]
    fn a_crate_without_a_layer_is_refused() {
        let found = broken("common", "serde", &Value::Null);
        assert!(found[0].starts_with("common is in no layer"), "{found:?}");
    }
}
