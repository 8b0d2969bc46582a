//! Licences, banned crates, and crates that are there in several versions.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::Report;
use crate::licence::met_by;
use crate::metadata::{Metadata, Package};
use crate::repo::Repo;

/// Licences that Pressluft can be given away with under its own, MIT or Apache-2.0.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "PostgreSQL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// A crate that must not be used.
struct Ban {
    name: &'static str,
    reason: &'static str,
    /// The crate that may use it all the same.
    except_by: Option<&'static str>,
}

const fn ban(name: &'static str, reason: &'static str) -> Ban {
    Ban {
        name,
        reason,
        except_by: None,
    }
}

/// docs/decisions/0001-dependencies.md tells more.
const BANS: &[Ban] = &[
    ban("actix-governor", "GPL; the login throttle is ours"),
    ban("actix-csrf", "no longer kept up; http-session refuses foreign origins"),
    ban("secrecy", "domain-kernel has Secret"),
    ban(
        "password-auth",
        "no longer kept up; the crate secrets uses argon2 itself",
    ),
    ban(
        "apalis-sqlite",
        "keeps a table of its own behind another pool; queue-apalis runs the jobs table",
    ),
    ban(
        "apalis-postgres",
        "keeps a table of its own behind another pool; queue-apalis runs the jobs table",
    ),
    Ban {
        name: "openssl-sys",
        reason: "needs OpenSSL's headers on the host; libpq alone may, for TLS to PostgreSQL",
        except_by: Some("pq-src"),
    },
];

/// The committed list of duplicates: `name version version: reason`, a version being its first numbers.
const ALLOWED_DUPLICATES: &str = "bins/xtask/allowed-duplicates.txt";

/// Checks what the lock file holds.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let metadata = repo.packages()?;
    let allowed = read_allowed(&repo.read(ALLOWED_DUPLICATES)?)?;
    let mut problems = licences(&metadata);
    problems.extend(bans(&metadata, BANS));
    problems.extend(duplicates(&metadata, &allowed));
    Ok(Report {
        looked_at: format!("{} packages", metadata.packages.len()),
        problems,
    })
}

fn licences(metadata: &Metadata) -> Vec<String> {
    let problem = |package: &Package| {
        let told = format!("{} {}", package.name, package.version);
        let Some(expression) = &package.licence else {
            return Some(format!("{told} names no licence"));
        };
        match met_by(expression, LICENCES) {
            Ok(true) => None,
            Ok(false) => Some(format!(
                "{told} is licensed {expression}, which the allowed licences do not meet"
            )),
            Err(error) => Some(format!("{told} is licensed {expression}: {error}")),
        }
    };
    metadata.packages.iter().filter_map(problem).collect()
}

fn bans(metadata: &Metadata, bans: &[Ban]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let Some(ban) = bans.iter().find(|ban| ban.name == package.name) else {
            continue;
        };
        let users: BTreeSet<&str> = users_of(metadata, package)
            .filter(|name| Some(*name) != ban.except_by)
            .collect();
        if ban.except_by.is_none() || !users.is_empty() {
            let by = users.into_iter().collect::<Vec<_>>().join(", ");
            problems.push(format!("{} is banned and used by {by}: {}", package.name, ban.reason));
        }
    }
    problems
}

fn users_of<'a>(metadata: &'a Metadata, package: &'a Package) -> impl Iterator<Item = &'a str> {
    let users = metadata.edges.iter().filter(|(_, to)| *to == package.id);
    users.filter_map(|(from, _)| Some(metadata.package(from)?.name.as_str()))
}

type Allowed = BTreeMap<String, BTreeSet<String>>;

fn read_allowed(text: &str) -> Result<Allowed> {
    let mut allowed = Allowed::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let entry = line.split_once(": ").filter(|(_, reason)| !reason.trim().is_empty());
        let (entry, _) = entry.with_context(|| format!("{ALLOWED_DUPLICATES}: no reason given: {line}"))?;
        let mut words = entry.split_whitespace().map(str::to_owned);
        let name = words
            .next()
            .with_context(|| format!("{ALLOWED_DUPLICATES}: no name: {line}"))?;
        allowed.insert(name, words.collect());
    }
    Ok(allowed)
}

/// Each crate's versions must be those of the list, one each, and the list must hold nothing else.
fn duplicates(metadata: &Metadata, allowed: &Allowed) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &metadata.packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, found| found.len() > 1);
    let mut problems = Vec::new();
    for (name, found) in &versions {
        let listed = allowed.get(*name).cloned().unwrap_or_default();
        let matching = |version: &str| listed.iter().filter(move |start| starts(version, start)).count();
        if listed.len() != found.len() || found.iter().any(|version| matching(version) != 1) {
            let found = found.iter().copied().collect::<Vec<_>>().join(", ");
            problems.push(format!(
                "{name} is there as {found}: bring them together, or say in {ALLOWED_DUPLICATES} why not"
            ));
        }
    }
    for name in allowed.keys().filter(|name| !versions.contains_key(name.as_str())) {
        problems.push(format!("{name} is there once: take it out of {ALLOWED_DUPLICATES}"));
    }
    problems
}

fn starts(version: &str, start: &str) -> bool {
    let rest = version.strip_prefix(start);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(packages: &[(&str, &str, Option<&str>)], edges: &[(&str, &str)]) -> Metadata {
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, version, licence)| {
                json!({"id": format!("{name}@{version}"), "name": name, "version": version, "license": licence,
                       "dependencies": []})
            })
            .collect();
        let nodes: Vec<_> = edges
            .iter()
            .map(|(from, to)| json!({"id": from, "dependencies": [to]}))
            .collect();
        Metadata::parse(&json!({"packages": packages, "resolve": {"nodes": nodes}}).to_string()).unwrap()
    }

    #[test]
    fn a_licence_that_is_not_allowed_or_missing_is_refused() {
        let found = licences(&metadata(
            &[
                ("good", "1.0.0", Some("MIT OR GPL-3.0-only")),
                ("bad", "1.0.0", Some("GPL-3.0-only")),
                ("none", "1.0.0", None),
                ("odd", "1.0.0", Some("MIT AND")),
            ],
            &[],
        ));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("bad 1.0.0 is licensed GPL-3.0-only"));
        assert!(found[1].starts_with("none 1.0.0 names no licence"));
        assert!(found[2].starts_with("odd 1.0.0"));
    }

    #[test]
    fn every_banned_crate_is_refused_with_who_uses_it() {
        for banned in BANS {
            let id = format!("{}@1.0.0", banned.name);
            let found = bans(
                &metadata(
                    &[(banned.name, "1.0.0", Some("MIT")), ("user", "1.0.0", Some("MIT"))],
                    &[("user@1.0.0", &id)],
                ),
                BANS,
            );
            let expected = format!("{} is banned and used by user: {}", banned.name, banned.reason);
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn a_ban_with_an_exception_holds_for_all_others() {
        let packages = [
            ("openssl-sys", "0.9.1", Some("MIT")),
            ("pq-src", "0.3.0", Some("MIT")),
            ("user", "1.0.0", Some("MIT")),
        ];
        let by_libpq = ("pq-src@0.3.0", "openssl-sys@0.9.1");
        assert_eq!(bans(&metadata(&packages, &[by_libpq]), BANS), Vec::<String>::new());
        let found = bans(
            &metadata(&packages, &[by_libpq, ("user@1.0.0", "openssl-sys@0.9.1")]),
            BANS,
        );
        assert!(
            found[0].starts_with("openssl-sys is banned and used by user:"),
            "{found:?}"
        );
    }

    #[test]
    fn duplicates_are_those_of_the_list_no_more_and_no_less() {
        let twice = metadata(
            &[("syn", "2.0.119", None), ("syn", "3.0.1", None), ("one", "1.0.0", None)],
            &[],
        );
        let found = |list: &str| duplicates(&twice, &read_allowed(list).unwrap());
        assert_eq!(
            found("# why\n\nsyn 2 3: macros move at their own pace\n"),
            Vec::<String>::new()
        );
        assert!(found("")[0].starts_with("syn is there as 2.0.119, 3.0.1"));
        assert!(found("syn 2 4: x")[0].starts_with("syn is there as"));
        assert!(found("syn 2.0.1 3: x")[0].starts_with("syn is there as"));
        assert!(found("syn 2 3 4: x")[0].starts_with("syn is there as"));
        assert!(found("syn 2 3: x\none 1 2: y")[0].starts_with("one is there once"));
    }

    #[test]
    fn a_listed_duplicate_needs_a_reason() {
        assert!(read_allowed("syn 2 3").is_err());
        assert!(read_allowed("syn 2 3: ").is_err());
    }
}
