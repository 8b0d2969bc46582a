//! Provisioning: bringing an acquired machine to the state that sites need.

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext, StepError};

use crate::NodeTarget;

/// What a provisioning run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProvisionSummary {
    /// Tasks that found everything as it should be.
    pub ok: u32,
    /// Tasks that changed something; 0 on a machine that is up to date.
    pub changed: u32,
}

/// What tells an image of a provisioned machine from one that was provisioned otherwise, and what must not be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeImage {
    /// A hash of everything that shapes a node, lower-case hexadecimal: two machines of one release provisioned under one
    /// key are alike. The release is not in it: the provider knows that.
    pub key: String,
    /// Absolute paths, files or folders, that hold what one machine keeps for itself, such as generated passwords. A
    /// machine without them makes its own when it starts.
    pub secrets: Vec<String>,
}

/// Provisions machines over SSH. It knows nothing of where they come from.
#[async_trait]
pub trait NodeProvisioner: Send + Sync {
    /// What it would make of a machine now.
    async fn runtime_image(&self) -> Result<RuntimeImage, Failure>;

    /// Brings the machine up to date and tells every task as an event of the context. Fails with one of the
    /// `ANSIBLE_*` codes. When the context is cancelled, it ends the local processes and what they started on the
    /// machine, then returns.
    async fn provision(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        context: &StepContext,
    ) -> Result<ProvisionSummary, StepError>;
}
