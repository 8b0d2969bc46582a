//! The provider: the order of the steps, each of which looks at the world before it acts.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use jobs::{StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, Instance, KeptImage, NodeProvider, Observation,
    ProviderId, ReleaseReport, RuntimeImage,
};
use process_exec::CommandRunner;

use crate::address::Link;
use crate::config::NspawnConfig;
use crate::failure::{Code, io_failed};
use crate::files::{Lock, make_dir, spread_trees, without_links};
use crate::names::MachineNames;
use crate::record::{MachineFolder, MachineRecord};
use crate::root::host::Host;
use crate::root::leases::{HostState, peek};
use crate::root::{capability, cgroup, image, injection, machine, mounts, network, release, rootfs, runtime_image};
use crate::{ADMIN_USER, PROVIDER_ID};

/// Local nodes by systemd-nspawn.
pub struct NspawnProvider {
    pub(crate) config: NspawnConfig,
    pub(crate) host: Host,
}

impl NspawnProvider {
    /// A provider with these settings, whose commands are run by `runner`.
    pub fn new(mut config: NspawnConfig, runner: Arc<dyn CommandRunner>) -> Self {
        config.data_dir = without_links(&config.data_dir);
        config.cache_dir = without_links(&config.cache_dir);
        Self {
            config,
            host: Host::new(runner),
        }
    }

    pub(crate) fn folder(&self, instance: &Instance) -> MachineFolder {
        MachineFolder::new(&self.config.data_dir, &instance.name())
    }

    /// The machine's folder, made where it is missing, and locked: one acquire or release at a time.
    async fn lock_folder(&self, ctx: &StepContext, folder: &MachineFolder) -> Result<Lock, StepError> {
        let code = Code::LocalAcquisitionFailed;
        let machines = self.config.data_dir.join("machines");
        loop {
            ctx.check()?;
            // Roots of machines hold programs that run as root for whoever starts them.
            for path in [machines.as_path(), folder.path()] {
                make_dir(path, 0o700).map_err(|error| io_failed(code, path, &error))?;
            }
            spread_trees(&machines).map_err(|error| io_failed(code, &machines, &error))?;
            if let Some(lock) = Lock::folder(ctx, code, folder.path()).await? {
                return Ok(lock);
            }
        }
    }

    /// The record of the machine, where it is prepared. An image that is gone cannot be replaced under a machine.
    pub(crate) fn recorded(
        &self,
        folder: &MachineFolder,
        instance: &Instance,
    ) -> Result<Option<MachineRecord>, StepError> {
        let Some(record) = folder.load()? else {
            return Ok(None);
        };
        if record.node_id != instance.node_id {
            return Err(StepError::failed(
                Code::LocalInstanceConflict,
                format!(
                    "{} is the machine of the node {}",
                    folder.path().display(),
                    record.node_id
                ),
            ));
        }
        if !record.lower.is_dir() {
            return Err(StepError::failed(
                Code::LocalInstanceUnusable,
                format!(
                    "The image that {} was made from is gone: {}",
                    instance.name(),
                    record.lower.display()
                ),
            ));
        }
        Ok(Some(record))
    }

    /// The machine's record, prepared where there is none: from the image of a machine that was provisioned alike where
    /// there is one, else from the base image.
    async fn prepared(
        &self,
        ctx: &StepContext,
        folder: &MachineFolder,
        request: &AcquireRequest,
    ) -> Result<MachineRecord, StepError> {
        let instance = &request.instance;
        if let Some(record) = self.recorded(folder, instance)? {
            ctx.point("acquire.image_ready").await;
            return Ok(record);
        }
        let recipe = image::read_recipe(&self.host, ctx, &self.config).await?;
        let kept = match &request.runtime {
            Some(runtime) => runtime_image::take(ctx, &self.config, &instance.name(), &recipe.key(), runtime).await?,
            None => None,
        };
        let image = match kept {
            Some(image) => image,
            None => image::ensure(&self.host, ctx, &self.config, &recipe).await?,
        };
        ctx.point("acquire.image_ready").await;
        rootfs::prepare(&self.host, ctx, folder, instance, &image).await
    }

    /// The machine's link, with its mounts and its network in place. A running machine keeps both as they are.
    async fn wired(
        &self,
        ctx: &StepContext,
        names: &MachineNames,
        folder: &MachineFolder,
        record: &MachineRecord,
        running: bool,
    ) -> Result<Link, StepError> {
        let mut state = HostState::lock(ctx, &self.config, Code::LocalAcquisitionFailed).await?;
        let link = state.lease(&self.host, ctx, &self.config, &names.instance()).await?;
        if !running {
            mounts::ensure_nspawn_run(&self.host, ctx).await?;
            mounts::mount_root(&self.host, ctx, folder, &record.lower).await?;
            network::build(&self.host, ctx, names).await?;
        }
        network::configure(&self.host, ctx, names, link).await?;
        Ok(link)
    }

    fn look(&self, instance: &Instance, folder: &MachineFolder) -> Result<Observation, StepError> {
        let code = Code::LocalAcquisitionFailed;
        if machine::running(code, folder)?.is_some() {
            return Ok(match peek(&self.config, &instance.name())? {
                Some(link) => Observation::Running(vec![IpAddr::V4(link.node())]),
                None => Observation::Unknown("it runs and has no address on record".to_owned()),
            });
        }
        // A killed nspawn leaves its machine's processes behind; the next acquire ends them.
        let left = cgroup::members(code, &instance.name())?.len();
        Ok(if left == 0 {
            Observation::Stopped
        } else {
            Observation::Unknown(format!("nspawn has ended without it, {left} of its processes run on"))
        })
    }

    /// Whether the machine runs with its network. One that runs without is stopped: a namespace cannot be given to it anew.
    /// So is one that was told to shut down. Where it does not run, nothing of its last run is left.
    async fn runs_whole(
        &self,
        ctx: &StepContext,
        names: &MachineNames,
        folder: &MachineFolder,
    ) -> Result<bool, StepError> {
        let code = Code::LocalAcquisitionFailed;
        let running = machine::running(code, folder)?.is_some();
        let leaving = running && machine::was_told_to_stop(code, folder)?;
        if running && !leaving && network::is_whole(names) {
            return Ok(true);
        }
        if running && !leaving {
            ctx.log("The machine runs without its network; it is started again.")
                .await;
        }
        machine::stop(ctx, code, names, folder, self.config.stop_limit).await?;
        Ok(false)
    }

    /// Sees to it that a prepared machine is started, whatever it was before. Its link.
    pub(crate) async fn started(
        &self,
        ctx: &StepContext,
        names: &MachineNames,
        folder: &MachineFolder,
        record: &MachineRecord,
    ) -> Result<Link, StepError> {
        let running = self.runs_whole(ctx, names, folder).await?;
        ctx.check()?;
        let link = self.wired(ctx, names, folder, record, running).await?;
        ctx.point(&format!("{}.network_ready", ctx.step)).await;
        if !running {
            ctx.detail(&format!("starting {} at {}", names.instance(), link.node()))
                .await;
            machine::start(&self.host, ctx, names, folder).await?;
        }
        ctx.point(&format!("{}.machine_started", ctx.step)).await;
        Ok(link)
    }

    /// Sees to it that a prepared machine is up, whatever it was before. Its link.
    pub(crate) async fn up(
        &self,
        ctx: &StepContext,
        names: &MachineNames,
        folder: &MachineFolder,
        record: &MachineRecord,
    ) -> Result<Link, StepError> {
        let link = self.started(ctx, names, folder, record).await?;
        machine::wait_until_up(&self.host, ctx, folder, link.node(), self.config.boot_limit).await?;
        Ok(link)
    }
}

#[async_trait]
impl NodeProvider for NspawnProvider {
    fn id(&self) -> ProviderId {
        ProviderId::new(PROVIDER_ID)
    }

    fn source(&self) -> AcquisitionSource {
        AcquisitionSource::Local
    }

    async fn capability(&self, context: &StepContext) -> Result<Capability, StepError> {
        capability::check(&self.host, context, &self.config).await
    }

    async fn acquire(&self, request: &AcquireRequest, ctx: &StepContext) -> Result<Acquired, StepError> {
        ctx.check()?;
        if let Capability::Unavailable(missing) = self.capability(ctx).await? {
            return Err(StepError::failed(
                missing.code,
                format!("{} {}", missing.reason, missing.remedy),
            ));
        }
        let instance = &request.instance;
        let names = MachineNames::new(&instance.short_id());
        let folder = self.folder(instance);
        let _lock = self.lock_folder(ctx, &folder).await?;

        let record = self.prepared(ctx, &folder, request).await?;
        ctx.point("acquire.rootfs_ready").await;
        let link = self.up(ctx, &names, &folder, &record).await?;
        ctx.detail(&format!("{} runs at {}", names.instance(), link.node()))
            .await;
        Ok(Acquired {
            hostname: link.node().to_string(),
            public_ip: Some(IpAddr::V4(link.node())),
            ssh_port: 22,
            ssh_user: ADMIN_USER.to_owned(),
            host_key: record.host_key,
        })
    }

    async fn inject_key(&self, instance: &Instance, public_key: &str, ctx: &StepContext) -> Result<(), StepError> {
        injection::inject(&self.host, ctx, &self.folder(instance), public_key).await
    }

    async fn keep_image(
        &self,
        instance: &Instance,
        runtime: &RuntimeImage,
        ctx: &StepContext,
    ) -> Result<KeptImage, StepError> {
        self.keep(instance, runtime, ctx).await
    }

    async fn observe(&self, instance: &Instance, _context: &StepContext) -> Result<Observation, StepError> {
        let folder = self.folder(instance);
        if !folder.path().exists() {
            return Ok(Observation::Absent);
        }
        Ok(self
            .look(instance, &folder)
            .unwrap_or_else(|error| Observation::Unknown(error.to_string())))
    }

    async fn release(&self, instance: &Instance, ctx: &StepContext) -> Result<ReleaseReport, StepError> {
        let names = MachineNames::new(&instance.short_id());
        let folder = self.folder(instance);
        let _lock = Lock::folder(ctx, Code::NodeReleaseFailed, folder.path()).await?;
        release::release(&self.host, ctx, &self.config, &names, &folder).await?;
        Ok(ReleaseReport::default())
    }
}
