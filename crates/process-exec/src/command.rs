//! What to run, how it ends, and the trait of those that run it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain_kernel::Limits;

use crate::{ExecError, ProcessKey};

/// A command. Arguments and environment may be seen by every user of the host: secrets go by `stdin` or by file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// A program's name, looked up on [`CommandSpec::PATH`], or its absolute path.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, besides `PATH`, `LC_ALL` and the mark. Nothing is inherited.
    pub env: BTreeMap<OsString, OsString>,
    /// Its working directory.
    pub directory: PathBuf,
    /// What it reads; at its end it sees the end of the file.
    pub stdin: Vec<u8>,
}

impl CommandSpec {
    /// Where programs are looked for; last where snaps, such as Multipass, put theirs.
    pub const PATH: &'static str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin";

    /// A command in `/` that reads nothing.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            directory: PathBuf::from("/"),
            stdin: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Sets what it reads.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

/// What a process printed and how it ended. Each stream is kept up to 1 MiB; what follows is read and dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.ended == Ended::Exit(0)
    }

    /// Standard output as text; bytes that are not UTF-8 are replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; bytes that are not UTF-8 are replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of a running process, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// Where it came from.
    pub stream: Stream,
    /// Its text, at most 64 KiB; longer ones come in pieces.
    pub text: String,
}

/// Takes the lines of a running process as they come. The process waits when this is slow.
#[async_trait]
pub trait LineHandler: Send {
    /// Takes one.
    async fn line(&mut self, line: OutputLine);
}

/// A process that outlives this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// The process. A pid alone would be another process some day.
    pub process: ProcessKey,
}

/// Runs commands.
#[async_trait]
pub trait CommandRunner: Send + Sync {
    /// Runs a command to its end. When the limits stop it, and when it ends by itself, all its descendants are ended.
    async fn run(&self, command: CommandSpec, limits: &Limits) -> Result<Output, ExecError>;

    /// The same, handing over each line as it comes.
    async fn stream(
        &self,
        command: CommandSpec,
        limits: &Limits,
        lines: &mut dyn LineHandler,
    ) -> Result<Output, ExecError>;

    /// Starts a command in a session of its own that outlives this process: not marked, not recorded, not ended by
    /// anything here. It reads nothing and appends what it prints to `log`.
    async fn spawn_detached(&self, command: CommandSpec, log: &Path) -> Result<Detached, ExecError>;
}
