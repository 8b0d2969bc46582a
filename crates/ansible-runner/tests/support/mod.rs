//! What both test binaries need: an SSH configuration without a machine behind it.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ansible_runner::{AnsibleRunner, AnsibleSettings};
use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext};
use nodes_domain::{NodeTarget, RemoteCommand, RemoteOutput, SshAccess, SshError};
use process_exec::CommandRunner;

/// Gives prepared answers, then says that nobody listens. Its configuration names a loopback port where nobody does.
pub(crate) struct ScriptedSsh {
    folder: PathBuf,
    answers: Mutex<VecDeque<Result<RemoteOutput, SshError>>>,
    commands: Mutex<Vec<RemoteCommand>>,
}

impl ScriptedSsh {
    pub(crate) fn new(folder: &Path, answers: impl IntoIterator<Item = Result<RemoteOutput, SshError>>) -> Self {
        Self {
            folder: folder.to_owned(),
            answers: Mutex::new(answers.into_iter().collect()),
            commands: Mutex::default(),
        }
    }

    /// What it was asked to run, in order.
    pub(crate) fn commands(&self) -> Vec<RemoteCommand> {
        self.commands.lock().unwrap().clone()
    }
}

#[async_trait]
impl SshAccess for ScriptedSsh {
    async fn run(
        &self,
        _: NodeId,
        _: &NodeTarget,
        command: &RemoteCommand,
        context: &StepContext,
    ) -> Result<RemoteOutput, SshError> {
        if let Some(reason) = context.limits.cancel.reason() {
            return Err(SshError::Stopped(reason));
        }
        self.commands.lock().unwrap().push(command.clone());
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or(Err(SshError::Refused))
    }

    async fn config(&self, node_id: NodeId, _: &NodeTarget) -> Result<PathBuf, Failure> {
        let path = self.folder.join("ssh config");
        let text = format!(
            "Host pressluft-{}\n  HostName 127.0.0.1\n  Port 1\n  User ops\n  BatchMode yes\n",
            node_id.short()
        );
        fs::write(&path, text).unwrap();
        Ok(path)
    }

    async fn forget(&self, _: NodeId) -> Result<(), Failure> {
        Ok(())
    }
}

pub(crate) fn target(user: &str) -> NodeTarget {
    NodeTarget {
        hostname: "127.0.0.1".into(),
        public_ip: None,
        ssh_port: 1,
        ssh_user: user.into(),
        ssh_private_key_path: "/nonexistent".into(),
        host_key: format!("ssh-ed25519 {}", "A".repeat(68)).parse().unwrap(),
    }
}

/// The repository's own root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

pub(crate) fn ansible_runner(
    commands: Arc<dyn CommandRunner>,
    ssh: Arc<ScriptedSsh>,
    data: &Path,
    ansible_dir: PathBuf,
) -> AnsibleRunner {
    let settings = AnsibleSettings {
        ansible_dir,
        venv: repository().join(".venv"),
        runs: data.join("run/ansible"),
    };
    AnsibleRunner::new(commands, ssh, settings)
}
