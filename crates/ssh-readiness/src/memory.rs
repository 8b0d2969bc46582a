//! Input and output that are small enough to be held.

use async_trait::async_trait;
use jobs::Failure;
use nodes_domain::{ByteSink, ByteSource, RemoteCommand};

/// How much of a stream is kept.
const MAX_KEPT: usize = 256 * 1024;

/// Keeps the beginning of what it is given.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<u8>);

impl Kept {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[async_trait]
impl ByteSink for Kept {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let room = MAX_KEPT.saturating_sub(self.0.len()).min(chunk.len());
        self.0.extend_from_slice(&chunk[..room]);
        Ok(())
    }
}

/// A command's own input.
#[derive(Debug)]
pub(crate) struct Input(Option<Vec<u8>>);

impl Input {
    pub(crate) fn of(command: &RemoteCommand) -> Self {
        Self((!command.stdin.is_empty()).then(|| command.stdin.clone()))
    }

    /// Gives it; `None` where the command has no input.
    pub(crate) fn source(&mut self) -> Option<&mut dyn ByteSource> {
        self.0.is_some().then_some(self as &mut dyn ByteSource)
    }
}

#[async_trait]
impl ByteSource for Input {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.take())
    }
}
