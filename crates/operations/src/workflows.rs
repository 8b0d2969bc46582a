//! The workflows, one file each.

mod node_decommission;
mod node_provision;

pub use node_decommission::NodeDecommission;
pub use node_provision::NodeProvision;

use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, Job, StepError, StoreError};
use nodes_domain::{Node, NodeProvider, NodeStore, NodeTarget};

use crate::ProviderRegistry;

/// The node that a job works on.
fn node_id(job: &Job) -> Result<NodeId, StepError> {
    job.node_id
        .ok_or_else(|| StepError::failed(JobErrorCode::Internal, "The job names no node"))
}

async fn load(store: &dyn NodeStore, job: &Job) -> Result<Node, StepError> {
    let id = node_id(job)?;
    store
        .node(id)
        .await?
        .ok_or(StepError::Store(StoreError::NotFound("node")))
}

fn target_of(node: &Node) -> Result<&NodeTarget, StepError> {
    let missing = || StepError::failed(JobErrorCode::LocalAddressMissing, "The node has no address");
    node.target.as_ref().ok_or_else(missing)
}

/// The provider that a node was made by; never another.
fn provider_of(registry: &ProviderRegistry, node: &Node) -> Result<std::sync::Arc<dyn NodeProvider>, Failure> {
    registry.get(&node.provider).ok_or_else(|| {
        let detail = format!(
            "The node was made by the provider `{}`, which this server does not have",
            node.provider
        );
        Failure::new(JobErrorCode::LocalProviderUnavailable, detail)
    })
}
