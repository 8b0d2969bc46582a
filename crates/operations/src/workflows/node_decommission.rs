//! `node_decommission`: give the machine back and forget how to reach it.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Claim, Job, JobKind, Outcome, Step, StepContext, StepError, StoreError, Workflow};
use nodes_domain::{NodeChange, NodeStatus, NodeStore, SshAccess};

use super::{load, node_id, provider_of};
use crate::ProviderRegistry;

/// The workflow.
#[derive(Clone)]
pub struct NodeDecommission {
    /// Keeps nodes.
    pub store: Arc<dyn NodeStore>,
    /// Makes machines.
    pub registry: ProviderRegistry,
    /// Commands over SSH.
    pub ssh: Arc<dyn SshAccess>,
}

#[async_trait]
impl Workflow for NodeDecommission {
    fn kind(&self) -> JobKind {
        JobKind::NodeDecommission
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        vec![Arc::new(Disconnect(self.clone())), Arc::new(Release(self.clone()))]
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let change = match &outcome {
            Outcome::Succeeded => NodeChange::status(NodeStatus::Decommissioned),
            Outcome::Failed(_) | Outcome::Cancelled => NodeChange::status(NodeStatus::Failed),
            Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => NodeChange::default(),
        };
        let id = job.node_id.ok_or(StoreError::NotFound("node"))?;
        self.store.settle_job(claim, &outcome, id, change).await
    }
}

/// Closes connections to the machine and removes the files that describe them.
struct Disconnect(NodeDecommission);

#[async_trait]
impl Step for Disconnect {
    fn name(&self) -> &'static str {
        "disconnect"
    }

    async fn run(&self, job: &Job, _context: &StepContext) -> Result<(), StepError> {
        Ok(self.0.ssh.forget(node_id(job)?).await?)
    }
}

/// Gives the machine back.
struct Release(NodeDecommission);

#[async_trait]
impl Step for Release {
    fn name(&self) -> &'static str {
        "release"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let node = load(self.0.store.as_ref(), job).await?;
        let provider = provider_of(&self.0.registry, &node)?;
        let report = provider.release(&node.instance(), context).await?;
        let detail = if report.left_in_place.is_empty() {
            "nothing is left".to_owned()
        } else {
            format!("left in place: {}", report.left_in_place.join("; "))
        };
        context.detail(&detail).await;
        Ok(())
    }
}
