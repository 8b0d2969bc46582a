//! Files on the machines of a test, and the SSH that moves their bytes. The scripts that are run on them are those of
//! `operations`; they are read here, not run, so each is known by how it begins.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{
    ByteSink, ByteSource, NodeTarget, RemoteCommand, RemoteOutput, SshError, SshTransfer, TransferError,
};
use sha2::{Digest, Sha256};

use crate::fake_provider::{lock, pause};

/// How many bytes come at a time.
const CHUNK: usize = 64;

/// SHA-256 as lower-case hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that come in pieces.
pub struct ChunkSource(VecDeque<Vec<u8>>);

impl ChunkSource {
    /// A source of these.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.chunks(CHUNK).map(<[u8]>::to_vec).collect())
    }
}

#[async_trait]
impl ByteSource for ChunkSource {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        tokio::task::yield_now().await;
        Ok(self.0.pop_front())
    }
}

#[derive(Default)]
struct Files {
    files: BTreeMap<(NodeId, String), Vec<u8>>,
    links: BTreeMap<(NodeId, String), String>,
}

/// The files of machines. Clones share them.
#[derive(Clone, Default)]
pub struct FakeNodeFiles(Arc<Mutex<Files>>);

impl FakeNodeFiles {
    /// A file's bytes, if it is there.
    pub fn get(&self, node_id: NodeId, path: &str) -> Option<Vec<u8>> {
        lock(&self.0).files.get(&(node_id, path.to_owned())).cloned()
    }

    /// Writes a file.
    pub fn put(&self, node_id: NodeId, path: &str, bytes: Vec<u8>) {
        lock(&self.0).files.insert((node_id, path.to_owned()), bytes);
    }

    /// Removes the files of a folder, named with a slash at its end.
    pub fn clear_folder(&self, node_id: NodeId, folder: &str) {
        let stays = |of: &(NodeId, String)| of.0 != node_id || !of.1.starts_with(folder);
        lock(&self.0).files.retain(|of, _| stays(of));
    }

    /// The paths of a machine's files and symlinks, with what each leads to.
    pub fn paths(&self, node_id: NodeId) -> Vec<String> {
        let all = lock(&self.0);
        let files = all.files.keys().filter(|(of, _)| *of == node_id);
        let links = all.links.iter().filter(|((of, _), _)| *of == node_id);
        let files = files.map(|(_, path)| path.clone());
        files
            .chain(links.map(|((_, path), to)| format!("{path} -> {to}")))
            .collect()
    }

    /// What a script about files prints on a machine; `None` where it is about something else.
    pub fn answer(&self, node_id: NodeId, command: &RemoteCommand) -> Option<RemoteOutput> {
        let script = inner(&command.script)?;
        let words = quoted(&script);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        if script.starts_with("for f in ") {
            let there = words.iter().filter(|path| self.get(node_id, path).is_some());
            return Some(ended(0, there.map(|path| format!("{path}\n")).collect()));
        }
        if let ("f='", [path, size, sha256, ..]) = (script.get(..3)?, words.as_slice()) {
            let bytes = self.get(node_id, path).unwrap_or_default();
            let same = bytes.len().to_string() == *size && sha256_of(&bytes) == *sha256;
            return Some(ended(i32::from(!same), String::new()));
        }
        if script.starts_with("rm -rf -- ") {
            for path in words {
                lock(&self.0).files.remove(&(node_id, path.to_owned()));
            }
            return Some(ended(0, String::new()));
        }
        if let (true, [link, to, ..]) = (script.starts_with("[ \"$(readlink "), words.as_slice()) {
            let mut all = lock(&self.0);
            all.links.insert((node_id, (*link).to_owned()), (*to).to_owned());
            return Some(ended(0, String::new()));
        }
        None
    }
}

/// The script that root runs.
fn inner(script: &str) -> Option<String> {
    let rest = script.strip_prefix("s='")?;
    let (inner, _) = rest.split_once("'; [ \"$(id -u)\"")?;
    Some(inner.replace(r"'\''", "'"))
}

/// The words in single quotes.
fn quoted(script: &str) -> Vec<String> {
    script.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

fn ended(status: i32, stdout: String) -> RemoteOutput {
    RemoteOutput {
        exit_status: Some(status),
        stdout,
        stderr: String::new(),
    }
}

/// How a transfer goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferFault {
    /// SSH fails, when something has arrived.
    Breaks(SshError),
    /// The command ends with this status.
    Ends(i32),
    /// One byte arrives as another.
    Flips,
}

/// Moves bytes to and from the files of machines. It gives way with every piece.
pub struct FakeTransfer {
    files: FakeNodeFiles,
    faults: Mutex<VecDeque<TransferFault>>,
}

impl FakeTransfer {
    /// SSH to the machines with these files.
    pub fn new(files: FakeNodeFiles) -> Self {
        Self {
            files,
            faults: Mutex::default(),
        }
    }

    /// The next transfer goes wrong, after those that were said before.
    pub fn next(&self, fault: TransferFault) {
        lock(&self.faults).push_back(fault);
    }
}

async fn stop(context: &StepContext) -> Result<(), TransferError> {
    pause(context).await.map_err(|error| match error {
        StepError::Stopped(reason) => SshError::Stopped(reason).into(),
        other => SshError::Other(other.to_string()).into(),
    })
}

fn flipped(mut bytes: Vec<u8>, fault: Option<&TransferFault>) -> Vec<u8> {
    if let (Some(TransferFault::Flips), Some(first)) = (fault, bytes.first_mut()) {
        *first ^= 1;
    }
    bytes
}

fn broken(fault: Option<&TransferFault>) -> Result<Option<RemoteOutput>, TransferError> {
    match fault {
        Some(TransferFault::Breaks(error)) => Err(error.clone().into()),
        Some(TransferFault::Ends(status)) => Ok(Some(ended(*status, String::new()))),
        Some(TransferFault::Flips) | None => Ok(None),
    }
}

#[async_trait]
impl SshTransfer for FakeTransfer {
    async fn receive(
        &self,
        node_id: NodeId,
        _target: &NodeTarget,
        command: &RemoteCommand,
        sink: &mut dyn ByteSink,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError> {
        let fault = lock(&self.faults).pop_front();
        stop(context).await?;
        let path = inner(&command.script).map(|script| quoted(&script)).unwrap_or_default();
        let bytes = path.first().and_then(|path| self.files.get(node_id, path));
        let Some(bytes) = bytes else {
            return Ok(RemoteOutput {
                stderr: "cat: no such file".to_owned(),
                ..ended(1, String::new())
            });
        };
        for chunk in flipped(bytes, fault.as_ref()).chunks(CHUNK) {
            sink.write(chunk).await.map_err(TransferError::Local)?;
            stop(context).await?;
        }
        Ok(broken(fault.as_ref())?.unwrap_or_else(|| ended(0, String::new())))
    }

    async fn send(
        &self,
        node_id: NodeId,
        _target: &NodeTarget,
        command: &RemoteCommand,
        source: &mut dyn ByteSource,
        context: &StepContext,
    ) -> Result<RemoteOutput, TransferError> {
        let fault = lock(&self.faults).pop_front();
        stop(context).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = source.next().await.map_err(TransferError::Local)? {
            bytes.extend(chunk);
            stop(context).await?;
        }
        if let Some(output) = broken(fault.as_ref())? {
            return Ok(output);
        }
        let words = inner(&command.script).map(|script| quoted(&script)).unwrap_or_default();
        let [path, _, size, sha256, ..] = words.as_slice() else {
            return Ok(ended(2, String::new()));
        };
        let bytes = flipped(bytes, fault.as_ref());
        if bytes.len().to_string() != *size || sha256_of(&bytes) != *sha256 {
            return Ok(ended(3, String::new()));
        }
        self.files.put(node_id, path, bytes);
        stop(context).await?;
        Ok(ended(0, String::new()))
    }
}
