//! The provider: one lock per machine, and where each of its methods lives.

use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, Instance, NodeProvider, Observation, ProviderId,
    ReleaseReport,
};
use process_exec::CommandRunner;

use crate::acquire::Acquisition;
use crate::cli::Cli;
use crate::names::{Locks, PRIMARY, check_name};
use crate::probe::{AddressProbe, TcpProbe};
use crate::{MultipassConfig, PROVIDER_ID, capability, inject, observe, release};

/// Local nodes by Multipass.
pub struct MultipassProvider {
    cli: Cli,
    probe: Arc<dyn AddressProbe>,
    locks: Locks,
}

impl MultipassProvider {
    /// A provider with these settings, whose commands are run by `runner`.
    pub fn new(config: MultipassConfig, runner: Arc<dyn CommandRunner>) -> Self {
        Self::with_probe(config, runner, Arc::new(TcpProbe))
    }

    /// The same with another way to try a machine's addresses.
    pub fn with_probe(config: MultipassConfig, runner: Arc<dyn CommandRunner>, probe: Arc<dyn AddressProbe>) -> Self {
        Self {
            cli: Cli::new(Arc::new(config), runner),
            probe,
            locks: Locks::default(),
        }
    }

    /// Settings and names are judged before any process starts.
    fn check(&self, name: &str) -> Result<(), StepError> {
        let config = self.cli.config.check();
        config.map_err(|error| StepError::failed(JobErrorCode::LocalConfigInvalid, format!("{error}.")))?;
        Ok(check_name(name, PRIMARY)?)
    }
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
        capability::capability(&self.cli, context).await
    }

    async fn acquire(&self, request: &AcquireRequest, context: &StepContext) -> Result<Acquired, StepError> {
        let name = request.instance.name();
        self.check(&name)?;
        let key = inject::line(&request.public_key)?;
        let _lock = self.locks.lock(context, &name).await?;
        let probe = self.probe.as_ref();
        Acquisition::new(&self.cli, probe, context, &name, key).run().await
    }

    async fn inject_key(&self, instance: &Instance, public_key: &str, context: &StepContext) -> Result<(), StepError> {
        let name = instance.name();
        self.check(&name)?;
        let _lock = self.locks.lock(context, &name).await?;
        inject::inject(&self.cli, context, &name, public_key).await?;
        context.point("inject_key.injected").await;
        Ok(())
    }

    async fn observe(&self, instance: &Instance, context: &StepContext) -> Result<Observation, StepError> {
        observe::observe(&self.cli, context, &instance.name()).await
    }

    async fn release(&self, instance: &Instance, context: &StepContext) -> Result<ReleaseReport, StepError> {
        let name = instance.name();
        let _lock = self.locks.lock(context, &name).await?;
        release::release(&self.cli, context, instance).await
    }
}
