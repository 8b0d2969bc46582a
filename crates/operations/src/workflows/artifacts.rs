//! Putting what sites are made from on their node, once.

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::Node;
use sites_domain::{Artifact, StoredObject};

use super::SiteWork;
use super::node_files::Sent;

/// What scripts and people on a node call the newest WP-CLI.
pub(crate) const WP_CLI: &str = "/var/lib/pressluft/artifacts/wp-cli.phar";

impl SiteWork {
    /// Sends those artifacts that the node lacks. A line for the operator says which.
    pub(super) async fn push(
        &self,
        node: &Node,
        artifacts: &[&Artifact],
        context: &StepContext,
    ) -> Result<String, StepError> {
        let paths: Vec<_> = artifacts.iter().map(|artifact| artifact.node_path()).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let present = self.present(node, &paths, context).await?;
        let mut told = Vec::new();
        for artifact in artifacts {
            let path = artifact.node_path();
            let name = format!("{} {}", artifact.kind, artifact.version);
            if present.contains(&path) {
                told.push(format!("{name} is there"));
                continue;
            }
            let mut source = self.artifacts.open(artifact).await?;
            let object = StoredObject {
                size_bytes: artifact.size_bytes,
                sha256: artifact.sha256.clone(),
            };
            let sent = self
                .send_file(node, &path, &object, "0644", source.as_mut(), context)
                .await?;
            if sent == Sent::Mismatch {
                let detail = format!("What arrived on the node of {name} is not what its checksum says");
                return Err(StepError::failed(JobErrorCode::ArtifactChecksumMismatch, detail));
            }
            told.push(format!("{name} sent"));
        }
        Ok(told.join(", "))
    }

    /// Lets [`WP_CLI`] mean this one.
    pub(super) async fn link_wp_cli(
        &self,
        node: &Node,
        wp_cli: &Artifact,
        context: &StepContext,
    ) -> Result<(), StepError> {
        self.link(node, WP_CLI, &format!("{}.phar", wp_cli.sha256), context)
            .await
    }
}
