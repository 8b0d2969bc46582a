//! A shell as root on a node over SSH, past Pressluft: for what work costs without it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// A shell on a node, over one connection that stays open, as Pressluft's own does. Dropped, that is closed.
pub(crate) struct Shell {
    config: PathBuf,
    instance: String,
    folder: tempfile::TempDir,
}

/// What a script left.
pub(crate) struct Ran {
    /// How long it took.
    pub(crate) took: Duration,
    /// What it wrote to standard error.
    pub(crate) errors: String,
}

impl Shell {
    /// Opens one, with the key and the host key of a data directory's node.
    pub(crate) fn open(data_dir: &Path, node: &str) -> anyhow::Result<Self> {
        let short = node.get(node.len().saturating_sub(12)..).context("a node's id")?;
        let instance = format!("pressluft-{short}");
        // The path of a socket must be short.
        let shell = Self {
            config: data_dir.join("ssh").join(&instance).join("config"),
            instance,
            folder: tempfile::Builder::new().prefix("pl-").tempdir_in("/var/tmp")?,
        };
        shell.run("true", &[], Stdio::null(), Stdio::null())?;
        Ok(shell)
    }

    fn ssh(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&self.config);
        ssh.arg("-o")
            .arg(format!("ControlPath={}/c", self.folder.path().display()));
        ssh
    }

    /// Runs a script as root, which must end well.
    pub(crate) fn run(&self, script: &str, arguments: &[&str], input: Stdio, output: Stdio) -> anyhow::Result<Ran> {
        let words = ["sudo", "bash", "-c", script, "floor"];
        let words = words.into_iter().chain(arguments.iter().copied()).map(quoted);
        let mut ssh = self.ssh();
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60"]);
        ssh.arg(&self.instance).arg(words.collect::<Vec<_>>().join(" "));
        // The process that keeps the connection open must not hold this one's pipes.
        let errors = self.folder.path().join("errors");
        ssh.stdin(input).stdout(output).stderr(File::create(&errors)?);
        let begin = Instant::now();
        let status = ssh.status()?;
        let took = begin.elapsed();
        let errors = std::fs::read_to_string(&errors)?;
        ensure!(status.success(), "a shell's script ended with {status}: {errors}");
        Ok(Ran { took, errors })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let closed = self.ssh().args(["-q", "-O", "exit"]).arg(&self.instance).status();
        if let Err(error) = closed {
            eprintln!("bench: a connection could not be closed: {error}");
        }
    }
}

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_is_quoted_whatever_stands_in_it() {
        assert_eq!(quoted("echo 'a' \"$b\""), r#"'echo '\''a'\'' "$b"'"#);
    }
}
