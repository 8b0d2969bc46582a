//! SSH by script, and a provider around it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, JobErrorCode, NodeId};
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{
    AcquireRequest, HostKey, Hostname, Instance, NodeTarget, OwnHost, RemoteCommand, RemoteHost, RemoteMachine,
    RemoteOutput, SshAccess, SshError,
};
use process_exec::fake::ScriptedRunner;
use test_support::{FakeKeys, ManualClock, RecordingProgress, step_context};

use crate::{KeyScan, SshConfig, SshProvider};

pub(super) const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q";
pub(super) const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9A";

pub(super) fn key(text: &str) -> HostKey {
    text.parse().unwrap()
}

/// A host whose own name is `panel.example.test` and whose address is 192.0.2.1.
pub(super) struct Panel;

impl OwnHost for Panel {
    fn has_address(&self, address: IpAddr) -> bool {
        address == IpAddr::from([192, 0, 2, 1])
    }

    fn has_name(&self, name: &Hostname) -> bool {
        name.canonical() == "panel.example.test"
    }
}

/// Answers in order, and remembers what was asked.
#[derive(Default)]
pub(super) struct ScriptedSsh {
    answers: Mutex<VecDeque<Result<RemoteOutput, SshError>>>,
    ran: Mutex<Vec<(NodeTarget, RemoteCommand)>>,
    forgotten: Mutex<Vec<NodeId>>,
}

impl ScriptedSsh {
    pub(super) fn answer(&self, answer: Result<&str, SshError>) {
        self.exit(0, answer);
    }

    pub(super) fn exit(&self, status: i32, answer: Result<&str, SshError>) {
        let output = answer.map(|stdout| RemoteOutput {
            exit_status: Some(status),
            stdout: stdout.to_owned(),
            stderr: String::new(),
        });
        self.answers.lock().unwrap().push_back(output);
    }

    pub(super) fn ran(&self) -> Vec<(NodeTarget, RemoteCommand)> {
        self.ran.lock().unwrap().clone()
    }

    pub(super) fn forgotten(&self) -> Vec<NodeId> {
        self.forgotten.lock().unwrap().clone()
    }
}

#[async_trait]
impl SshAccess for ScriptedSsh {
    async fn run(
        &self,
        _node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        context: &StepContext,
    ) -> Result<RemoteOutput, SshError> {
        if let Some(reason) = context.limits.cancel.reason() {
            return Err(SshError::Stopped(reason));
        }
        self.ran.lock().unwrap().push((target.clone(), command.clone()));
        self.answers.lock().unwrap().pop_front().expect("an answer")
    }

    async fn config(&self, _node_id: NodeId, _target: &NodeTarget) -> Result<PathBuf, Failure> {
        unreachable!("the provider runs commands alone")
    }

    async fn forget(&self, node_id: NodeId) -> Result<(), Failure> {
        self.forgotten.lock().unwrap().push(node_id);
        Ok(())
    }
}

/// A provider of one instance, the host `127.0.0.1` at `port`, and the context of its calls.
pub(super) struct Site {
    pub(super) provider: SshProvider,
    pub(super) scan: KeyScan,
    pub(super) runner: Arc<ScriptedRunner>,
    pub(super) ssh: Arc<ScriptedSsh>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) context: StepContext,
    pub(super) cancel: CancelToken,
    pub(super) progress: Arc<RecordingProgress>,
    pub(super) instance: Instance,
}

impl Site {
    pub(super) fn new(runner: ScriptedRunner) -> Self {
        let (runner, ssh) = (Arc::new(runner), Arc::new(ScriptedSsh::default()));
        let clock = Arc::new(ManualClock::new());
        let (context, cancel, progress) = step_context("test", Duration::from_secs(3600), clock.clone());
        let config = SshConfig::default();
        let scan = KeyScan::new(config.clone(), runner.clone(), Arc::new(Panel));
        let here = scan.clone().of_any_address();
        let host = RemoteHost {
            hostname: "127.0.0.1".parse().unwrap(),
            ssh_port: 22,
            ssh_user: "deploy".parse().unwrap(),
            public_ip: None,
            host_key_fingerprint: None,
        };
        Self {
            provider: SshProvider::new(config, ssh.clone(), Arc::new(FakeKeys::default()), here),
            scan,
            runner,
            ssh,
            clock,
            context,
            cancel,
            progress,
            instance: Instance {
                acquired: false,
                node_id: NodeId::generate(),
                remote: Some(RemoteMachine { host, host_key: None }),
            },
        }
    }

    /// One whose machine's host key is pinned.
    pub(super) fn pinned() -> Self {
        let mut site = Self::new(ScriptedRunner::new());
        site.machine().host_key = Some(key(ED25519));
        site
    }

    pub(super) fn machine(&mut self) -> &mut RemoteMachine {
        self.instance.remote.as_mut().unwrap()
    }

    pub(super) fn request(&self) -> AcquireRequest {
        AcquireRequest {
            instance: self.instance.clone(),
            public_key: FakeKeys::PUBLIC_KEY.to_owned(),
            runtime: None,
        }
    }

    pub(super) fn log(&self) -> String {
        let events = self.progress.events();
        let lines: Vec<_> = events.iter().map(|event| event.data["line"].to_string()).collect();
        lines.join("\n")
    }
}

/// The code and the detail of a failure.
pub(super) fn failure<T: std::fmt::Debug>(result: Result<T, StepError>) -> (JobErrorCode, String) {
    match result {
        Err(StepError::Failed(failure)) => (failure.code, failure.detail),
        other => panic!("{other:?}"),
    }
}
