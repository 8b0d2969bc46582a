//! What both test binaries need: an SSH configuration without a machine behind it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ansible_runner::{AnsibleRunner, AnsibleSettings};
use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext};
use nodes_domain::{NodeTarget, RemoteCommand, RemoteOutput, SshAccess, SshError};
use process_exec::CommandRunner;

/// Names a machine on a loopback port where nobody listens.
pub(crate) struct ClosedPort {
    folder: PathBuf,
}

#[async_trait]
impl SshAccess for ClosedPort {
    async fn run(
        &self,
        _: NodeId,
        _: &NodeTarget,
        _: &RemoteCommand,
        _: &StepContext,
    ) -> Result<RemoteOutput, SshError> {
        Err(SshError::Refused)
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

pub(crate) fn ansible_runner(commands: Arc<dyn CommandRunner>, data: &Path, ansible_dir: PathBuf) -> AnsibleRunner {
    let ssh = ClosedPort {
        folder: data.to_owned(),
    };
    let settings = AnsibleSettings {
        ansible_dir,
        venv: repository().join(".venv"),
        runs: data.join("run/ansible"),
    };
    AnsibleRunner::new(commands, Arc::new(ssh), settings)
}
