//! Commands over shared connections: one per node, opened when it is needed, replaced when it is dead or the node moved.

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, StepContext};
use nodes_domain::{Instance, NodeTarget, RemoteCommand, RemoteOutput, SshAccess, SshError};
use openssh::{Session, Stdio};
use process_exec::CommandRunner;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::files::{blocking, failed, private_folder};
use crate::remote::{self, RunMark};
use crate::{config, control, master, reap};

/// How many commands run at a time over one connection. An SSH server allows ten sessions by default.
const COMMANDS: usize = 6;

/// How many commands may be ended at a time, in sessions of the connection besides [`COMMANDS`].
const ENDINGS: usize = 3;

/// How much of each stream is kept.
const MAX_KEPT: usize = 256 * 1024;

/// How long after the limit on the node its end is awaited here.
const GRACE: Duration = Duration::from_secs(5);

/// How long ending a remote command may take.
const ENDING_LIMIT: Duration = Duration::from_secs(9);

/// How long a master may take to say that it is there.
const CHECK_LIMIT: Duration = Duration::from_secs(3);

type Slot = tokio::sync::Mutex<Option<Arc<Connection>>>;

/// Runs commands on nodes.
pub struct SshSessions {
    folder: PathBuf,
    control: PathBuf,
    runner: Arc<dyn CommandRunner>,
    slots: Mutex<HashMap<NodeId, Arc<Slot>>>,
}

impl SshSessions {
    /// Keeps its files in `<data directory>/ssh` and its sockets in a private folder on a short path. `runner` starts
    /// `ssh`.
    pub fn new(data_dir: &Path, runner: Arc<dyn CommandRunner>) -> Result<Self, Failure> {
        let folder = data_dir.join("ssh");
        let code = JobErrorCode::LocalConfigInvalid;
        private_folder(&folder).map_err(|error| failed(code, &folder, &error))?;
        let folder = folder.canonicalize().map_err(|error| failed(code, &folder, &error))?;
        let control = control::folder(&folder)
            .map_err(|error| Failure::new(code, format!("no folder for SSH's control sockets: {error}")))?;
        Ok(Self {
            folder,
            control,
            runner,
            slots: Mutex::default(),
        })
    }

    /// Ends every connection that this data directory's servers have opened, those of a dead one included, and returns
    /// how many there were. Call it at the start, with the lock of the data directory held, and at the end.
    pub async fn reap_stale(&self) -> Result<usize, Failure> {
        let trouble = |error: &std::io::Error| failed(JobErrorCode::Internal, &self.control, error);
        let count = reap::end_masters(&self.control)
            .await
            .map_err(|error| trouble(&error))?;
        let entries = match fs::read_dir(&self.control) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(count),
            entries => entries.map_err(|error| trouble(&error))?,
        };
        for entry in entries {
            let removed = entry.and_then(|entry| remove_socket(&entry.path()));
            removed.map_err(|error| trouble(&error))?;
        }
        // The next connection makes it again; a data directory that is gone leaves nothing.
        match fs::remove_dir(&self.control) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(trouble(&error)),
            _ => Ok(count),
        }
    }

    fn slot(&self, node_id: NodeId) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(node_id).or_default())
    }

    async fn connection(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        context: &StepContext,
    ) -> Result<Arc<Connection>, SshError> {
        let slot = self.slot(node_id);
        let mut slot = bounded(context, Duration::MAX, slot.lock()).await?;
        if let Some(present) = slot.take() {
            if present.target == *target && present.is_alive().await {
                *slot = Some(Arc::clone(&present));
                return Ok(present);
            }
            present.retire().await;
        }
        let opened = Arc::new(self.open(node_id, target, context).await?);
        *slot = Some(Arc::clone(&opened));
        Ok(opened)
    }

    async fn open(&self, node_id: NodeId, target: &NodeTarget, context: &StepContext) -> Result<Connection, SshError> {
        let config = self
            .config(node_id, target)
            .await
            .map_err(|failure| SshError::Other(failure.detail))?;
        let key = &target.ssh_private_key_path;
        if let Err(error) = tokio::fs::metadata(key).await {
            // `ssh` would log in without it and call itself rejected.
            return Err(SshError::Other(format!("the private key {}: {error}", key.display())));
        }
        let name = Instance::of(node_id).name();
        let random = uuid::Uuid::now_v7().simple().to_string();
        // Made again where something cleaned it up, as is done under /tmp.
        let control = control::folder(&self.folder).map_err(|error| SshError::Other(error.to_string()))?;
        let socket = control.join(&random[24..]);
        let connection = Connection::new(target.clone(), socket.clone());
        let started = master::start(self.runner.as_ref(), &config, &name, &socket, context).await;
        let result = match started {
            Ok(()) if connection.is_alive().await => Ok(connection),
            Ok(()) => Err(SshError::Other("the connection has no control socket".to_owned())),
            Err(error) => Err(error),
        };
        if result.is_err() {
            // It may have been stopped between its login and its end.
            end_connection(&socket)
                .await
                .map_err(|error| SshError::Other(error.to_string()))?;
        }
        result
    }
}

#[async_trait]
impl SshAccess for SshSessions {
    async fn run(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        context: &StepContext,
    ) -> Result<RemoteOutput, SshError> {
        if command.new_login {
            let connection = self.open(node_id, target, context).await?;
            let output = connection.run(command, context).await;
            let ended = end_connection(&connection.socket).await;
            ended.map_err(|error| SshError::Other(error.to_string()))?;
            return output;
        }
        let connection = self.connection(node_id, target, context).await?;
        let permit = bounded(context, Duration::MAX, connection.commands.acquire()).await?;
        let output = connection.run(command, context).await;
        drop(permit);
        output
    }

    async fn config(&self, node_id: NodeId, target: &NodeTarget) -> Result<PathBuf, Failure> {
        let (folder, target) = (self.folder.clone(), target.clone());
        blocking(move || config::write(&folder, &Instance::of(node_id).name(), &target)).await
    }

    async fn forget(&self, node_id: NodeId) -> Result<(), Failure> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.remove(&node_id)
        };
        if let Some(slot) = slot
            && let Some(connection) = slot.lock().await.take()
        {
            end_connection(&connection.socket)
                .await
                .map_err(|error| failed(JobErrorCode::Internal, &connection.socket, &error))?;
        }
        let folder = self.folder.clone();
        blocking(move || config::remove(&folder, &Instance::of(node_id).name())).await
    }
}

/// A master that has logged in.
struct Connection {
    target: NodeTarget,
    socket: PathBuf,
    session: Session,
    commands: Semaphore,
    endings: Semaphore,
}

impl Connection {
    fn new(target: NodeTarget, socket: PathBuf) -> Self {
        Self {
            target,
            session: Session::resume_mux(socket.clone().into_boxed_path(), None),
            socket,
            commands: Semaphore::new(COMMANDS),
            endings: Semaphore::new(ENDINGS),
        }
    }

    async fn is_alive(&self) -> bool {
        matches!(
            tokio::time::timeout(CHECK_LIMIT, self.session.check()).await,
            Ok(Ok(()))
        )
    }

    /// Lets the commands that run over it come to their end, and takes no others.
    async fn retire(&self) {
        let session = Session::resume_mux(self.socket.clone().into_boxed_path(), None);
        match tokio::time::timeout(CHECK_LIMIT, session.close()).await {
            Ok(Ok(())) => {}
            // It is dead, most often, and would end by itself in any case.
            Ok(Err(error)) => tracing::debug!(%error, "an SSH connection was gone already"),
            Err(_) => tracing::warn!(socket = %self.socket.display(), "an SSH connection does not answer"),
        }
    }

    async fn run(&self, command: &RemoteCommand, context: &StepContext) -> Result<RemoteOutput, SshError> {
        let mark = RunMark::new();
        let line = remote::limited(&command.script, command.limit, &mark);
        let limit = Duration::from_secs(remote::whole_seconds(command.limit));
        let begin = context.now();
        let (status, stdout, stderr) = match bounded(context, limit + GRACE, self.converse(&line, &command.stdin)).await
        {
            Ok(result) => result?,
            Err(stop) => {
                self.end_remote(&mark).await;
                return Err(stop);
            }
        };
        let exit_status = match status {
            // `timeout` had to use KILL, which ends it as well.
            None | Some(137) if context.now().since(begin) >= limit => Some(124),
            other => other,
        };
        Ok(RemoteOutput {
            exit_status,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Runs a command line to its end: its exit status, and what it printed.
    async fn converse(&self, line: &str, input: &[u8]) -> Result<(Option<i32>, Vec<u8>, Vec<u8>), SshError> {
        let mut command = self.session.raw_command(line);
        let stdin = if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().await.map_err(|error| broken(&error))?;
        let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A command need not read what it is given.
                let _ = stdin.write_all(input).await;
            }
        };
        // The streams first: once the end is known, what is still on its way is lost.
        let ((), stdout, stderr) = tokio::join!(feed, read_kept(stdout), read_kept(stderr));
        let (stdout, stderr) = (stdout?, stderr?);
        let status = match child.wait().await {
            Ok(status) => status.code(),
            // The crate's way to say 127.
            Err(openssh::Error::Remote(_)) => Some(127),
            // Either a signal ended it or the connection broke; the protocol does not say which.
            Err(openssh::Error::RemoteProcessTerminated) if self.is_alive().await => None,
            Err(error) => return Err(broken(&error)),
        };
        Ok((status, stdout, stderr))
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

async fn end_connection(socket: &Path) -> std::io::Result<()> {
    reap::end_masters(socket).await?;
    remove_socket(socket)
}

fn remove_socket(socket: &Path) -> std::io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn read_kept(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, SshError> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return Ok(kept) };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stream
            .read(&mut buffer)
            .await
            .map_err(|error| SshError::Other(format!("its output could not be read: {error}")))?;
        if count == 0 {
            return Ok(kept);
        }
        let room = MAX_KEPT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&buffer[..room]);
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
async fn bounded<T>(context: &StepContext, limit: Duration, work: impl Future<Output = T>) -> Result<T, SshError> {
    let allowed = limit.min(context.time_left());
    let clock = context.clock();
    tokio::select! {
        biased;
        reason = context.limits.cancel.cancelled() => Err(SshError::Stopped(reason)),
        value = work => Ok(value),
        () = clock.sleep(allowed) => Err(SshError::TimedOut(allowed)),
    }
}
