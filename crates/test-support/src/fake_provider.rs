//! A provider of nodes that keeps its machines in memory, and the machines that the other fakes look at too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, HostKey, Instance, KeptImage, NodeProvider, Observation,
    ProviderId, ReleaseReport, RemoteMachine, RuntimeImage,
};

/// A machine in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeMachine {
    /// The node that it was made for.
    pub node_id: NodeId,
    /// Whether it runs.
    pub running: bool,
    /// Its address.
    pub address: IpAddr,
    /// The host key that it shows.
    pub host_key: HostKey,
    /// The lines of its authorized_keys.
    pub authorized_keys: Vec<String>,
    /// Whether `sudo -n true` works.
    pub sudo: bool,
    /// Whether what sites need is there.
    pub provisioned: bool,
}

/// The machines of a host by their names. Clones share them.
#[derive(Clone, Default)]
pub struct FakeMachines(Arc<Mutex<BTreeMap<String, FakeMachine>>>);

impl FakeMachines {
    /// All of them.
    pub fn all(&self) -> BTreeMap<String, FakeMachine> {
        self.map().clone()
    }

    /// A node's machine.
    pub fn of(&self, node_id: NodeId) -> Option<FakeMachine> {
        self.map().get(&Instance::of(node_id).name()).cloned()
    }

    /// Changes a node's machine, if there is one.
    pub fn change(&self, node_id: NodeId, change: impl FnOnce(&mut FakeMachine)) {
        if let Some(machine) = self.map().get_mut(&Instance::of(node_id).name()) {
            change(machine);
        }
    }

    /// Puts a machine that runs at an address, with nothing on it, in place of the instance's.
    pub fn insert(&self, instance: &Instance, address: IpAddr) {
        let name = instance.name();
        let machine = FakeMachine {
            node_id: instance.node_id,
            running: true,
            address,
            host_key: fake_host_key(&name),
            authorized_keys: Vec::new(),
            sudo: true,
            provisioned: false,
        };
        self.map().insert(name, machine);
    }

    /// Removes a node's machine.
    pub fn remove(&self, node_id: NodeId) {
        self.map().remove(&Instance::of(node_id).name());
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<String, FakeMachine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The methods of [`NodeProvider`] that are recorded and can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderMethod {
    /// `capability`
    Capability,
    /// `acquire`
    Acquire,
    /// `inject_key`
    InjectKey,
    /// `keep_image`
    KeepImage,
    /// `observe`
    Observe,
    /// `release`
    Release,
}

/// How a call goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It fails before it did anything.
    Refuses(Failure),
    /// It does what it should, and then fails.
    ActsThenFails(Failure),
    /// It parks for this long, with this as its detail.
    Parks(Duration, String),
    /// An `observe` answers `Unknown` with this reason; other methods go on.
    CannotTell(String),
    /// It does nothing until it is told to stop, or its deadline has passed.
    WaitsUntilStopped,
    /// It does nothing until its deadline has passed.
    TakesTooLong,
}

/// Which calls of a method go wrong.
#[derive(Debug, Clone, Copy)]
enum Which {
    Nth(usize),
    All,
}

/// A local provider in memory: it keeps every rule of a provider, records its calls, and fails where a test says so.
/// It gives way before and after it acts, so that a test can drop or stop a run there.
pub struct FakeProvider {
    id: ProviderId,
    source: AcquisitionSource,
    machines: FakeMachines,
    capability: Mutex<Capability>,
    faults: Mutex<Vec<(ProviderMethod, Which, Fault)>>,
    calls: Mutex<Vec<(ProviderMethod, Option<NodeId>)>>,
    left_in_place: Mutex<Vec<String>>,
    images: Arc<Mutex<BTreeSet<String>>>,
}

impl FakeProvider {
    /// A provider that works on this host and has no machines yet.
    pub fn new(id: &str) -> Self {
        Self {
            id: ProviderId::new(id),
            source: AcquisitionSource::Local,
            machines: FakeMachines::default(),
            capability: Mutex::new(Capability::Available),
            faults: Mutex::default(),
            calls: Mutex::default(),
            left_in_place: Mutex::default(),
            images: Arc::default(),
        }
    }

    /// Another provider with the same machines and images, as the next process has it.
    pub fn reopened(&self) -> Self {
        Self {
            source: self.source,
            machines: self.machines(),
            images: Arc::clone(&self.images),
            ..Self::new(self.id.as_str())
        }
    }

    /// A provider of the operator's hosts: a host is there as soon as it is asked for.
    pub fn remote(id: &str) -> Self {
        Self {
            source: AcquisitionSource::Remote,
            ..Self::new(id)
        }
    }

    /// The same provider with the machines of another, as one host's SSH sees them all.
    #[must_use]
    pub fn sharing(self, machines: FakeMachines) -> Self {
        Self { machines, ..self }
    }

    /// Its machines.
    pub fn machines(&self) -> FakeMachines {
        self.machines.clone()
    }

    /// Sets what it can do on this host.
    pub fn set_capability(&self, capability: Capability) {
        *lock(&self.capability) = capability;
    }

    /// Sets what a release leaves on purpose.
    pub fn leave_in_place(&self, what: &str) {
        lock(&self.left_in_place).push(what.to_owned());
    }

    /// The keys of the images that it keeps.
    pub fn images(&self) -> BTreeSet<String> {
        lock(&self.images).clone()
    }

    /// Makes the call number `nth` (from 1) of a method go wrong.
    pub fn fail(&self, method: ProviderMethod, nth: usize, fault: Fault) {
        lock(&self.faults).push((method, Which::Nth(nth), fault));
    }

    /// Makes every call of a method go wrong.
    pub fn fail_always(&self, method: ProviderMethod, fault: Fault) {
        lock(&self.faults).push((method, Which::All, fault));
    }

    /// From now on nothing goes wrong.
    pub fn heal(&self) {
        lock(&self.faults).clear();
    }

    /// The calls so far, with the node that each was about.
    pub fn calls(&self) -> Vec<(ProviderMethod, Option<NodeId>)> {
        lock(&self.calls).clone()
    }

    /// How often a method was called.
    pub fn count(&self, method: ProviderMethod) -> usize {
        lock(&self.calls).iter().filter(|(called, _)| *called == method).count()
    }

    /// Records a call and does it: fault, act, fault, with places to be stopped between.
    async fn call<T>(
        &self,
        method: ProviderMethod,
        node_id: Option<NodeId>,
        context: &StepContext,
        act: impl FnOnce() -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        lock(&self.calls).push((method, node_id));
        let fault = self.fault(method);
        pause(context).await?;
        before_acting(fault.as_ref(), context).await?;
        let answer = act()?;
        pause(context).await?;
        after_acting(fault)?;
        Ok(answer)
    }

    fn fault(&self, method: ProviderMethod) -> Option<Fault> {
        let count = self.count(method);
        let faults = lock(&self.faults);
        let found = faults.iter().find(|(of, which, _)| {
            *of == method
                && match which {
                    Which::Nth(nth) => *nth == count,
                    Which::All => true,
                }
        });
        found.map(|(_, _, fault)| fault.clone())
    }

    /// Makes or adopts a machine, and starts it.
    fn machine(&self, instance: &Instance) -> Result<FakeMachine, StepError> {
        if let Capability::Unavailable(missing) = &*lock(&self.capability) {
            return Err(StepError::failed(missing.code, missing.reason.clone()));
        }
        let node_id = instance.node_id;
        let mut map = self.machines.map();
        let mut addresses = (2..=254).map(|number| IpAddr::from(Ipv4Addr::new(192, 0, 2, number)));
        let free = addresses.find(|address| map.values().all(|machine| machine.address != *address));
        let machine = map.entry(instance.name()).or_insert_with_key(|name| FakeMachine {
            node_id,
            running: false,
            address: free.unwrap_or(Ipv4Addr::new(192, 0, 2, 1).into()),
            host_key: fake_host_key(name),
            authorized_keys: Vec::new(),
            sudo: true,
            provisioned: false,
        });
        if machine.node_id != node_id {
            let owner = format!("{} is the machine of the node {}", instance.name(), machine.node_id);
            return Err(StepError::failed(JobErrorCode::LocalInstanceConflict, owner));
        }
        machine.running = true;
        Ok(machine.clone())
    }
}

/// Goes wrong instead of acting, where the fault says so.
pub(crate) async fn before_acting(fault: Option<&Fault>, context: &StepContext) -> Result<(), StepError> {
    match fault {
        Some(Fault::Refuses(failure)) => Err(failure.clone().into()),
        Some(Fault::WaitsUntilStopped) => match context.sleep(context.time_left()).await {
            Ok(()) => Err(StepError::DeadlineExceeded),
            stopped => stopped,
        },
        Some(Fault::TakesTooLong) => Err(StepError::DeadlineExceeded),
        Some(Fault::Parks(pause, detail)) => Err(StepError::Parked {
            run_after: context.now().plus(*pause),
            detail: detail.clone(),
        }),
        Some(Fault::ActsThenFails(_) | Fault::CannotTell(_)) | None => Ok(()),
    }
}

/// Goes wrong after acting, where the fault says so.
pub(crate) fn after_acting(fault: Option<Fault>) -> Result<(), StepError> {
    match fault {
        Some(Fault::ActsThenFails(failure)) => Err(failure.into()),
        Some(
            Fault::Refuses(_)
            | Fault::Parks(..)
            | Fault::CannotTell(_)
            | Fault::WaitsUntilStopped
            | Fault::TakesTooLong,
        )
        | None => Ok(()),
    }
}

/// The host key of a fake machine; other names have other keys.
///
/// # Panics
/// Never: the text has a host key's form.
#[allow(clippy::expect_used, reason = "for tests")]
pub fn fake_host_key(name: &str) -> HostKey {
    let mut data: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Base64 comes in groups of four.
    while data.len() < 40 || !data.len().is_multiple_of(4) {
        data.push('A');
    }
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{data}")
        .parse()
        .expect("the form of a host key")
}

/// Gives way, as any real call does, and then looks whether the work should stop.
pub(crate) async fn pause(context: &StepContext) -> Result<(), StepError> {
    tokio::task::yield_now().await;
    context.check()
}

pub(crate) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl NodeProvider for FakeProvider {
    fn id(&self) -> ProviderId {
        self.id.clone()
    }

    fn source(&self) -> AcquisitionSource {
        self.source
    }

    async fn capability(&self, context: &StepContext) -> Result<Capability, StepError> {
        let known = lock(&self.capability).clone();
        self.call(ProviderMethod::Capability, None, context, || Ok(known)).await
    }

    async fn acquire(&self, request: &AcquireRequest, context: &StepContext) -> Result<Acquired, StepError> {
        let instance = &request.instance;
        self.call(ProviderMethod::Acquire, Some(instance.node_id), context, || {
            let machine = self.machine(instance)?;
            Ok(match &instance.remote {
                None => Acquired {
                    hostname: machine.address.to_string(),
                    public_ip: Some(machine.address),
                    ssh_port: 22,
                    ssh_user: "pressluft".to_owned(),
                    host_key: machine.host_key,
                },
                Some(RemoteMachine { host, .. }) => Acquired {
                    hostname: host.hostname.to_string(),
                    public_ip: host.public_ip.or(Some(machine.address)),
                    ssh_port: host.ssh_port,
                    ssh_user: host.ssh_user.to_string(),
                    host_key: machine.host_key,
                },
            })
        })
        .await
    }

    async fn inject_key(&self, instance: &Instance, public_key: &str, context: &StepContext) -> Result<(), StepError> {
        self.call(ProviderMethod::InjectKey, Some(instance.node_id), context, || {
            let mut map = self.machines.map();
            let machine = map
                .get_mut(&instance.name())
                .ok_or_else(|| StepError::failed(JobErrorCode::SshKeyInjectionFailed, "There is no machine"))?;
            if !machine.authorized_keys.iter().any(|line| line == public_key) {
                machine.authorized_keys.push(public_key.to_owned());
            }
            Ok(())
        })
        .await
    }

    async fn keep_image(
        &self,
        instance: &Instance,
        runtime: &RuntimeImage,
        context: &StepContext,
    ) -> Result<KeptImage, StepError> {
        self.call(ProviderMethod::KeepImage, Some(instance.node_id), context, || {
            let new = lock(&self.images).insert(runtime.key.clone());
            Ok(if new { KeptImage::Made } else { KeptImage::Existing })
        })
        .await
    }

    async fn observe(&self, instance: &Instance, context: &StepContext) -> Result<Observation, StepError> {
        let node_id = Some(instance.node_id);
        self.call(ProviderMethod::Observe, node_id, context, || {
            // Counted already: this call is the last one.
            if let Some(Fault::CannotTell(why)) = self.fault(ProviderMethod::Observe) {
                return Ok(Observation::Unknown(why));
            }
            Ok(match self.machines.of(instance.node_id) {
                None => Observation::Absent,
                Some(machine) if machine.running => Observation::Running(vec![machine.address]),
                Some(_) => Observation::Stopped,
            })
        })
        .await
    }

    async fn release(&self, instance: &Instance, context: &StepContext) -> Result<ReleaseReport, StepError> {
        self.call(ProviderMethod::Release, Some(instance.node_id), context, || {
            self.machines.map().remove(&instance.name());
            Ok(ReleaseReport {
                left_in_place: lock(&self.left_in_place).clone(),
            })
        })
        .await
    }
}
