//! A stand-in and the adapter in front of it.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use acquisition_multipass::{MultipassConfig, MultipassProvider};
use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, StepContext, StepError};
use multipass_stand_in::{Profile, StandIn};
use nodes_domain::{AcquireRequest, Acquired, Instance, NodeProvider};
use process_exec::SystemRunner;
use tempfile::TempDir;
use test_support::{RealClock, step_context};

pub(crate) const CLOUD_INIT_TIMEOUT: &str = "timed out waiting for initialization to complete";
pub(crate) const SSH_TIMEOUT: &str = "The following errors occurred:\ntimed out waiting for response";

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn context() -> StepContext {
    step_context("acquire", Duration::from_secs(60), Arc::new(RealClock)).0
}

/// One installation with a Multipass of its own, and a node of it.
pub(crate) struct Site {
    pub(crate) stand_in: StandIn,
    pub(crate) node: Instance,
    pub(crate) name: String,
    public_key: String,
    config: MultipassConfig,
    pub(crate) folder: TempDir,
}

impl Site {
    /// One whose machines are real.
    pub(crate) fn new(profile: Profile) -> Self {
        let folder = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
        let stand_in = StandIn::new(folder.path());
        stand_in.set_profile(profile);
        let key = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "pressluft test", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let public_key = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let node = Instance::of(NodeId::generate());
        Self {
            name: node.name(),
            node,
            public_key: public_key.trim_end().to_owned(),
            config: MultipassConfig {
                program: stand_in.program().into(),
                launch_limit: millis(30_000),
                start_limit: millis(20_000),
                kill_grace: millis(2_000),
                call_limit: millis(5_000),
                exec_limit: millis(5_000),
                address_limit: millis(5_000),
                settle_limit: millis(10_000),
                daemon_patience: millis(5_000),
                backoff: millis(20),
                backoff_max: millis(100),
                poll: millis(50),
                ssh_connect_limit: millis(500),
                ..MultipassConfig::default()
            },
            stand_in,
            folder,
        }
    }

    /// One whose machines are records only.
    pub(crate) fn of_records(profile: Profile) -> Self {
        let site = Self::new(profile);
        site.stand_in
            .set(|settings| settings.vms = multipass_stand_in::Vms::Records);
        site
    }

    /// The same with other settings of the adapter.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut MultipassConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// The adapter, as a server that has just started has it.
    pub(crate) fn provider(&self) -> MultipassProvider {
        let runner = Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)));
        MultipassProvider::new(self.config.clone(), runner)
    }

    pub(crate) fn request(&self) -> AcquireRequest {
        AcquireRequest {
            instance: self.node.clone(),
            public_key: self.public_key.clone(),
            runtime: None,
        }
    }

    pub(crate) async fn acquire(&self) -> Acquired {
        self.provider().acquire(&self.request(), &context()).await.unwrap()
    }

    pub(crate) async fn acquire_fails(&self) -> Failure {
        failure(self.provider().acquire(&self.request(), &context()).await)
    }

    pub(crate) async fn inject(&self) {
        let (provider, ctx) = (self.provider(), context());
        provider.inject_key(&self.node, &self.public_key, &ctx).await.unwrap();
    }

    pub(crate) async fn inject_fails(&self) -> JobErrorCode {
        let (provider, ctx) = (self.provider(), context());
        failure(provider.inject_key(&self.node, &self.public_key, &ctx).await).code
    }

    /// How many calls of a subcommand there were.
    pub(crate) fn count(&self, subcommand: &str) -> usize {
        self.stand_in.calls_of(subcommand).len()
    }

    pub(crate) fn authorized_keys(&self) -> String {
        self.stand_in.authorized_keys(&self.name)
    }

    /// How often Pressluft's key stands in authorized_keys.
    pub(crate) fn keys_in_place(&self) -> usize {
        let text = self.authorized_keys();
        text.lines().filter(|line| *line == self.public_key).count()
    }

    /// Makes a call of the test's own, which succeeds.
    pub(crate) fn call(&self, words: &[&str]) {
        let ran = self.stand_in.run(words);
        assert!(ran.success(), "{words:?}: {} {}", ran.status, ran.stderr_text());
    }

    /// Logs in with Pressluft's key and the pinned host key alone.
    pub(crate) fn login(&self, acquired: &Acquired, command: &str) -> Output {
        let folder = self.folder.path().display();
        let known_hosts = format!("{} {}\n", acquired.hostname, acquired.host_key);
        std::fs::write(self.folder.path().join("known_hosts"), known_hosts).unwrap();
        let script = format!(
            "exec ssh -F none -i {folder}/key -o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes \
             -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5 -p {} {}@{} {command}",
            acquired.ssh_port, acquired.ssh_user, acquired.hostname
        );
        Command::new("/bin/sh").args(["-c", &script]).output().unwrap()
    }
}

/// The failure that a step ended in.
pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, StepError>) -> Failure {
    match result {
        Err(StepError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}
