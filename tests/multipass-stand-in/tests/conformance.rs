//! The rules of `contracts/node-provider.md`, kept by the provider of Multipass machines: on the stand-in, with real machines
//! behind it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acquisition_multipass::{MultipassConfig, MultipassProvider};
use async_trait::async_trait;
use domain_kernel::NodeId;
use multipass_stand_in::{StandIn, USER, VmState};
use nodes_domain::{AcquireRequest, Acquired, HostKey, Instance, ManagedKeys, NodeProvider};
use process_exec::{CommandSpec, SystemRunner};
use provider_conformance::{KeysFile, Machine, Trouble, TroubledRunner, World, sudo_over_ssh};
use ssh_readiness::{ManagedKeyFile, SshSessions};
use tempfile::TempDir;
use test_support::RealClock;

mod real_machine {
    provider_conformance::conformance_tests!(super::Multipass::new());
}

/// Machines of somebody else: one that runs, and one that a bare `purge` would destroy.
const SOMEBODYS: [(&str, VmState); 2] = [("somebodys", VmState::Running), ("somebodys-deleted", VmState::Deleted)];

/// A Multipass of the test's own, and a key to log in with.
struct Multipass {
    stand_in: StandIn,
    folder: TempDir,
    runner: Arc<TroubledRunner>,
    provider: Arc<MultipassProvider>,
}

fn config(program: &Path) -> MultipassConfig {
    MultipassConfig {
        program: program.into(),
        settle_limit: Duration::from_secs(30),
        daemon_patience: Duration::from_secs(2),
        backoff: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        ..MultipassConfig::default()
    }
}

impl Multipass {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
        let stand_in = StandIn::new(&folder.path().join("multipass"));
        for (name, state) in SOMEBODYS {
            stand_in.put_record(name, state);
        }
        let runner = Arc::new(TroubledRunner::new(Arc::new(SystemRunner::unrecorded(Arc::new(
            RealClock,
        )))));
        Self {
            provider: Arc::new(MultipassProvider::new(config(stand_in.program()), runner.clone())),
            stand_in,
            folder,
            runner,
        }
    }

    fn keys(&self) -> ManagedKeyFile {
        ManagedKeyFile::new(self.folder.path())
    }

    /// The words that a call of `subcommand` begins with.
    fn call(&self, subcommand: &str) -> String {
        format!("{} {subcommand}", self.stand_in.program().display())
    }

    /// A call as a person makes it.
    fn by_hand(&self, words: &[&str]) {
        let ran = self.stand_in.run(words);
        assert!(ran.success(), "{words:?}: {}", ran.stderr_text());
    }
}

#[async_trait]
impl World for Multipass {
    fn provider(&self) -> Arc<dyn NodeProvider> {
        self.provider.clone()
    }

    async fn reopened(&self) -> Arc<dyn NodeProvider> {
        let config = config(self.stand_in.program());
        Arc::new(MultipassProvider::new(config, self.runner.clone()))
    }

    /// A host without Multipass.
    async fn incapable(&self) -> Arc<dyn NodeProvider> {
        let config = config(&self.folder.path().join("no-multipass"));
        Arc::new(MultipassProvider::new(config, self.runner.clone()))
    }

    async fn request(&self) -> AcquireRequest {
        AcquireRequest {
            instance: Instance::of(NodeId::generate()),
            public_key: self.keys().key().await.unwrap().public_key,
            runtime: None,
        }
    }

    async fn machine(&self, instance: &Instance) -> Option<Machine> {
        let name = instance.name();
        self.stand_in.state_of(&name)?;
        let process = self.stand_in.machine(&name).and_then(|machine| machine.process());
        Some(Machine {
            running: process.is_some(),
            run: format!("{process:?}"),
        })
    }

    async fn machine_names(&self) -> Vec<String> {
        let mut names = self.stand_in.instances();
        names.retain(|name| !SOMEBODYS.iter().any(|(somebodys, _)| name == somebodys));
        names
    }

    async fn host_key(&self, instance: &Instance) -> HostKey {
        let machine = self.stand_in.machine(&instance.name()).unwrap();
        machine.run("cat /etc/ssh/ssh_host_ed25519_key.pub").parse().unwrap()
    }

    async fn keys_file(&self, instance: &Instance) -> Option<KeysFile> {
        let machine = self.stand_in.machine(&instance.name())?;
        Some(KeysFile::read(USER, |script| machine.run(script)))
    }

    async fn write_keys(&self, instance: &Instance, bytes: &[u8]) {
        let machine = self.stand_in.machine(&instance.name()).unwrap();
        let script = format!("cat > ~{USER}/.ssh/authorized_keys");
        let ran = machine.try_run(&["/bin/sh", "-euc", &script], bytes);
        assert!(ran.success(), "{}", ran.stderr_text());
    }

    async fn sudo(&self, acquired: &Acquired) -> Result<(), String> {
        let runner = Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)));
        let ssh = SshSessions::new(self.folder.path(), runner).unwrap();
        let private_key = self.keys().key().await.unwrap().private_key_path;
        sudo_over_ssh(&ssh, private_key, acquired).await
    }

    async fn stop(&self, instance: &Instance) {
        self.by_hand(&["stop", &instance.name()]);
    }

    /// A deleted machine is the operator's to recover or to purge.
    async fn make_foreign(&self, instance: &Instance) {
        self.stand_in.put_record(&instance.name(), VmState::Deleted);
    }

    async fn remove_foreign(&self, instance: &Instance) {
        self.by_hand(&["delete", "--purge", &instance.name()]);
    }

    /// Whether it is listed, and its folder, which a machine has that is still being prepared.
    async fn left_of(&self, instance: &Instance) -> Vec<String> {
        let name = instance.name();
        let listed = self
            .stand_in
            .state_of(&name)
            .map(|state| format!("listed as {}", state.text()));
        let folder = self.folder.path().join("multipass/machines").join(&name);
        let folder = fs::exists(&folder).unwrap().then(|| folder.display().to_string());
        listed.into_iter().chain(folder).collect()
    }

    async fn shared(&self) -> Vec<String> {
        let told = SOMEBODYS.map(|(name, _)| format!("{name}: {:?}", self.stand_in.state_of(name)));
        told.to_vec()
    }

    async fn trouble(&self, trouble: Trouble, _instance: &Instance) {
        let failing = match trouble {
            Trouble::AcquireFails => "launch",
            Trouble::ReleaseFails => "delete",
            Trouble::CannotTell => "list",
            Trouble::Hangs => return self.runner.hang(),
        };
        self.runner.fail(&[&self.call(failing)]);
    }

    async fn calm(&self) {
        self.runner.calm();
    }

    fn commands(&self) -> Vec<CommandSpec> {
        self.runner.commands()
    }

    fn processes(&self) -> Vec<String> {
        self.runner.processes()
    }
}
