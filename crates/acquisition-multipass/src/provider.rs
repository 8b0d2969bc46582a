//! The provider, as far as this version has it.

use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, Instance, NodeProvider, Observation, ProviderId,
    ReleaseReport,
};
use process_exec::CommandRunner;

use crate::PROVIDER_ID;
use crate::capability::{CANNOT_MAKE, obstacle};

/// Local nodes by Multipass. It never makes one: [`NodeProvider::capability`] says why, and how to go on.
pub struct MultipassProvider {
    runner: Arc<dyn CommandRunner>,
}

impl MultipassProvider {
    /// A provider whose one command is run by `runner`.
    pub fn new(runner: Arc<dyn CommandRunner>) -> Self {
        Self { runner }
    }
}

fn cannot<T>() -> Result<T, StepError> {
    Err(StepError::failed(JobErrorCode::LocalProviderUnavailable, CANNOT_MAKE))
}

#[async_trait]
impl NodeProvider for MultipassProvider {
    fn id(&self) -> ProviderId {
        ProviderId::new(PROVIDER_ID)
    }

    fn source(&self) -> AcquisitionSource {
        AcquisitionSource::Local
    }

    async fn capability(&self, context: &StepContext) -> Result<Capability, StepError> {
        let obstacle = obstacle(self.runner.as_ref(), context).await?;
        Ok(Capability::Unavailable(obstacle))
    }

    async fn acquire(&self, _request: &AcquireRequest, _context: &StepContext) -> Result<Acquired, StepError> {
        cannot()
    }

    async fn inject_key(&self, _instance: &Instance, _key: &str, _context: &StepContext) -> Result<(), StepError> {
        cannot()
    }

    async fn observe(&self, _instance: &Instance, _context: &StepContext) -> Result<Observation, StepError> {
        cannot()
    }

    /// There is no machine of this version's making, so the node can go: otherwise one whose acquisition failed could
    /// never be deleted. What another version may have made stays, and the operator is told.
    async fn release(&self, instance: &Instance, _context: &StepContext) -> Result<ReleaseReport, StepError> {
        let name = instance.name();
        Ok(ReleaseReport {
            left_in_place: vec![format!(
                "any `{name}` that another version of Pressluft made: `multipass list` shows it, `multipass delete --purge \
                 {name}` removes it"
            )],
        })
    }
}
