//! What a test of a rule works with, and how one is run.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain_kernel::{CancelToken, JobErrorCode};
use futures_util::FutureExt;
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{AcquireRequest, Acquired, AcquisitionSource, Instance, NodeProvider, Observation};
use test_support::{RealClock, RecordingProgress, step_context};

use crate::{KeysFile, Machine, World, contract};

/// How long a call may take that nothing is in the way of.
const LIMIT: Duration = Duration::from_secs(300);

/// A world, its provider, and the instances that a test asked for.
pub struct Bench<W> {
    /// The world.
    pub world: W,
    /// The provider under test.
    pub provider: Arc<dyn NodeProvider>,
    asked_for: Mutex<Vec<Instance>>,
}

/// A machine that was acquired.
pub(crate) struct Node {
    pub(crate) request: AcquireRequest,
    pub(crate) instance: Instance,
    pub(crate) acquired: Acquired,
}

/// Runs the test `name` in a world of its own. Every machine is given back at the end, also after a failure; after a success
/// it is seen that nothing of them is left.
pub fn run<W: World>(name: &str, world: impl Future<Output = W>, test: impl AsyncFnOnce(&Bench<W>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let world = world.await;
        let of_test = contract::rules_of(name);
        if let Some((rule, why)) = world.not_applicable().iter().find(|(rule, _)| of_test == [*rule]) {
            eprintln!("{rule} is left out: {why}");
            world.close().await;
            return;
        }
        let bench = Bench {
            provider: world.provider(),
            world,
            asked_for: Mutex::default(),
        };
        let outcome = AssertUnwindSafe(test(&bench)).catch_unwind().await;
        bench.world.calm().await;
        let given_back = AssertUnwindSafe(bench.give_back()).catch_unwind().await;
        bench.world.close().await;
        if let Err(broken) = outcome.and(given_back) {
            resume_unwind(broken);
        }
    });
}

impl<W: World> Bench<W> {
    /// The context of a call that may take `limit`, with its cancel token and what it tells.
    pub(crate) fn context(&self, limit: Duration) -> (StepContext, CancelToken, Arc<RecordingProgress>) {
        step_context("acquire", limit, Arc::new(RealClock))
    }

    /// The context of a call that nothing is in the way of.
    pub(crate) fn ctx(&self) -> StepContext {
        self.context(LIMIT).0
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.provider.source() == AcquisitionSource::Remote
    }

    /// A request, whose machine is given back at the end.
    pub(crate) async fn request(&self) -> AcquireRequest {
        let request = self.world.request().await;
        let mut asked_for = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        asked_for.push(request.instance.clone());
        request
    }

    /// A new machine.
    pub(crate) async fn node(&self) -> Node {
        let request = self.request().await;
        self.acquire(request).await
    }

    pub(crate) async fn acquire(&self, request: AcquireRequest) -> Node {
        self.acquire_by(&self.provider, request).await
    }

    /// The machine of a request. As the workflow does, it keeps the host key of the first contact for the calls after it.
    pub(crate) async fn acquire_by(&self, provider: &Arc<dyn NodeProvider>, request: AcquireRequest) -> Node {
        let acquired = provider.acquire(&request, &self.ctx()).await;
        let acquired = acquired.unwrap_or_else(|error| panic!("acquire: {error}"));
        let mut instance = request.instance.clone();
        if let Some(remote) = &mut instance.remote {
            remote.host_key = Some(acquired.host_key.clone());
        }
        Node {
            request,
            instance,
            acquired,
        }
    }

    /// Puts the request's key in: the provider does, or, on a host of the operator's, the operator.
    pub(crate) async fn put_key_in(&self, node: &Node) {
        if self.is_remote() {
            let bytes = self.world.keys_file(&node.instance).await.map(|file| file.bytes);
            let with_key = [bytes.unwrap_or_default(), line(&node.request.public_key)].concat();
            self.world.write_keys(&node.instance, &with_key).await;
        }
        self.inject(node).await;
    }

    pub(crate) async fn inject(&self, node: &Node) {
        let put_in = self
            .provider
            .inject_key(&node.instance, &node.request.public_key, &self.ctx())
            .await;
        put_in.unwrap_or_else(|error| panic!("inject_key: {error}"));
    }

    pub(crate) async fn keys(&self, instance: &Instance) -> KeysFile {
        let file = self.world.keys_file(instance).await;
        file.unwrap_or_else(|| panic!("{} has no authorized_keys", instance.name()))
    }

    /// The lines of the machine's `authorized_keys` but the request's key.
    pub(crate) async fn others_keys(&self, node: &Node) -> String {
        let file = self.world.keys_file(&node.instance).await;
        let bytes = file.map(|file| file.bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let others = text.lines().filter(|line| *line != node.request.public_key);
        others.map(|line| format!("{line}\n")).collect()
    }

    pub(crate) async fn observe(&self, instance: &Instance) -> Observation {
        let seen = self.provider.observe(instance, &self.ctx()).await;
        seen.unwrap_or_else(|error| panic!("observe: {error}"))
    }

    /// The instance's machine, which has to run.
    pub(crate) async fn running(&self, instance: &Instance) -> Machine {
        let machine = self.world.machine(instance).await;
        let machine = machine.unwrap_or_else(|| panic!("{} has no machine", instance.name()));
        assert!(machine.running, "{} does not run", instance.name());
        machine
    }

    /// Gives the machine back. What the report names.
    pub(crate) async fn release(&self, instance: &Instance) -> Vec<String> {
        let released = self.provider.release(instance, &self.ctx()).await;
        released
            .unwrap_or_else(|error| panic!("release: {error}"))
            .left_in_place
    }

    /// Sees that nothing of the instance is on this host.
    pub(crate) async fn assert_nothing_left(&self, instance: &Instance) {
        let left = self.world.left_of(instance).await;
        assert!(left.is_empty(), "NP-19: left of {}: {left:#?}", instance.name());
        if !self.is_remote() {
            let machine = self.world.machine(instance).await;
            assert_eq!(machine, None, "NP-19: {} is still there", instance.name());
        }
    }

    /// What can be seen of an instance that only the provider changes: a machine that runs changes its own processes and
    /// files, so all that is on this host of an instance counts only where none runs.
    pub(crate) async fn picture(&self, instance: &Instance) -> (Option<Machine>, Option<KeysFile>, Vec<String>) {
        let machine = self.world.machine(instance).await;
        if machine.as_ref().is_some_and(|machine| machine.running) {
            return (machine, self.world.keys_file(instance).await, Vec::new());
        }
        (machine, None, self.world.left_of(instance).await)
    }

    /// The failure that a call ended in, which has to be one that the contract allows (NP-26).
    pub(crate) fn failure<T: Debug>(&self, result: Result<T, StepError>) -> Failure {
        let Err(StepError::Failed(failure)) = result else {
            panic!("not a failure: {result:?}");
        };
        self.assert_allowed(&failure);
        failure
    }

    fn assert_allowed(&self, failure: &Failure) {
        use JobErrorCode as Code;
        let allowed = match self.provider.source() {
            AcquisitionSource::Local => [
                Code::LocalProviderNotResponding,
                Code::LocalAcquisitionFailed,
                Code::LocalAcquisitionTimeout,
                Code::LocalAddressMissing,
                Code::SshKeyInjectionFailed,
                Code::NodeReleaseFailed,
                Code::LocalProviderUnavailable,
                Code::LocalProviderDenied,
                Code::LocalImageUnavailable,
                Code::LocalConfigInvalid,
                Code::LocalInstanceConflict,
                Code::LocalInstanceUnusable,
                Code::HostDiskFull,
            ]
            .as_slice(),
            AcquisitionSource::Remote => &[
                Code::RemoteHostUnreachable,
                Code::NodeNotReady,
                Code::RemoteAddressRefused,
                Code::SshHostKeyMismatch,
                Code::SshAuthRejected,
                Code::SshKeyInjectionFailed,
                Code::NodeReleaseFailed,
                Code::LocalProviderUnavailable,
                Code::LocalProviderDenied,
                Code::LocalProviderNotResponding,
                Code::LocalConfigInvalid,
                Code::HostDiskFull,
            ],
        };
        assert!(
            allowed.contains(&failure.code),
            "NP-26: no code of a provider: {failure}"
        );
        let detail = failure.detail.trim();
        assert!(!detail.is_empty(), "NP-26: {} says nothing", failure.code);
        assert!(!detail.contains('\n'), "NP-26: more than a sentence: {detail}");
    }

    /// Releases everything that was asked for.
    async fn give_back(&self) {
        let asked_for = std::mem::take(&mut *self.asked_for.lock().unwrap_or_else(PoisonError::into_inner));
        let mut errors = Vec::new();
        for instance in &asked_for {
            if let Err(error) = self.provider.release(instance, &self.ctx()).await {
                errors.push(format!("{}: {error}", instance.name()));
            }
        }
        assert!(errors.is_empty(), "not released at the end: {errors:?}");
        for instance in &asked_for {
            self.assert_nothing_left(instance).await;
        }
    }
}

/// A key as a line of a file.
pub(crate) fn line(key: &str) -> Vec<u8> {
    format!("{key}\n").into_bytes()
}
