//! Provisioning: bringing an acquired machine to the state that sites need.

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{StepContext, StepError};

use crate::NodeTarget;

/// What a provisioning run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProvisionSummary {
    /// Tasks that found everything as it should be.
    pub ok: u32,
    /// Tasks that changed something; 0 on a machine that is up to date.
    pub changed: u32,
}

/// Provisions machines over SSH. It knows nothing of where they come from.
#[async_trait]
pub trait NodeProvisioner: Send + Sync {
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
