//! The provider in memory, which the tests of use cases rely on, keeps the rules of a real one.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, NodeId};
use jobs::Failure;
use nodes_domain::{AcquireRequest, Acquired, Capability, HostKey, Instance, NodeProvider, Unavailable};
use provider_conformance::{KeysFile, Machine, Trouble, World};
use test_support::{FakeKeys, FakeProvider, Fault, ProviderMethod};

provider_conformance::conformance_tests!(InMemory(Arc::new(FakeProvider::new("fake"))));

struct InMemory(Arc<FakeProvider>);

impl InMemory {
    fn change(&self, instance: &Instance, change: impl FnOnce(&mut test_support::FakeMachine)) {
        self.0.machines().change(instance.node_id, change);
    }
}

#[async_trait]
impl World for InMemory {
    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("NP-22", "machines in memory share nothing"),
            ("NP-25", "it starts no processes"),
            ("NP-27", "it starts no processes"),
        ]
    }

    fn provider(&self) -> Arc<dyn NodeProvider> {
        self.0.clone()
    }

    async fn reopened(&self) -> Arc<dyn NodeProvider> {
        Arc::new(self.0.reopened())
    }

    async fn incapable(&self) -> Arc<dyn NodeProvider> {
        let provider = self.0.reopened();
        provider.set_capability(Capability::Unavailable(Unavailable {
            code: JobErrorCode::LocalProviderUnavailable,
            reason: "there is no memory left.".to_owned(),
            remedy: "Buy some.".to_owned(),
        }));
        Arc::new(provider)
    }

    async fn request(&self) -> AcquireRequest {
        AcquireRequest {
            instance: Instance::of(NodeId::generate()),
            public_key: FakeKeys::PUBLIC_KEY.to_owned(),
            runtime: None,
        }
    }

    async fn machine(&self, instance: &Instance) -> Option<Machine> {
        let machine = self.0.machines().of(instance.node_id)?;
        Some(Machine {
            running: machine.running,
            run: String::new(),
        })
    }

    async fn machine_names(&self) -> Vec<String> {
        self.0.machines().all().into_keys().collect()
    }

    async fn host_key(&self, instance: &Instance) -> HostKey {
        self.0.machines().of(instance.node_id).unwrap().host_key
    }

    async fn keys_file(&self, instance: &Instance) -> Option<KeysFile> {
        let lines = self.0.machines().of(instance.node_id)?.authorized_keys;
        Some(KeysFile {
            bytes: lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect(),
            owner: "pressluft".to_owned(),
            mode: 0o600,
            folder_owner: "pressluft".to_owned(),
            folder_mode: 0o700,
        })
    }

    async fn write_keys(&self, instance: &Instance, bytes: &[u8]) {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines = text.lines().map(str::to_owned).collect();
        self.change(instance, |machine| machine.authorized_keys = lines);
    }

    async fn sudo(&self, acquired: &Acquired) -> Result<(), String> {
        let address: IpAddr = acquired.hostname.parse().unwrap();
        let mut machines = self.0.machines().all().into_values();
        let machine = machines
            .find(|machine| machine.address == address)
            .ok_or("no such address")?;
        if !machine.running {
            return Err("it does not run".to_owned());
        }
        let has_key = machine.authorized_keys.iter().any(|line| line == FakeKeys::PUBLIC_KEY);
        if has_key && machine.sudo {
            Ok(())
        } else {
            Err("refused".to_owned())
        }
    }

    async fn stop(&self, instance: &Instance) {
        self.change(instance, |machine| machine.running = false);
    }

    async fn make_foreign(&self, instance: &Instance) {
        self.0.machines().insert(instance, IpAddr::from([192, 0, 2, 99]));
        self.change(instance, |machine| machine.node_id = NodeId::generate());
    }

    async fn remove_foreign(&self, instance: &Instance) {
        self.0.machines().remove(instance.node_id);
    }

    async fn left_of(&self, instance: &Instance) -> Vec<String> {
        let name = instance.name();
        self.machine_names()
            .await
            .into_iter()
            .filter(|known| *known == name)
            .collect()
    }

    async fn trouble(&self, trouble: Trouble, instance: &Instance) {
        let failure = |code| Failure::new(code, format!("a test was in the way of {}", instance.name()));
        let faults = match trouble {
            Trouble::AcquireFails => vec![(
                ProviderMethod::Acquire,
                Fault::ActsThenFails(failure(JobErrorCode::LocalAcquisitionFailed)),
            )],
            Trouble::ReleaseFails => vec![(
                ProviderMethod::Release,
                Fault::Refuses(failure(JobErrorCode::NodeReleaseFailed)),
            )],
            Trouble::Hangs => vec![
                (ProviderMethod::Acquire, Fault::WaitsUntilStopped),
                (ProviderMethod::Release, Fault::WaitsUntilStopped),
            ],
            Trouble::CannotTell => vec![(ProviderMethod::Observe, Fault::CannotTell("a test said so".to_owned()))],
        };
        for (method, fault) in faults {
            self.0.fail_always(method, fault);
        }
    }

    async fn calm(&self) {
        self.0.heal();
    }

    fn processes(&self) -> Vec<String> {
        Vec::new()
    }
}
