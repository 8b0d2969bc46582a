//! Runs commands on this system.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{Clock, Limits, StopReason};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use crate::proc_table::{ProcessKey, process_key};
use crate::terminate::{GRACE, end_family, signal_family};
use crate::{
    CommandRunner, CommandSpec, Detached, Ended, ExecError, Ledger, LineHandler, MARK, Output, OutputLine, Stream,
};

/// How much of each stream is kept.
const MAX_KEPT: usize = 1024 * 1024;

/// The longest piece handed over as one line.
const MAX_LINE: usize = 64 * 1024;

/// How long to go on reading after the process has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// Waits for a line, then becomes the program: nothing is done before the child is recorded. `read` takes one byte at a
/// time from a pipe (POSIX), so what follows the line is the program's own input.
const GATE: &str = "IFS= read -r go || exit 125; exec \"$@\"";

/// Where a program is, looked up as [`CommandSpec`] says.
pub fn find_program(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.is_absolute() {
        return is_executable(path).then(|| path.to_owned());
    }
    let folders = std::env::split_paths(CommandSpec::PATH);
    folders.map(|folder| folder.join(path)).find(|file| is_executable(file))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs commands on this system.
pub struct SystemRunner {
    clock: Arc<dyn Clock>,
    ledger: Option<Ledger>,
}

impl SystemRunner {
    /// A runner that records its children.
    pub fn new(clock: Arc<dyn Clock>, ledger: Ledger) -> Self {
        Self {
            clock,
            ledger: Some(ledger),
        }
    }

    /// A runner for a program that is its user's to interrupt, such as `pressluft doctor`: nothing resumes its work.
    pub fn unrecorded(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ledger: None }
    }

    fn start(&self, command: &CommandSpec) -> Result<(Running, Child), ExecError> {
        let program = command.program.to_string_lossy().into_owned();
        let path = resolve(command)?;
        let run = uuid::Uuid::now_v7().to_string();
        let mark = format!("{MARK}={run}");
        let failed = |source| ExecError::System {
            program: program.clone(),
            source,
        };
        let mut shell = base_command(OsStr::new("/bin/sh"), command);
        shell.args([OsStr::new("-c"), OsStr::new(GATE), OsStr::new("sh"), path.as_os_str()]);
        shell
            .args(&command.args)
            .env(MARK, &run)
            .process_group(0)
            .kill_on_drop(true);
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = shell.spawn().map_err(failed)?;
        let root = child.id().and_then(process_key);
        let running = Running {
            program: program.clone(),
            run,
            mark,
            root,
            ledger: self.ledger.clone(),
            ended: false,
        };
        if let (Some(ledger), Some(root)) = (&self.ledger, root) {
            ledger
                .record(&running.run, &program, &running.mark, root)
                .map_err(failed)?;
        }
        Ok((running, child))
    }

    async fn execute(
        &self,
        command: CommandSpec,
        limits: &Limits,
        lines: Option<&mut dyn LineHandler>,
    ) -> Result<Output, ExecError> {
        let (mut running, mut child) = self.start(&command)?;
        let mut output = Output {
            ended: Ended::Exit(0),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let time_left = limits.deadline.since(self.clock.now());
        let stop = tokio::select! {
            biased;
            reason = limits.cancel.cancelled() => Stop::Cancelled(reason),
            () = self.clock.sleep(time_left) => Stop::Deadline,
            ended = converse(&mut child, command.stdin, &mut output, lines) => Stop::Ended(ended),
        };
        let grace = if matches!(stop, Stop::Ended(_)) {
            Duration::ZERO
        } else {
            GRACE
        };
        // Its end is awaited while its family is ended: a child that nobody waits for stays in the table.
        let (left, status) = tokio::join!(running.end(grace), child.wait());
        let left = left.map_err(|source| running.failed(source))?;
        if !left.is_empty() {
            return Err(ExecError::Unkillable {
                program: running.program.clone(),
                pids: left,
            });
        }
        match stop {
            Stop::Cancelled(reason) => Err(ExecError::Stopped {
                program: running.program.clone(),
                reason,
            }),
            Stop::Deadline => {
                output.ended = ended(status.map_err(|source| running.failed(source))?);
                Err(ExecError::TimedOut {
                    program: running.program.clone(),
                    output,
                })
            }
            Stop::Ended(result) => {
                output.ended = ended(result.map_err(|source| running.failed(source))?);
                Ok(output)
            }
        }
    }
}

enum Stop {
    Ended(io::Result<ExitStatus>),
    Cancelled(StopReason),
    Deadline,
}

/// A started child. Dropped before its end, it takes its family with it.
struct Running {
    program: String,
    run: String,
    mark: String,
    root: Option<ProcessKey>,
    ledger: Option<Ledger>,
    ended: bool,
}

impl Running {
    fn failed(&self, source: io::Error) -> ExecError {
        ExecError::System {
            program: self.program.clone(),
            source,
        }
    }

    async fn end(&mut self, grace: Duration) -> io::Result<Vec<u32>> {
        let left = end_family(&self.mark, self.root, grace).await?;
        if left.is_empty() {
            self.ended = true;
            if let Some(ledger) = &self.ledger {
                ledger.forget(&self.run)?;
            }
        }
        Ok(left)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The record stays: the next start of the server looks again.
        if let Err(error) = signal_family(&self.mark, self.root, Signal::KILL) {
            tracing::warn!(program = self.program, %error, "processes could not be ended");
        }
    }
}

fn resolve(command: &CommandSpec) -> Result<PathBuf, ExecError> {
    find_program(&command.program).ok_or_else(|| ExecError::NotFound {
        program: command.program.to_string_lossy().into_owned(),
        path: CommandSpec::PATH.to_owned(),
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place where processes are started"
)]
fn base_command(program: &OsStr, spec: &CommandSpec) -> Command {
    let mut command = Command::new(program);
    let defaults = [("PATH", CommandSpec::PATH), ("LC_ALL", "C.UTF-8")];
    let mut environment: BTreeMap<OsString, OsString> = defaults
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    environment.extend(spec.env.clone());
    command.env_clear().envs(environment).current_dir(&spec.directory);
    command
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, signal) => Ended::Signal(signal.unwrap_or(0)),
    }
}

/// Gives the child its go and its input, and reads what it prints until it has ended.
async fn converse(
    child: &mut Child,
    input: Vec<u8>,
    output: &mut Output,
    mut lines: Option<&mut dyn LineHandler>,
) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let (sender, mut pieces) = mpsc::channel(64);
    let stdout = child
        .stdout
        .take()
        .map(|pipe| tokio::spawn(read_lines(pipe, Stream::Stdout, sender.clone())));
    let stderr = child
        .stderr
        .take()
        .map(|pipe| tokio::spawn(read_lines(pipe, Stream::Stderr, sender)));
    let _readers = AbortOnDrop([stdout, stderr]);
    let feed = feed(stdin, input);
    tokio::pin!(feed);
    let (mut fed, mut status) = (false, None);
    loop {
        tokio::select! {
            result = &mut feed, if !fed => {
                result?;
                fed = true;
            }
            piece = pieces.recv() => match piece {
                Some(piece) => take(piece, output, &mut lines).await,
                None => break,
            },
            result = child.wait(), if status.is_none() => {
                status = Some(result?);
                break;
            }
        }
    }
    let status = match status {
        Some(status) => status,
        None => child.wait().await?,
    };
    // What it printed before its end is still to be read; a descendant may hold the pipe open, so not for ever.
    let drain = async {
        while let Some(piece) = pieces.recv().await {
            take(piece, output, &mut lines).await;
        }
    };
    if tokio::time::timeout(DRAIN, drain).await.is_err() {
        tracing::debug!("a descendant of an ended process holds its output open");
    }
    Ok(status)
}

struct AbortOnDrop([Option<tokio::task::JoinHandle<()>>; 2]);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        for task in self.0.iter().flatten() {
            task.abort();
        }
    }
}

async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) -> io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    let written = async {
        stdin.write_all(b"go\n").await?;
        stdin.write_all(&input).await?;
        stdin.shutdown().await
    };
    match written.await {
        // A program need not read what it is given.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

struct Piece {
    stream: Stream,
    bytes: Vec<u8>,
}

/// Cuts a stream into lines, the line ends included.
async fn read_lines(mut pipe: impl AsyncRead + Unpin, stream: Stream, sender: mpsc::Sender<Piece>) {
    let mut pending = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // A pipe that cannot be read has ended.
        let count = pipe.read(&mut buffer).await.unwrap_or(0);
        pending.extend_from_slice(&buffer[..count]);
        while let Some(length) = piece_length(&pending, count == 0) {
            let bytes = pending.drain(..length).collect();
            if sender.send(Piece { stream, bytes }).await.is_err() {
                return;
            }
        }
        if count == 0 {
            return;
        }
    }
}

fn piece_length(pending: &[u8], at_end: bool) -> Option<usize> {
    match pending.iter().position(|byte| *byte == b'\n') {
        Some(at) => Some((at + 1).min(MAX_LINE)),
        None if pending.len() >= MAX_LINE => Some(MAX_LINE),
        None if at_end && !pending.is_empty() => Some(pending.len()),
        None => None,
    }
}

async fn take(piece: Piece, output: &mut Output, lines: &mut Option<&mut dyn LineHandler>) {
    let kept = match piece.stream {
        Stream::Stdout => &mut output.stdout,
        Stream::Stderr => &mut output.stderr,
    };
    let room = MAX_KEPT.saturating_sub(kept.len()).min(piece.bytes.len());
    kept.extend_from_slice(&piece.bytes[..room]);
    if let Some(handler) = lines {
        let text = String::from_utf8_lossy(&piece.bytes);
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        handler
            .line(OutputLine {
                stream: piece.stream,
                text,
            })
            .await;
    }
}

#[async_trait]
impl CommandRunner for SystemRunner {
    async fn run(&self, command: CommandSpec, limits: &Limits) -> Result<Output, ExecError> {
        self.execute(command, limits, None).await
    }

    async fn stream(
        &self,
        command: CommandSpec,
        limits: &Limits,
        lines: &mut dyn LineHandler,
    ) -> Result<Output, ExecError> {
        self.execute(command, limits, Some(lines)).await
    }

    async fn spawn_detached(&self, command: CommandSpec, log: &Path) -> Result<Detached, ExecError> {
        let program = command.program.to_string_lossy().into_owned();
        let failed = |source| ExecError::System {
            program: program.clone(),
            source,
        };
        let path = resolve(&command)?;
        let file = OpenOptions::new().create(true).append(true).open(log).map_err(failed)?;
        let errors = file.try_clone().map_err(failed)?;
        // setsid(1) does not fork when its caller leads no process group, so the pid stays the child's.
        let mut setsid = base_command(OsStr::new("/usr/bin/setsid"), &command);
        setsid.arg(path).args(&command.args);
        setsid.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = setsid.spawn().map_err(failed)?;
        let process = child.id().and_then(process_key);
        let process = process.ok_or_else(|| failed(io::Error::other("it ended at once; see its log")))?;
        Ok(Detached { process })
    }
}
