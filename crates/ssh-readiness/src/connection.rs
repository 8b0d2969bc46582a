//! One connection to a node, and the commands that run over it.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use jobs::StepContext;
use nodes_domain::{ByteSink, ByteSource, NodeTarget, RemoteCommand, RemoteOutput, SshError, TransferError};
use openssh::{Child, ChildStdin, Session, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::memory::Kept;
use crate::remote::{self, RunMark};

/// How many commands run at a time over one connection. An SSH server allows ten sessions by default; the tenth is for a
/// program that shares the connection.
const COMMANDS: usize = 6;

/// How many commands may be ended at a time, in sessions of the connection besides [`COMMANDS`].
const ENDINGS: usize = 3;

/// How much is read from a stream at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// How long after the limit on the node its end is awaited here.
const GRACE: Duration = Duration::from_secs(5);

/// How long ending a remote command may take.
const ENDING_LIMIT: Duration = Duration::from_secs(11);

/// How long a master may take to say that it is there.
const CHECK_LIMIT: Duration = Duration::from_secs(3);

/// A master that has logged in.
pub(crate) struct Connection {
    pub(crate) target: NodeTarget,
    pub(crate) socket: PathBuf,
    /// Whoever runs a command holds one.
    pub(crate) commands: Semaphore,
    session: Session,
    endings: Semaphore,
}

impl Connection {
    pub(crate) fn new(target: NodeTarget, socket: PathBuf) -> Self {
        Self {
            target,
            session: Session::resume_mux(socket.clone().into_boxed_path(), None),
            socket,
            commands: Semaphore::new(COMMANDS),
            endings: Semaphore::new(ENDINGS),
        }
    }

    pub(crate) async fn is_alive(&self) -> bool {
        matches!(
            tokio::time::timeout(CHECK_LIMIT, self.session.check()).await,
            Ok(Ok(()))
        )
    }

    /// Lets the commands that run over it come to their end, and takes no others.
    pub(crate) async fn retire(&self) {
        let session = Session::resume_mux(self.socket.clone().into_boxed_path(), None);
        match tokio::time::timeout(CHECK_LIMIT, session.close()).await {
            Ok(Ok(())) => {}
            // It is dead, most often, and would end by itself in any case.
            Ok(Err(error)) => tracing::debug!(%error, "an SSH connection was gone already"),
            Err(_) => tracing::warn!(socket = %self.socket.display(), "an SSH connection does not answer"),
        }
    }

    /// Runs a command that reads `source` and writes into `sink`. The output's `stdout` is empty.
    pub(crate) async fn run(
        &self,
        command: &RemoteCommand,
        source: Option<&mut dyn ByteSource>,
        sink: &mut dyn ByteSink,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError> {
        let mark = RunMark::new();
        let line = remote::limited(&command.script, command.limit, &mark);
        let limit = Duration::from_secs(remote::whole_seconds(command.limit));
        let begin = context.now();
        // Lives until the command was ended: when it goes, the command reads the end of its input, and would take what
        // has come until then for all there is.
        let mut child = None;
        let work = self.converse(&line, source, sink, &mut child);
        let (status, stderr) = match bounded(context, limit + GRACE, work).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(TransferError::Ssh(error))) => return Err(error.into()),
            Ok(Err(local @ TransferError::Local(_))) => {
                self.end_remote(&mark).await;
                return Err(local);
            }
            Err(stop) => {
                self.end_remote(&mark).await;
                return Err(stop.into());
            }
        };
        let exit_status = match status {
            // `timeout` had to use KILL, which ends it as well.
            None | Some(137) if context.now().since(begin) >= limit => Some(124),
            other => other,
        };
        Ok(RemoteOutput {
            exit_status,
            stdout: String::new(),
            stderr: stderr.text(),
        })
    }

    /// Runs a command line to its end: its exit status, and its standard error. `child` holds what is at work, also when
    /// this is dropped.
    async fn converse<'a>(
        &'a self,
        line: &str,
        source: Option<&mut dyn ByteSource>,
        sink: &mut dyn ByteSink,
        child: &mut Option<Child<&'a Session>>,
    ) -> Result<(Option<i32>, Kept), TransferError> {
        let mut command = self.session.raw_command(line);
        let stdin = if source.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = child.insert(command.spawn().await.map_err(|error| broken(&error))?);
        let (stdout, stderr) = (started.stdout().take(), started.stderr().take());
        let mut kept = Kept::default();
        // The streams first: once the end is known, what is still on its way is lost.
        tokio::try_join!(
            feed(started.stdin(), source),
            drain(stdout, sink),
            drain(stderr, &mut kept)
        )?;
        let Some(ended) = child.take() else {
            return Err(SshError::Other("the command is gone".to_owned()).into());
        };
        let status = match ended.wait().await {
            Ok(status) => status.code(),
            // The crate's way to say 127.
            Err(openssh::Error::Remote(_)) => Some(127),
            // Either a signal ended it or the connection broke; the protocol does not say which.
            Err(openssh::Error::RemoteProcessTerminated) if self.is_alive().await => None,
            Err(error) => return Err(broken(&error).into()),
        };
        Ok((status, kept))
    }

    /// Ends a command that nobody waits for any more. Where that fails the node's own `timeout` ends it.
    async fn end_remote(&self, mark: &RunMark) {
        let line = remote::end(mark);
        let work = async {
            let _permit = self.endings.acquire().await;
            let mut command = self.session.raw_command(line);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().await
        };
        match tokio::time::timeout(ENDING_LIMIT, work).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => tracing::warn!(%status, "a stopped command may go on on the node until its limit"),
            Ok(Err(error)) => tracing::warn!(%error, "a stopped command may go on on the node until its limit"),
            Err(_) => tracing::warn!("a stopped command may go on on the node until its limit: no answer"),
        }
    }
}

/// Gives the command what it reads, as fast as it reads it, and then the end of it.
async fn feed(stdin: &mut Option<ChildStdin>, source: Option<&mut dyn ByteSource>) -> Result<(), TransferError> {
    if let (Some(stdin), Some(source)) = (stdin.as_mut(), source) {
        while let Some(chunk) = source.next().await.map_err(TransferError::Local)? {
            if stdin.write_all(&chunk).await.is_err() {
                // A command need not read what it is given; how it ended is what tells.
                break;
            }
        }
    }
    *stdin = None;
    Ok(())
}

/// Reads a stream to its end, as fast as the sink takes it.
async fn drain(stream: Option<impl AsyncRead + Unpin>, sink: &mut dyn ByteSink) -> Result<(), TransferError> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = stream.read(&mut buffer).await;
        let count = read.map_err(|error| SshError::Other(format!("its output could not be read: {error}")))?;
        if count == 0 {
            return Ok(());
        }
        sink.write(&buffer[..count]).await.map_err(TransferError::Local)?;
    }
}

/// What openssh reports of a connection that was there a moment ago.
fn broken(error: &openssh::Error) -> SshError {
    match error {
        openssh::Error::Disconnected | openssh::Error::RemoteProcessTerminated | openssh::Error::SshMux(_) => {
            SshError::Unreachable(format!("the connection broke ({error})"))
        }
        other => SshError::Other(other.to_string()),
    }
}

/// Awaits `work` for `limit` at most, less where the context ends it.
pub(crate) async fn bounded<T>(
    context: &StepContext,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, SshError> {
    let allowed = limit.min(context.time_left());
    let clock = context.clock();
    tokio::select! {
        biased;
        reason = context.limits.cancel.cancelled() => Err(SshError::Stopped(reason)),
        value = work => Ok(value),
        () = clock.sleep(allowed) => Err(SshError::TimedOut(allowed)),
    }
}
