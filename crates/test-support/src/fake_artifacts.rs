//! WordPress and WP-CLI as a few bytes.

use std::sync::Mutex;

use async_trait::async_trait;
use jobs::{Failure, StepContext, StepError};
use nodes_domain::ByteSource;
use sites_domain::{Artifact, ArtifactCache, ArtifactKind, Artifacts};

use crate::fake_provider::{lock, pause};
use crate::{ChunkSource, sha256_of};

/// A cache that has both, unless a test says otherwise.
#[derive(Default)]
pub struct FakeArtifacts {
    failure: Mutex<Option<Failure>>,
}

fn bytes(kind: ArtifactKind) -> Vec<u8> {
    format!("the bytes of {kind}; ").repeat(10).into_bytes()
}

impl FakeArtifacts {
    /// From now on nothing can be had; `None` ends it.
    pub fn fail(&self, failure: Option<Failure>) {
        *lock(&self.failure) = failure;
    }

    /// What it has of a kind.
    pub fn artifact(kind: ArtifactKind) -> Artifact {
        let bytes = bytes(kind);
        Artifact {
            kind,
            version: "6.8.1".to_owned(),
            sha256: sha256_of(&bytes),
            size_bytes: bytes.len() as u64,
        }
    }
}

#[async_trait]
impl ArtifactCache for FakeArtifacts {
    async fn ensure(&self, context: &StepContext) -> Result<Artifacts, StepError> {
        pause(context).await?;
        match lock(&self.failure).clone() {
            Some(failure) => Err(failure.into()),
            None => Ok(Artifacts {
                wordpress: Self::artifact(ArtifactKind::WordPress),
                wp_cli: Self::artifact(ArtifactKind::WpCli),
            }),
        }
    }

    async fn open(&self, artifact: &Artifact) -> Result<Box<dyn ByteSource>, Failure> {
        Ok(Box::new(ChunkSource::new(&bytes(artifact.kind))))
    }
}
