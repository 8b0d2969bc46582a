//! The repository: where it is, its files, and what cargo and git say of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::metadata::Metadata;

/// The repository.
pub(crate) struct Repo {
    root: PathBuf,
}

/// A file of the repository.
pub(crate) struct TextFile {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its text. Bytes that are not UTF-8 are replaced.
    pub(crate) text: String,
}

impl Repo {
    /// The repository that holds this program's package.
    pub(crate) fn find() -> Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").context("start this by `cargo xtask`")?;
        let root = Path::new(&package).ancestors().nth(2).context("no folder above bins")?;
        Ok(Self { root: root.to_owned() })
    }

    /// A file's text.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.root.join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// Every file that git tracks or would add, except binary ones and those that are gone from the work tree.
    pub(crate) fn files(&self) -> Result<Vec<TextFile>> {
        let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = self.output("git", &arguments)?;
        let mut files = Vec::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let full = self.root.join(path);
            if !full.is_file() {
                continue;
            }
            let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
            if !bytes.contains(&0) {
                files.push(TextFile {
                    path: path.to_owned(),
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                });
            }
        }
        Ok(files)
    }

    /// The workspace's own packages.
    pub(crate) fn members(&self) -> Result<Metadata> {
        self.metadata(&["--no-deps"])
    }

    /// Every package that the lock file holds for this workspace.
    pub(crate) fn packages(&self) -> Result<Metadata> {
        self.metadata(&[])
    }

    fn metadata(&self, more: &[&str]) -> Result<Metadata> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let arguments = [&["metadata", "--format-version", "1"], more].concat();
        Metadata::parse(&self.output(&cargo, &arguments)?)
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a check starts cargo and git only; nothing of them has to be recorded or ended"
    )]
    fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.root)
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{program} {}` failed: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
