//! The steps of the workflows themselves.

use std::sync::Arc;

use jobs::Workflow;
use nodes_domain::ProviderId;
use operations::{NodeDecommission, NodeProvision, ProviderRegistry};
use test_support::{FakeKeys, FakeProbe, FakeProvider, FakeProvisioner, FakeSsh, ManualClock, MemoryJobs, MemoryNodes};

pub(crate) fn node_provision() -> Vec<&'static str> {
    let (store, registry, provider) = parts();
    let machines = provider.machines();
    names(&NodeProvision {
        store,
        registry,
        keys: Arc::new(FakeKeys::default()),
        ssh: Arc::new(FakeSsh::new(machines.clone())),
        provisioner: Arc::new(FakeProvisioner::new(machines.clone())),
        probe: Arc::new(FakeProbe::new(machines)),
    })
}

pub(crate) fn node_decommission() -> Vec<&'static str> {
    let (store, registry, provider) = parts();
    names(&NodeDecommission {
        store,
        registry,
        ssh: Arc::new(FakeSsh::new(provider.machines())),
    })
}

fn parts() -> (Arc<MemoryNodes>, ProviderRegistry, Arc<FakeProvider>) {
    let clock = Arc::new(ManualClock::new());
    let jobs = Arc::new(MemoryJobs::new(clock.clone()));
    let provider = Arc::new(FakeProvider::new("fake"));
    let registry = ProviderRegistry::new(ProviderId::new("fake")).with(provider.clone());
    (Arc::new(MemoryNodes::new(clock, jobs)), registry, provider)
}

fn names(workflow: &dyn Workflow) -> Vec<&'static str> {
    workflow.steps().iter().map(|step| step.name()).collect()
}
