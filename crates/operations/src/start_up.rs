//! Starting machines again that stopped with their host. Providers' machines outlive the server but not a reboot of the
//! host that they run on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jobs::StepContext;
use nodes_domain::{AcquisitionSource, Node, NodeStatus, Observation};

use crate::UseCaseError;
use crate::nodes::{NodeJob, NodesService};
use crate::reconciler::AT_ONCE;

/// How long a provider has to say whether a machine runs.
const OBSERVE_LIMIT: Duration = Duration::from_secs(10);

/// How long a provider that cannot tell is asked again.
const PATIENCE: Duration = Duration::from_secs(120);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(15);

impl NodesService {
    /// Asks for this host's local nodes to be provisioned again whose machines their providers know and see stopped. Call
    /// it once when the server starts: a machine that stops later was stopped by somebody, and is theirs to start. Nodes
    /// with a job are left to it. It is a whole `node_provision` job: it starts the machine, brings it to what today's
    /// roles say, which may be newer than those that the node was made with, and proves that it is ready.
    ///
    /// What goes wrong with one node is logged and keeps none of the others. It is an error where the nodes cannot be read.
    pub async fn start_stopped(&self) -> Result<Vec<NodeJob>, UseCaseError> {
        let store = &self.deps.store;
        let nodes = store.idle_nodes(&self.deps.host_id, NodeStatus::PROBED).await?;
        let local = nodes.into_iter().filter(|node| node.source == AcquisitionSource::Local);
        let accepted = futures_util::stream::iter(local)
            .map(|node| self.start_if_stopped(node))
            .buffer_unordered(AT_ONCE)
            .filter_map(async |job| job);
        Ok(accepted.collect().await)
    }

    async fn start_if_stopped(&self, node: Node) -> Option<NodeJob> {
        if !self.is_stopped_patiently(&node).await {
            return None;
        }
        let node_id = node.id;
        match self.provision_unless_busy(node).await {
            Ok(Some(job)) => {
                tracing::info!(%node_id, job_id = %job.job_id, "starts a machine that stopped with this host");
                Some(job)
            }
            Ok(None) => None,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%node_id, error, "a machine that stopped with this host could not be started again");
                None
            }
        }
    }

    /// `None` where a request was faster. The reconciler writes at the same time what it sees of the same nodes; that is
    /// a change of the node, too, but no reason to leave its machine stopped.
    async fn provision_unless_busy(&self, mut node: Node) -> Result<Option<NodeJob>, UseCaseError> {
        loop {
            match self.provision_as_seen(&node, None).await {
                Ok(job) => return Ok(Some(job)),
                Err(UseCaseError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
            let now = self.get(node.id).await?;
            if now.state_version == node.state_version || !NodeStatus::PROBED.contains(&now.status) {
                return Ok(None);
            }
            node = now;
        }
    }

    /// After a reboot of the host a provider's own service may not be up yet: it is asked again for a while.
    async fn is_stopped_patiently(&self, node: &Node) -> bool {
        let begin = self.deps.clock.now();
        loop {
            if let Some(stopped) = self.is_stopped(node).await {
                return stopped;
            }
            if self.deps.clock.now().since(begin) >= PATIENCE {
                return false;
            }
            self.deps.clock.sleep(PAUSE).await;
        }
    }

    /// `None`: the provider cannot tell.
    async fn is_stopped(&self, node: &Node) -> Option<bool> {
        let Some(provider) = self.deps.registry.get(&node.provider) else {
            return Some(false);
        };
        let context = StepContext::outside_job("observe", OBSERVE_LIMIT, Arc::clone(&self.deps.clock));
        match provider.observe(&node.instance(), &context).await {
            Ok(Observation::Stopped) => Some(true),
            Ok(Observation::Absent | Observation::Running(_)) => Some(false),
            Ok(Observation::Unknown(why)) => {
                tracing::warn!(node_id = %node.id, why, "a provider cannot tell whether a machine runs");
                None
            }
            Err(error) => {
                tracing::warn!(node_id = %node.id, %error, "a provider cannot tell whether a machine runs");
                None
            }
        }
    }
}
