//! Everything that operations works with, in memory.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock, JobErrorCode, JobId, NodeId};
use futures_util::poll;
use jobs::{ClaimedJob, Job, JobRunner, JobStore, Outcome, RetryPolicy, RunEnd, StepRecord, WorkerId, Workflow};
use nodes_domain::{Node, NodeProvider, NodeStatus, ProviderId};
use operations::{
    CreateLocalNode, JobsService, NodeDecommission, NodeDeps, NodeProvision, NodesService, ProviderRegistry, Reconciler,
};
use test_support::{
    FakeHostKeys, FakeKeys, FakeMachines, FakeOwnHost, FakeProbe, FakeProvider, FakeProvisioner, FakeSsh, ManualClock,
    MemoryJobs, MemoryNodes, RecordingSignal,
};

use crate::site_bench::SiteBench;

pub(crate) const HOST: &str = "host-a";
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// A control plane in memory whose local provider is `fake`.
pub(crate) struct Bench {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) jobs: Arc<MemoryJobs>,
    pub(crate) nodes: Arc<MemoryNodes>,
    pub(crate) provider: Arc<FakeProvider>,
    pub(crate) machines: FakeMachines,
    pub(crate) keys: Arc<FakeKeys>,
    pub(crate) ssh: Arc<FakeSsh>,
    pub(crate) probe: Arc<FakeProbe>,
    pub(crate) host_keys: Arc<FakeHostKeys>,
    pub(crate) provisioner: Arc<FakeProvisioner>,
    pub(crate) signal: Arc<RecordingSignal>,
    pub(crate) service: Arc<NodesService>,
    pub(crate) jobs_service: JobsService,
    pub(crate) sites: SiteBench,
    pub(crate) runner: JobRunner,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let provider = Arc::new(FakeProvider::new("fake"));
        let registry = ProviderRegistry::new(ProviderId::new("fake")).with(provider.clone());
        Self::with(provider, registry, |workflow| workflow)
    }

    /// A control plane whose server has other providers too.
    pub(crate) fn with_others(others: Vec<Arc<dyn NodeProvider>>) -> Self {
        let provider = Arc::new(FakeProvider::new("fake"));
        let registry = ProviderRegistry::new(ProviderId::new("fake")).with(provider.clone());
        let registry = others.into_iter().fold(registry, ProviderRegistry::with);
        Self::with(provider, registry, |workflow| workflow)
    }

    /// A control plane with a provider of remote nodes, and that provider.
    pub(crate) fn with_remote() -> (Self, Arc<FakeProvider>) {
        let provider = Arc::new(FakeProvider::new("fake"));
        let remote = Arc::new(FakeProvider::remote("ssh").sharing(provider.machines()));
        let registry = ProviderRegistry::new(ProviderId::new("fake"))
            .with(provider.clone())
            .with(remote.clone());
        (Self::with(provider, registry, |workflow| workflow), remote)
    }

    /// A control plane whose workflows are changed by `wrap`.
    pub(crate) fn wrapping(wrap: impl Fn(Arc<dyn Workflow>) -> Arc<dyn Workflow>) -> Self {
        let provider = Arc::new(FakeProvider::new("fake"));
        let registry = ProviderRegistry::new(ProviderId::new("fake")).with(provider.clone());
        Self::with(provider, registry, wrap)
    }

    pub(crate) fn with(
        provider: Arc<FakeProvider>,
        registry: ProviderRegistry,
        wrap: impl Fn(Arc<dyn Workflow>) -> Arc<dyn Workflow>,
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let jobs = Arc::new(MemoryJobs::new(clock.clone()));
        let nodes = Arc::new(MemoryNodes::new(clock.clone(), jobs.clone()));
        let machines = provider.machines();
        let keys = Arc::new(FakeKeys::default());
        let ssh = Arc::new(FakeSsh::new(machines.clone()));
        let probe = Arc::new(FakeProbe::new(machines.clone()));
        let provisioner = Arc::new(FakeProvisioner::new(machines.clone()));
        let host_keys = Arc::new(FakeHostKeys::default());
        let signal = Arc::new(RecordingSignal::default());
        let retry = RetryPolicy::default();
        let service = Arc::new(NodesService::new(NodeDeps {
            store: nodes.clone(),
            registry: registry.clone(),
            keys: keys.clone(),
            probe: probe.clone(),
            host_keys: host_keys.clone(),
            own_host: Arc::new(FakeOwnHost),
            clock: clock.clone(),
            signal: signal.clone(),
            host_id: HOST.to_owned(),
            max_attempts: retry.max_attempts(),
        }));
        let sites = SiteBench::new(
            clock.clone(),
            jobs.clone(),
            nodes.clone(),
            service.clone(),
            ssh.clone(),
            probe.clone(),
            signal.clone(),
        );
        let jobs_service = JobsService::new(
            jobs.clone(),
            jobs.clone(),
            nodes.clone(),
            service.clone(),
            sites.service.clone(),
            signal.clone(),
        );
        let provision: Arc<dyn Workflow> = Arc::new(NodeProvision {
            store: nodes.clone(),
            registry: registry.clone(),
            keys: keys.clone(),
            ssh: ssh.clone(),
            provisioner: provisioner.clone(),
            probe: probe.clone(),
        });
        let decommission: Arc<dyn Workflow> = Arc::new(NodeDecommission {
            store: nodes.clone(),
            registry,
            ssh: ssh.clone(),
        });
        let workflows = [provision, decommission].into_iter().chain(sites.workflows());
        let workflows = workflows.map(wrap).collect();
        let runner = JobRunner::new(jobs.clone(), clock.clone(), retry, 5, workflows);
        Self {
            clock,
            jobs,
            nodes,
            provider,
            machines,
            keys,
            ssh,
            probe,
            host_keys,
            provisioner,
            signal,
            service,
            jobs_service,
            sites,
            runner,
        }
    }

    pub(crate) fn reconciler(&self) -> Reconciler {
        Reconciler::new(
            self.nodes.clone(),
            self.probe.clone(),
            self.clock.clone(),
            HOST.to_owned(),
            INTERVAL,
        )
    }

    /// Asks for a node; its job waits.
    pub(crate) async fn asked(&self) -> (NodeId, JobId) {
        let created = self
            .service
            .create_local(CreateLocalNode { name: None }, None, None)
            .await
            .unwrap();
        (created.node_id, created.job_id)
    }

    /// A node that was provisioned and proved ready.
    pub(crate) async fn active_node(&self) -> NodeId {
        let (node_id, _) = self.asked().await;
        assert_eq!(self.run().await, RunEnd::Settled(Outcome::Succeeded));
        assert_eq!(self.node(node_id).status, NodeStatus::Active);
        node_id
    }

    pub(crate) async fn claim(&self) -> ClaimedJob {
        let claimed = self.jobs.claim(&WorkerId::new("test"), LEASE).await.unwrap();
        claimed.expect("a job is due")
    }

    /// Claims the due job and runs it to the end of this run; the clock moves on whenever the run sleeps.
    pub(crate) async fn run(&self) -> RunEnd {
        let claimed = self.claim().await;
        self.to_the_end(pin!(self.runner.run(claimed, CancelToken::new())))
            .await
            .unwrap()
    }

    /// Runs the job until it has ended for good, going past the waits between its attempts.
    pub(crate) async fn run_all(&self, id: JobId) -> Job {
        while !self.job(id).status.is_terminal() {
            let wait = self.job(id).run_after.since(self.clock.now());
            self.clock.advance(wait);
            self.run().await;
        }
        self.job(id)
    }

    /// Polls a future to its end, moving the clock on whenever it sleeps.
    pub(crate) async fn to_the_end<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        loop {
            let slept = self.clock.sleeps().len();
            if let Poll::Ready(output) = poll!(&mut future) {
                return output;
            }
            for sleep in self.clock.sleeps().split_off(slept) {
                self.clock.advance(sleep);
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> Node {
        self.nodes.get(id)
    }

    pub(crate) fn job(&self, id: JobId) -> Job {
        self.jobs.view(id).job
    }

    pub(crate) fn steps(&self, id: JobId) -> Vec<StepRecord> {
        self.jobs.view(id).steps
    }

    pub(crate) fn step(&self, id: JobId, name: &str) -> StepRecord {
        let found = self.steps(id).into_iter().find(|step| step.name == name);
        found.expect("the step was started")
    }

    pub(crate) fn error_code(&self, id: JobId) -> Option<JobErrorCode> {
        self.job(id).error.map(|failure| failure.code)
    }
}
