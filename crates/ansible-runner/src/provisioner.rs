//! Provisioning: one run of the playbook that turns a machine into a node.

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{NodeProvisioner, NodeTarget, ProvisionSummary, RuntimeImage};
use serde_json::{Map, Value, json};

use crate::playbook_run::{AnsibleRunner, Play, blocking};
use crate::runtime_image;

#[async_trait]
impl NodeProvisioner for AnsibleRunner {
    async fn runtime_image(&self) -> Result<RuntimeImage, Failure> {
        let ansible_dir = self.settings.ansible_dir.clone();
        blocking(move || Ok(runtime_image::read(&ansible_dir))).await?
    }

    async fn provision(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        context: &StepContext,
    ) -> Result<ProvisionSummary, StepError> {
        let play = Play {
            playbook: "node-provision.yml",
            variables: variables(&self.runtime_image().await?),
            node_id,
            target,
        };
        let summary = self.play(play, context).await?.summary;
        let line = format!("{} tasks, {} of them changed something", summary.ok, summary.changed);
        context.detail(&line).await;
        Ok(summary)
    }
}

fn variables(image: &RuntimeImage) -> Map<String, Value> {
    Map::from_iter([
        ("pressluft_runtime_key".to_owned(), json!(image.key)),
        ("pressluft_runtime_secrets".to_owned(), json!(image.secrets)),
    ])
}
