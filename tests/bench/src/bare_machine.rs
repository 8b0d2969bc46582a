//! A machine that nothing was done to: for what the same work costs without Ansible, by a shell over SSH.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acquisition_nspawn::{NspawnConfig, NspawnProvider};
use anyhow::{anyhow, ensure};
use domain_kernel::{Clock, NodeId};
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Capability, Instance, ManagedKeys, NodeProvider, NodeTarget, RemoteCommand, SshAccess,
};
use process_exec::{SystemClock, SystemRunner};
use ssh_readiness::{ManagedKeyFile, SshSessions};
use tokio::runtime::Runtime;

/// How long making the machine may take, its base image included.
const MAKING: Duration = Duration::from_secs(900);
/// How long it has to take a login.
const BOOTING: Duration = Duration::from_secs(60);
/// How long giving it back may take.
const RELEASING: Duration = Duration::from_secs(120);
/// The pause between two tries to log in.
const PAUSE: Duration = Duration::from_millis(200);

/// A running machine with a login. Dropped, it is given back.
pub(crate) struct BareMachine {
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    provider: NspawnProvider,
    ssh: SshSessions,
    node_id: NodeId,
    target: Option<NodeTarget>,
}

/// Why local nodes cannot be made here, or `None`.
pub(crate) fn missing(folder: &Path) -> anyhow::Result<Option<String>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runner = Arc::new(SystemRunner::unrecorded(Arc::clone(&clock)));
    let provider = NspawnProvider::new(NspawnConfig::new(folder.join("none"), folder.join("cache")), runner);
    let context = StepContext::outside_job("bench", RELEASING, clock);
    let runtime = Runtime::new()?;
    Ok(match runtime.block_on(provider.capability(&context)).map_err(told)? {
        Capability::Available => None,
        Capability::Unavailable(missing) => Some(format!("{} {}", missing.reason, missing.remedy)),
    })
}

impl BareMachine {
    /// Makes one from the base image, which is made too where the cache has none.
    pub(crate) fn acquire(data_dir: &Path, cache_dir: &Path) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let runner = Arc::new(SystemRunner::unrecorded(Arc::clone(&clock)));
        let config = NspawnConfig::new(data_dir, cache_dir);
        config.check()?;
        let mut machine = Self {
            runtime: Runtime::new()?,
            provider: NspawnProvider::new(config, runner.clone()),
            ssh: SshSessions::new(data_dir, runner).map_err(failed)?,
            clock,
            node_id: NodeId::generate(),
            target: None,
        };
        let target = machine.runtime.block_on(machine.make(data_dir))?;
        machine.target = Some(target);
        machine.wait_for_login()?;
        Ok(machine)
    }

    fn context(&self, limit: Duration) -> StepContext {
        StepContext::outside_job("bench", limit, Arc::clone(&self.clock))
    }

    async fn make(&self, data_dir: &Path) -> anyhow::Result<NodeTarget> {
        let context = self.context(MAKING);
        let key = ManagedKeyFile::new(data_dir).key().await.map_err(failed)?;
        let request = AcquireRequest {
            instance: Instance::of(self.node_id),
            public_key: key.public_key.clone(),
            runtime: None,
        };
        let acquired = self.provider.acquire(&request, &context).await.map_err(told)?;
        let injected = self.provider.inject_key(&request.instance, &key.public_key, &context);
        injected.await.map_err(told)?;
        Ok(NodeTarget {
            hostname: acquired.hostname,
            public_ip: acquired.public_ip,
            ssh_port: acquired.ssh_port,
            ssh_user: acquired.ssh_user,
            ssh_private_key_path: key.private_key_path,
            host_key: acquired.host_key,
        })
    }

    fn wait_for_login(&self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while let Err(error) = self.run("true", Duration::from_secs(10)) {
            if begin.elapsed() > BOOTING {
                return Err(error.context("the bare machine takes no login"));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Runs a script as root over SSH, which must end well: what it printed, and how long that took.
    pub(crate) fn run(&self, script: &str, limit: Duration) -> anyhow::Result<(String, Duration)> {
        let target = self.target.as_ref().ok_or_else(|| anyhow!("there is no machine"))?;
        let mut command = RemoteCommand::script("sudo sh -eu", limit);
        command.stdin = script.as_bytes().to_vec();
        let context = self.context(limit + Duration::from_secs(30));
        let begin = Instant::now();
        let ran = self.ssh.run(self.node_id, target, &command, &context);
        let output = self.runtime.block_on(ran)?;
        let took = begin.elapsed();
        let status = output.exit_status;
        ensure!(status == Some(0), "a script ended with {status:?}: {}", output.stderr);
        Ok((output.stdout, took))
    }
}

impl Drop for BareMachine {
    fn drop(&mut self) {
        let given_back = self.runtime.block_on(async {
            self.ssh.forget(self.node_id).await.map_err(failed)?;
            self.ssh.reap_stale().await.map_err(failed)?;
            let context = self.context(RELEASING);
            let released = self.provider.release(&Instance::of(self.node_id), &context).await;
            released.map_err(told)
        });
        if let Err(error) = given_back {
            let name = Instance::of(self.node_id).name();
            eprintln!("bench: the machine {name} could not be given back: {error:#}");
        }
    }
}

fn told(error: StepError) -> anyhow::Error {
    anyhow!("{error}")
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow!(failure.message())
}
