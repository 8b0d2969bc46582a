//! What sites are made from: WordPress and WP-CLI, kept on the control plane by version and checksum.

use async_trait::async_trait;
use jobs::{Failure, StepContext, StepError, text_enum};
use nodes_domain::ByteSource;

text_enum!(
    /// What an artifact is.
    ArtifactKind {
        /// WordPress, as a plain tar archive (fast to unpack) with one folder `wordpress` at its root.
        WordPress = "wordpress",
        /// WP-CLI, as a phar archive.
        WpCli = "wp-cli",
    }
);

/// A file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// Its version, such as `6.8.1`.
    pub version: String,
    /// SHA-256 of the file, lower-case hexadecimal. On a node the file is named by it.
    pub sha256: String,
    /// How large it is.
    pub size_bytes: u64,
}

impl Artifact {
    /// Where it is on a node. A file there is whole: it was moved into its place after its checksum was compared.
    pub fn node_path(&self) -> String {
        let ending = match self.kind {
            ArtifactKind::WordPress => "tar",
            ArtifactKind::WpCli => "phar",
        };
        format!("/var/lib/pressluft/artifacts/{}.{ending}", self.sha256)
    }
}

/// What new sites are made from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifacts {
    /// WordPress.
    pub wordpress: Artifact,
    /// WP-CLI.
    pub wp_cli: Artifact,
}

/// Keeps artifacts on the control plane. Where they come from is a setting, never a guess.
#[async_trait]
pub trait ArtifactCache: Send + Sync {
    /// What new sites are made from, fetched where it is missing.
    ///
    /// # Errors
    /// `ARTIFACT_UNAVAILABLE` where the source does not give it, `ARTIFACT_CHECKSUM_MISMATCH` where it gives something
    /// else, `HOST_DISK_FULL`.
    async fn ensure(&self, context: &StepContext) -> Result<Artifacts, StepError>;

    /// The bytes of one, as they are in the cache.
    ///
    /// # Errors
    /// `ARTIFACT_UNAVAILABLE` where the cache no longer has it.
    async fn open(&self, artifact: &Artifact) -> Result<Box<dyn ByteSource>, Failure>;
}
