//! Starting machines again that stopped with their host. Providers' machines outlive the server but not a reboot of the
//! host that they run on.

use std::sync::Arc;
use std::time::Duration;

use jobs::StepContext;
use nodes_domain::{AcquisitionSource, Instance, Node, NodeStatus, Observation};

use crate::UseCaseError;
use crate::nodes::{NodeJob, NodesService};

/// How long a provider has to say whether a machine runs.
const OBSERVE_LIMIT: Duration = Duration::from_secs(10);

impl NodesService {
    /// Asks for this host's local nodes to be provisioned again whose machines their providers know and see stopped. Call
    /// it once when the server starts: a machine that stops later was stopped by somebody, and is theirs to start. Nodes
    /// with a job are left to it. Provisioning starts the machine and proves that it is ready.
    pub async fn start_stopped(&self) -> Result<Vec<NodeJob>, UseCaseError> {
        let mut accepted = Vec::new();
        for node in self
            .deps
            .store
            .idle_nodes(&self.deps.host_id, NodeStatus::PROBED)
            .await?
        {
            if node.source != AcquisitionSource::Local || !self.is_stopped(&node).await {
                continue;
            }
            match self.provision_as_seen(&node, None).await {
                Ok(job) => {
                    tracing::info!(node_id = %node.id, job_id = %job.job_id, "starts a machine that stopped with this host");
                    accepted.push(job);
                }
                // A request was faster.
                Err(UseCaseError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(accepted)
    }

    async fn is_stopped(&self, node: &Node) -> bool {
        let Some(provider) = self.deps.registry.get(&node.provider) else {
            return false;
        };
        let context = StepContext::outside_job("observe", OBSERVE_LIMIT, Arc::clone(&self.deps.clock));
        match provider.observe(&Instance::of(node.id), &context).await {
            Ok(Observation::Stopped) => true,
            Ok(Observation::Absent | Observation::Running(_)) => false,
            Ok(Observation::Unknown(why)) => {
                tracing::warn!(node_id = %node.id, why, "a provider cannot tell whether a machine runs");
                false
            }
            Err(error) => {
                tracing::warn!(node_id = %node.id, %error, "a provider cannot tell whether a machine runs");
                false
            }
        }
    }
}
