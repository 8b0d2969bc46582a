//! SSH, readiness and Pressluft's key over the machines of a [`FakeProvider`](crate::FakeProvider): what a login meets
//! follows from the machine, unless a test says otherwise.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{
    CheckEvidence, Instance, ManagedKey, ManagedKeys, NodeTarget, ProbeFacts, ProbeResult, ReadinessProbe,
    RemoteCommand, RemoteOutput, RuntimeCheck, SshAccess, SshError,
};

use crate::FakeMachines;
use crate::fake_provider::{lock, pause};

/// Pressluft's key without a file behind it.
#[derive(Default)]
pub struct FakeKeys {
    failure: Mutex<Option<Failure>>,
}

impl FakeKeys {
    /// The public half.
    pub const PUBLIC_KEY: &'static str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFak pressluft";

    /// From now on the key cannot be had.
    pub fn fail(&self, failure: Failure) {
        *lock(&self.failure) = Some(failure);
    }
}

#[async_trait]
impl ManagedKeys for FakeKeys {
    async fn key(&self) -> Result<ManagedKey, Failure> {
        tokio::task::yield_now().await;
        match lock(&self.failure).clone() {
            Some(failure) => Err(failure),
            None => Ok(ManagedKey {
                public_key: Self::PUBLIC_KEY.to_owned(),
                fingerprint: "SHA256:fake".to_owned(),
                private_key_path: PathBuf::from("keys/id_ed25519"),
            }),
        }
    }
}

/// What logins meet instead of the machine.
#[derive(Default)]
struct Script {
    next: Vec<SshError>,
    always: Option<SshError>,
}

impl Script {
    fn next(&mut self) -> Option<SshError> {
        if self.next.is_empty() {
            self.always.clone()
        } else {
            Some(self.next.remove(0))
        }
    }
}

/// What a login with Pressluft's key meets on a node's machine.
fn login(machines: &FakeMachines, node_id: NodeId, target: &NodeTarget) -> Result<(), SshError> {
    let Some(machine) = machines.of(node_id) else {
        return Err(SshError::Unreachable("no route to host".to_owned()));
    };
    if !machine.running {
        return Err(SshError::Refused);
    }
    if machine.host_key != target.host_key {
        return Err(SshError::HostKeyMismatch);
    }
    if !machine.authorized_keys.iter().any(|line| line == FakeKeys::PUBLIC_KEY) {
        return Err(SshError::AuthRejected);
    }
    Ok(())
}

fn stopped(error: StepError) -> SshError {
    match error {
        StepError::Stopped(reason) => SshError::Stopped(reason),
        other => SshError::Other(other.to_string()),
    }
}

/// What a command meets on a machine; `None` where it is not for this answerer.
type Answer = Arc<dyn Fn(NodeId, &RemoteCommand) -> Option<RemoteOutput> + Send + Sync>;

/// Commands over SSH: every one ends with status 0 and prints nothing where the login succeeds, unless something answers
/// it.
pub struct FakeSsh {
    machines: FakeMachines,
    script: Mutex<Script>,
    commands: Mutex<Vec<(NodeId, String)>>,
    answers: Mutex<Vec<Answer>>,
    configured: Mutex<BTreeSet<NodeId>>,
    forget_failure: Mutex<Option<Failure>>,
}

impl FakeSsh {
    /// SSH to these machines.
    pub fn new(machines: FakeMachines) -> Self {
        Self {
            machines,
            script: Mutex::default(),
            commands: Mutex::default(),
            answers: Mutex::default(),
            configured: Mutex::default(),
            forget_failure: Mutex::default(),
        }
    }

    /// The next login meets this, after those that were said before.
    pub fn next(&self, error: SshError) {
        lock(&self.script).next.push(error);
    }

    /// Every login meets this; `None` ends it.
    pub fn always(&self, error: Option<SshError>) {
        lock(&self.script).always = error;
    }

    /// From now on commands are answered by this first, where it has an answer.
    pub fn answer(&self, answer: impl Fn(NodeId, &RemoteCommand) -> Option<RemoteOutput> + Send + Sync + 'static) {
        lock(&self.answers).insert(0, Arc::new(answer));
    }

    /// From now on a node's files cannot be removed; `None` ends it.
    pub fn fail_forget(&self, failure: Option<Failure>) {
        *lock(&self.forget_failure) = failure;
    }

    /// The scripts that were run or tried, with their nodes.
    pub fn commands(&self) -> Vec<(NodeId, String)> {
        lock(&self.commands).clone()
    }

    /// The nodes that were connected to and not forgotten since.
    pub fn known(&self) -> BTreeSet<NodeId> {
        lock(&self.configured).clone()
    }
}

#[async_trait]
impl SshAccess for FakeSsh {
    async fn run(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        context: &StepContext,
    ) -> Result<RemoteOutput, SshError> {
        self.config(node_id, target)
            .await
            .map_err(|failure| SshError::Other(failure.to_string()))?;
        lock(&self.commands).push((node_id, command.script.clone()));
        pause(context).await.map_err(stopped)?;
        if let Some(error) = lock(&self.script).next() {
            return Err(error);
        }
        login(&self.machines, node_id, target)?;
        let answers = lock(&self.answers).clone();
        if let Some(output) = answers.iter().find_map(|answer| answer(node_id, command)) {
            pause(context).await.map_err(stopped)?;
            return Ok(output);
        }
        Ok(RemoteOutput {
            exit_status: Some(0),
            stdout: String::new(),
            stderr: String::new(),
        })
    }

    async fn config(&self, node_id: NodeId, _target: &NodeTarget) -> Result<PathBuf, Failure> {
        lock(&self.configured).insert(node_id);
        Ok(PathBuf::from("ssh").join(Instance::of(node_id).name()))
    }

    async fn forget(&self, node_id: NodeId) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        if let Some(failure) = lock(&self.forget_failure).clone() {
            return Err(failure);
        }
        lock(&self.configured).remove(&node_id);
        tokio::task::yield_now().await;
        Ok(())
    }
}

type Act = Arc<dyn Fn(NodeId) + Send + Sync>;

/// A readiness probe: what it sees follows from the machine, unless a test says otherwise.
pub struct FakeProbe {
    machines: FakeMachines,
    script: Mutex<Script>,
    probed: Mutex<Vec<NodeId>>,
    during: Mutex<Option<Act>>,
}

impl FakeProbe {
    /// A probe of these machines.
    pub fn new(machines: FakeMachines) -> Self {
        Self {
            machines,
            script: Mutex::default(),
            probed: Mutex::default(),
            during: Mutex::default(),
        }
    }

    /// The next login meets this, after those that were said before.
    pub fn next(&self, error: SshError) {
        lock(&self.script).next.push(error);
    }

    /// Every login meets this; `None` ends it.
    pub fn always(&self, error: Option<SshError>) {
        lock(&self.script).always = error;
    }

    /// Does something while a probe is under way.
    pub fn during(&self, act: impl Fn(NodeId) + Send + Sync + 'static) {
        *lock(&self.during) = Some(Arc::new(act));
    }

    /// The nodes that were probed, in order.
    pub fn probed(&self) -> Vec<NodeId> {
        lock(&self.probed).clone()
    }
}

#[async_trait]
impl ReadinessProbe for FakeProbe {
    async fn probe(&self, node_id: NodeId, target: &NodeTarget, context: &StepContext) -> ProbeFacts {
        lock(&self.probed).push(node_id);
        let stop = pause(context).await.map_err(stopped);
        let during = lock(&self.during).clone();
        if let Some(act) = during {
            act(node_id);
        }
        let scripted = lock(&self.script).next();
        let met = match (stop, scripted) {
            (Err(error), _) | (Ok(()), Some(error)) => Err(error),
            (Ok(()), None) => login(&self.machines, node_id, target),
        };
        let result = match (met, self.machines.of(node_id)) {
            (Err(error), _) => ProbeResult::NoLogin(error),
            (Ok(()), machine) => ProbeResult::LoggedIn {
                sudo: machine.as_ref().is_some_and(|machine| machine.sudo),
                runtime: vec![RuntimeCheck {
                    name: "nginx".to_owned(),
                    works: machine.is_some_and(|machine| machine.provisioned),
                }],
            },
        };
        let checked_at = context.now();
        ProbeFacts {
            evidence: vec![CheckEvidence {
                check: "login".to_owned(),
                command: "true".to_owned(),
                exit_status: matches!(result, ProbeResult::LoggedIn { .. }).then_some(0),
                output: String::new(),
                checked_at,
            }],
            result,
            checked_at,
        }
    }
}
