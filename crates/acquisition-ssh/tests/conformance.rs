//! The rules of `contracts/node-provider.md` on hosts that the test started itself: real machines, reached by SSH alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use acquisition_ssh::{KeyScan, SshConfig, SshProvider, SystemHost};
use async_trait::async_trait;
use domain_kernel::NodeId;
use machines::RealMachine;
use nodes_domain::{AcquireRequest, Acquired, HostKey, Instance, ManagedKeys, NodeProvider, RemoteHost, RemoteMachine};
use process_exec::fake::ScriptedRunner;
use process_exec::{CommandRunner, CommandSpec, SystemRunner};
use provider_conformance::{KeysFile, Machine, Trouble, TroubledRunner, World, sudo_over_ssh};
use ssh_readiness::{ManagedKeyFile, SshSessions};
use tempfile::TempDir;
use test_support::RealClock;

mod real_machine {
    provider_conformance::conformance_tests!(super::Hosts::new());
}

/// The login user of every host.
const USER: &str = "operator";

/// A data directory, and the hosts of its operator.
struct Hosts {
    data: TempDir,
    runner: Arc<TroubledRunner>,
    provider: Arc<SshProvider>,
    hosts: Mutex<BTreeMap<String, RealMachine>>,
    /// The host that something was done to, and the script that undoes it.
    undo: Mutex<Option<(String, String)>>,
}

impl Hosts {
    fn new() -> Self {
        let data = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
        let runner = Arc::new(TroubledRunner::new(Arc::new(SystemRunner::unrecorded(Arc::new(
            RealClock,
        )))));
        Self {
            provider: Arc::new(provider(data.path(), runner.clone(), runner.clone())),
            data,
            runner,
            hosts: Mutex::default(),
            undo: Mutex::default(),
        }
    }

    fn with<T>(&self, instance: &Instance, act: impl FnOnce(&mut RealMachine) -> T) -> T {
        act(self.hosts.lock().unwrap().get_mut(&instance.name()).unwrap())
    }

    /// Gets in the way on the host itself, until it is calm.
    fn disturb(&self, instance: &Instance, script: &str, undo: &str) {
        self.with(instance, |machine| machine.run(script));
        *self.undo.lock().unwrap() = Some((instance.name(), undo.to_owned()));
    }

    fn keys(&self) -> ManagedKeyFile {
        ManagedKeyFile::new(self.data.path())
    }
}

fn provider(data: &Path, runner: Arc<dyn CommandRunner>, scanner: Arc<dyn CommandRunner>) -> SshProvider {
    let ssh = SshSessions::new(data, runner).unwrap();
    let scan = KeyScan::new(SshConfig::default(), scanner, Arc::new(SystemHost::new([])));
    SshProvider::new(
        SshConfig::default(),
        Arc::new(ssh),
        Arc::new(ManagedKeyFile::new(data)),
        scan,
    )
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let below = if path.is_dir() { files(&path) } else { Vec::new() };
            std::iter::once(path).chain(below)
        })
        .collect()
}

#[async_trait]
impl World for Hosts {
    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[("NP-22", "hosts of the operator's share nothing on this host")]
    }

    fn provider(&self) -> Arc<dyn NodeProvider> {
        self.provider.clone()
    }

    async fn reopened(&self) -> Arc<dyn NodeProvider> {
        Arc::new(provider(self.data.path(), self.runner.clone(), self.runner.clone()))
    }

    /// A host without OpenSSH's programs.
    async fn incapable(&self) -> Arc<dyn NodeProvider> {
        let scanner = Arc::new(ScriptedRunner::new());
        Arc::new(provider(self.data.path(), self.runner.clone(), scanner))
    }

    async fn request(&self) -> AcquireRequest {
        let node_id = NodeId::generate();
        let folder = self
            .data
            .path()
            .join(format!("host-{}", self.hosts.lock().unwrap().len()));
        fs::create_dir(&folder).unwrap();
        let machine = RealMachine::start(&folder, USER);
        let remote = RemoteMachine {
            host: RemoteHost {
                hostname: machine.address.to_string().parse().unwrap(),
                ssh_port: machine.ssh_port,
                ssh_user: USER.parse().unwrap(),
                public_ip: None,
                host_key_fingerprint: None,
            },
            host_key: None,
        };
        let instance = Instance {
            acquired: false,
            node_id,
            remote: Some(remote),
        };
        self.hosts.lock().unwrap().insert(instance.name(), machine);
        AcquireRequest {
            instance,
            public_key: self.keys().key().await.unwrap().public_key,
            runtime: None,
        }
    }

    async fn machine(&self, instance: &Instance) -> Option<Machine> {
        Some(self.with(instance, |machine| Machine {
            running: machine.is_running(),
            run: format!("{:?}", machine.inside().process()),
        }))
    }

    async fn machine_names(&self) -> Vec<String> {
        unreachable!("a host has no name of Pressluft's")
    }

    async fn host_key(&self, instance: &Instance) -> HostKey {
        self.with(instance, |machine| machine.host_key.clone())
    }

    async fn keys_file(&self, instance: &Instance) -> Option<KeysFile> {
        self.with(instance, |machine| {
            Some(KeysFile::read(USER, |script| machine.run(script)))
        })
    }

    async fn write_keys(&self, instance: &Instance, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap();
        self.with(instance, |machine| machine.set_authorized_keys(text));
    }

    async fn sudo(&self, acquired: &Acquired) -> Result<(), String> {
        let data = tempfile::tempdir().unwrap();
        let ssh = SshSessions::new(data.path(), Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)))).unwrap();
        let private_key = self.keys().key().await.unwrap().private_key_path;
        sudo_over_ssh(&ssh, private_key, acquired).await
    }

    async fn stop(&self, instance: &Instance) {
        self.with(instance, RealMachine::stop);
    }

    async fn make_foreign(&self, _instance: &Instance) {
        unreachable!("a host has no name of Pressluft's")
    }

    async fn remove_foreign(&self, _instance: &Instance) {
        unreachable!("a host has no name of Pressluft's")
    }

    /// What bears the node's id: its SSH files. The host itself lies elsewhere.
    async fn left_of(&self, instance: &Instance) -> Vec<String> {
        let id = instance.short_id();
        let found = files(&self.data.path().join("ssh")).into_iter();
        let found = found.map(|path| path.to_string_lossy().into_owned());
        found.filter(|path| path.contains(id.as_str())).collect()
    }

    async fn trouble(&self, trouble: Trouble, instance: &Instance) {
        match trouble {
            Trouble::AcquireFails => self.runner.fail(&[]),
            Trouble::Hangs => self.runner.hang(),
            Trouble::CannotTell => {
                self.disturb(instance, "systemctl stop ssh.service", "systemctl start ssh.service");
            }
            // The key still lets in, and its user can no longer change the folder that its line is in.
            Trouble::ReleaseFails => {
                let ssh = format!("~{USER}/.ssh");
                let lock = format!("chown root {ssh}; chmod 0755 {ssh}");
                self.disturb(instance, &lock, &format!("chown {USER} {ssh}; chmod 0700 {ssh}"));
            }
        }
    }

    async fn calm(&self) {
        self.runner.calm();
        if let Some((name, undo)) = self.undo.lock().unwrap().take() {
            self.hosts.lock().unwrap()[&name].run(&undo);
        }
    }

    fn commands(&self) -> Vec<CommandSpec> {
        self.runner.commands()
    }

    fn processes(&self) -> Vec<String> {
        self.runner.processes()
    }

    async fn close(&self) {
        // Given back as they are dropped.
        std::mem::take(&mut *self.hosts.lock().unwrap());
    }
}
