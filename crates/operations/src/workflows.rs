//! The workflows, one file each.

mod artifacts;
mod backup_copy;
mod backup_create;
mod creation;
mod deletion;
mod env_create;
mod env_delete;
mod env_readdress;
mod env_restore;
mod node_decommission;
mod node_files;
mod node_provision;
mod preview;
mod site_create;
mod site_delete;
mod site_work;

pub use backup_create::BackupCreate;
pub use env_create::EnvCreate;
pub use env_delete::EnvDelete;
pub use env_readdress::EnvReaddress;
pub use env_restore::EnvRestore;
pub use node_decommission::NodeDecommission;
pub use node_provision::NodeProvision;
pub use site_create::SiteCreate;
pub use site_delete::SiteDelete;
pub use site_work::SiteWork;

pub(crate) use artifacts::WP_CLI;
pub(crate) use node_files::as_root;
pub(crate) use preview::{serving_address, wanted_preview};

use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Claim, Failure, Job, StepContext, StepError, StoreError};
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

/// The right by which a running step writes.
fn claim_of(job: &Job, context: &StepContext) -> Claim {
    Claim {
        job_id: job.id,
        epoch: context.epoch,
        worker: jobs::WorkerId::new(job.locked_by.clone().unwrap_or_default()),
    }
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
