//! What must not stand in files: `| safe` in templates, paths and host names of one machine, sources that nobody reads to
//! the end, and shell without its strict mode.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::Report;
use crate::repo::{Repo, TextFile};

/// The longest source file, in lines.
const MOST_LINES: usize = 600;

/// What counts as source, by its ending; shell scripts without one count too. `contracts/` is generated.
const SOURCES: &[&str] = &[
    "css", "html", "js", "mjs", "py", "rs", "sh", "sql", "tera", "toml", "ts", "yaml", "yml",
];

/// What the pages are made from.
const TEMPLATES: &[&str] = &["htm", "html", "svg", "tera", "xml"];

/// Where developers' machines keep things. (Written in two parts, because this file is checked too.)
const FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// A host name with one of these labels is a package archive's: where packages come from is the host's own setting.
const ARCHIVES: &[&str] = &["crates", "debian", "npmjs", "pypi", "pythonhosted", "ubuntu", "yarnpkg"];

/// The last labels by which a dotted word is taken for a host name.
const TOP: &[&str] = &["com", "dev", "io", "net", "org"];

/// What a registry is called when it is spoken of.
const NAMES: &[&str] = &["crates.io"];

/// Checks every file.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let files = repo.files()?;
    let own = machines_archives();
    Ok(Report {
        looked_at: format!("{} files", files.len()),
        problems: files.iter().flat_map(|file| of_file(file, &own)).collect(),
    })
}

fn of_file(file: &TextFile, own: &BTreeSet<String>) -> Vec<String> {
    let ending = file.path.rsplit_once('.').map_or("", |(_, ending)| ending);
    let shell = ending == "sh" || shebang_of_shell(&file.text);
    let mut problems = Vec::new();
    for (line, number) in file.text.lines().zip(1_usize..) {
        let mut found = |rule: String| problems.push(format!("{}:{number}: {rule}", file.path));
        if TEMPLATES.contains(&ending) && has_safe_filter(line) {
            found("`| safe` switches escaping off".to_owned());
        }
        if let Some(folder) = FOLDERS.iter().find(|folder| has_path(line, folder)) {
            found(format!("a path of one machine, {folder}"));
        }
        if let Some(host) = archive_host(line, own) {
            found(format!("the host name of a package archive, {host}"));
        }
    }
    let lines = file.text.lines().count();
    let source = (shell || SOURCES.contains(&ending)) && !file.path.starts_with("contracts/");
    if source && lines > MOST_LINES {
        problems.push(format!(
            "{}: {lines} lines, more than {MOST_LINES}: split it",
            file.path
        ));
    }
    if shell && !is_strict(&file.text) {
        problems.push(format!(
            "{}: shell without strict mode: `set -euo pipefail` (sh: `set -eu`), or `set -u` below a line `# No -e: <why>`",
            file.path
        ));
    }
    problems
}

fn has_safe_filter(line: &str) -> bool {
    line.split('|').skip(1).any(|rest| {
        let after = rest.trim_start().strip_prefix("safe");
        after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// Whether a line has an absolute path below `folder`: not one that merely goes through a folder of that name.
fn has_path(line: &str, folder: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || "_.-)}>*~/$".contains(c);
    line.match_indices(folder).any(|(at, _)| {
        let before = &line[..at];
        before.ends_with("://") || !before.ends_with(inner)
    })
}

fn archive_host(line: &str, own: &BTreeSet<String>) -> Option<String> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-'));
    let mut hosts = words.map(|word| word.trim_matches(['.', '-']).to_ascii_lowercase());
    hosts.find(|host| {
        let mut labels = host.rsplit('.');
        let top = labels.next().is_some_and(|last| TOP.contains(&last));
        let archive = top && labels.any(|label| ARCHIVES.contains(&label));
        (archive && !NAMES.contains(&host.as_str())) || own.contains(host)
    })
}

fn shebang_of_shell(text: &str) -> bool {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else {
        return false;
    };
    let mut words = line.split(['/', ' ']);
    words.any(|word| ["sh", "bash", "dash"].contains(&word))
}

fn is_strict(text: &str) -> bool {
    let mut explained = false;
    for line in text.lines() {
        if line.starts_with("set -eu") || (explained && line == "set -u") {
            return true;
        }
        explained |= line.starts_with("# No -e: ");
    }
    false
}

/// The hosts that this machine has its packages from, by its own settings: a mirror's name slips in by a lock file.
fn machines_archives() -> BTreeSet<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mut files: Vec<PathBuf> = ["/etc/apt/sources.list", "/etc/pip.conf"].map(PathBuf::from).into();
    files.extend([".config/pip/pip.conf", ".npmrc", ".cargo/config.toml"].map(|path| home.join(path)));
    if let Ok(folder) = Path::new("/etc/apt/sources.list.d").read_dir() {
        files.extend(folder.flatten().map(|entry| entry.path()));
    }
    // A file that is not there or not readable names no host.
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    texts.flat_map(|text| hosts_of_urls(&text)).collect()
}

/// Hosts named by URLs. Not code hosting, which documents may name, and no bare addresses.
fn hosts_of_urls(text: &str) -> Vec<String> {
    let authorities = text
        .split("://")
        .skip(1)
        .filter_map(|rest| rest.split(['/', '"', ' ', '\n']).next());
    let hosts = authorities.map(|authority| {
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        host.split(':').next().unwrap_or(host).to_ascii_lowercase()
    });
    let named = |host: &String| host.contains('.') && host.contains(|c: char| c.is_ascii_alphabetic());
    hosts.filter(|host| named(host) && host != "github.com").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        of_file(&file, &BTreeSet::from(["mirror.example.test".to_owned()]))
    }

    fn assert_found(path: &str, text: &str, part: &str) {
        let found = found(path, text);
        assert!(
            found.len() == 1 && found[0].contains(part),
            "{path}: {text:?}: {found:?}"
        );
    }

    fn assert_clean(path: &str, text: &str) {
        assert_eq!(found(path, text), Vec::<String>::new(), "{text:?}");
    }

    #[test]
    fn a_template_that_switches_escaping_off_is_refused() {
        for line in ["{{ a | safe }}", "{{ a|safe}}", "{{ a | trim |  safe | upper }}"] {
            assert_found("ui/page.html", line, "ui/page.html:1: `| safe`");
            assert_found("ui/page.tera", line, "escaping");
        }
        assert_clean("ui/page.html", "{{ a | safely }} {{ safe }} {{ a | trim }}");
        assert_clean("docs/pages.md", "never `| safe`");
    }

    #[test]
    fn an_absolute_path_of_a_machine_is_refused_and_a_path_through_such_a_folder_is_not() {
        for folder in FOLDERS {
            for before in ["", "\"", "=", " ", "(", "file://", "x:"] {
                assert_found("a.md", &format!("{before}{folder}x"), "a path of one machine");
            }
            for before in ["machine", "${dir}", "..", "a-", "~"] {
                assert_clean("a.md", &format!("{before}{folder}x"));
            }
        }
    }

    #[test]
    fn a_package_archives_host_name_is_refused_and_a_registrys_own_name_is_not() {
        for labels in [
            ["deb", "debian", "org"],
            ["registry", "npmjs", "org"],
            ["files", "pythonhosted", "org"],
        ] {
            let host = labels.join(".");
            assert_found("a.yml", &format!("url: https://{host}/x"), &host);
        }
        assert_found(
            "Cargo.lock",
            &format!("see {}.", ["index", "crates", "io"].join(".")),
            "archive",
        );
        assert_found("a.txt", "from http://Mirror.Example.Test:81/x", "mirror.example.test");
        assert_clean(
            "Cargo.lock",
            "source = \"registry+https://github.com/rust-lang/crates.io-index\"",
        );
        assert_clean(
            "README.md",
            "from crates.io, Debian 12, debian.sources, ubuntu@10.0.0.1, PyPI",
        );
    }

    #[test]
    fn hosts_are_read_from_a_machines_settings_without_what_stands_before_them() {
        let text = "deb [x] http://deb.example.test/a b\nindex-url = https://me:word@pip.example.test:8443/simple\n\
                    http://127.0.0.1/x http://localhost/ https://github.com/x\n";
        assert_eq!(hosts_of_urls(text), ["deb.example.test", "pip.example.test"]);
    }

    #[test]
    fn a_source_file_of_more_than_600_lines_is_refused() {
        assert_clean("a.rs", &"x\n".repeat(600));
        assert_found("a.rs", &"x\n".repeat(601), "601 lines");
        assert_found(
            "scripts/a",
            &format!("#!/bin/sh\nset -eu\n{}", "x\n".repeat(600)),
            "602 lines",
        );
        assert_clean("Cargo.lock", &"x\n".repeat(601));
        assert_clean("contracts/openapi.yaml", &"x\n".repeat(601));
    }

    #[test]
    fn a_shell_script_without_strict_mode_is_refused() {
        assert_found("a.sh", "echo\n", "strict mode");
        assert_found("scripts/a", "#!/usr/bin/env bash\necho\n", "strict mode");
        assert_found("a.sh", "set -u\n# No -e: too late\n", "strict mode");
        assert_clean("scripts/a", "#!/usr/bin/env bash\n# What it does.\nset -euo pipefail\n");
        assert_clean("a.sh", "set -eu\n");
        assert_clean("a.sh", "# No -e: grep finds nothing and that is well.\nset -u\n");
        assert_clean("a.py", "#!/usr/bin/env python3\n");
    }
}
