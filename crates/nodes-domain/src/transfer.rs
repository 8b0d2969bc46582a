//! Bytes to and from nodes, as they come: what is too large to be held at once.

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext};

use crate::{NodeTarget, RemoteCommand, RemoteOutput, SshError};

/// Takes bytes.
#[async_trait]
pub trait ByteSink: Send {
    /// Takes the next bytes.
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Failure>;
}

/// Gives bytes.
#[async_trait]
pub trait ByteSource: Send {
    /// The next bytes, never none of them; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure>;
}

/// Why a transfer did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// On the way, or on the node.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// At this end: the source or the sink.
    #[error("{0}")]
    Local(Failure),
}

/// Moves bytes to and from a node over the connections of [`SshAccess`](crate::SshAccess). A command that failed is no error here: its exit
/// status says so.
#[async_trait]
pub trait SshTransfer: Send + Sync {
    /// Runs a command whose standard output goes into `sink` as it comes. The output's `stdout` is empty.
    async fn receive(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        sink: &mut dyn ByteSink,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError>;

    /// Runs a command that reads `source` on its standard input; the command's own `stdin` has to be empty.
    async fn send(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        source: &mut dyn ByteSource,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError>;
}
