//! Commands and transfers over shared connections: one per node, opened when it is needed, replaced when it is dead or the
//! node moved.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, StepContext};
use nodes_domain::{
    ByteSink, ByteSource, Instance, NodeTarget, RemoteCommand, RemoteOutput, SshAccess, SshError, SshTransfer,
    TransferError,
};
use process_exec::CommandRunner;

use crate::connection::{Connection, bounded};
use crate::files::{blocking, failed, private_folder};
use crate::memory::{Input, Kept};
use crate::{config, control, master, reap};

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

    /// Runs a command that reads `source` and writes into `sink`, over the node's connection or one of its own.
    async fn execute(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        source: Option<&mut dyn ByteSource>,
        sink: &mut dyn ByteSink,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError> {
        if command.new_login {
            let connection = self.open(node_id, target, context).await?;
            let output = connection.run(command, source, sink, context).await;
            let ended = end_connection(&connection.socket).await;
            ended.map_err(|error| SshError::Other(error.to_string()))?;
            return output;
        }
        let connection = self.connection(node_id, target, context).await?;
        let permit = bounded(context, Duration::MAX, connection.commands.acquire()).await?;
        let output = connection.run(command, source, sink, context).await;
        drop(permit);
        output
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
        let mut kept = Kept::default();
        let mut input = Input::of(command);
        let work = self.execute(node_id, target, command, input.source(), &mut kept, context);
        match work.await {
            Ok(output) => Ok(RemoteOutput {
                stdout: kept.text(),
                ..output
            }),
            Err(TransferError::Ssh(error)) => Err(error),
            // Neither of them fails.
            Err(TransferError::Local(failure)) => Err(SshError::Other(failure.detail)),
        }
    }

    async fn config(&self, node_id: NodeId, target: &NodeTarget) -> Result<PathBuf, Failure> {
        let (folder, target) = (self.folder.clone(), target.clone());
        blocking(move || config::write(&folder, &Instance::of(node_id).name(), &target)).await
    }

    async fn shared_connection(&self, node_id: NodeId, target: &NodeTarget) -> Option<PathBuf> {
        let slot = self.slot(node_id);
        // One that is just being opened is nobody's to wait for here.
        let slot = slot.try_lock().ok()?;
        let present = slot.as_ref().filter(|present| present.target == *target)?;
        present.is_alive().await.then(|| present.socket.clone())
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

#[async_trait]
impl SshTransfer for SshSessions {
    async fn receive(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        sink: &mut dyn ByteSink,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError> {
        let mut input = Input::of(command);
        self.execute(node_id, target, command, input.source(), sink, context)
            .await
    }

    async fn send(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        source: &mut dyn ByteSource,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError> {
        if !command.stdin.is_empty() {
            let why = "a command that is sent to cannot have an input of its own";
            return Err(SshError::Other(why.to_owned()).into());
        }
        let mut kept = Kept::default();
        let work = self.execute(node_id, target, command, Some(source), &mut kept, context);
        let output = work.await?;
        Ok(RemoteOutput {
            stdout: kept.text(),
            ..output
        })
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
