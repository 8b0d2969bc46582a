//! What is kept about a machine beside it: `machine.json`, written once its root is prepared.

use std::path::{Path, PathBuf};

use domain_kernel::NodeId;
use jobs::StepError;
use nodes_domain::HostKey;
use serde::{Deserialize, Serialize};

use crate::failure::{Code, io_failed};
use crate::files::{read_if_there, write_atomic};

/// A machine as its folder records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachineRecord {
    /// The node that the machine is for.
    pub(crate) node_id: NodeId,
    /// The image's key in the cache that it was made from.
    pub(crate) image: String,
    /// The key of the base image that `image` goes back to; `image` itself where a record has none.
    #[serde(default)]
    pub(crate) base: Option<String>,
    /// The image's root, the lower layer of the machine's.
    pub(crate) lower: PathBuf,
    /// The public half of its host key.
    pub(crate) host_key: HostKey,
}

impl MachineRecord {
    /// The key of the base image that the machine goes back to.
    pub(crate) fn base(&self) -> &str {
        self.base.as_deref().unwrap_or(&self.image)
    }
}

/// The paths of one machine.
#[derive(Debug, Clone)]
pub(crate) struct MachineFolder(PathBuf);

impl MachineFolder {
    /// The folder of `instance` in a data directory.
    pub(crate) fn new(data_dir: &Path, instance: &str) -> Self {
        Self(data_dir.join("machines").join(instance))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What the machine changed.
    pub(crate) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    /// Overlayfs's own folder.
    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The machine's root while it is mounted.
    pub(crate) fn merged(&self) -> PathBuf {
        self.0.join("merged")
    }

    /// Who the running machine is; see `root/start.sh`.
    pub(crate) fn process(&self) -> PathBuf {
        self.0.join("process")
    }

    /// Which running machine was told to shut down: what `process` held then.
    pub(crate) fn stopping(&self) -> PathBuf {
        self.0.join("stopping")
    }

    /// What the machine's program said.
    pub(crate) fn console(&self) -> PathBuf {
        self.0.join("console.log")
    }

    fn record(&self) -> PathBuf {
        self.0.join("machine.json")
    }

    /// Reads the record; None where the machine is not prepared yet.
    pub(crate) fn load(&self) -> Result<Option<MachineRecord>, StepError> {
        let path = self.record();
        let text = read_if_there(&path).map_err(|error| io_failed(Code::LocalAcquisitionFailed, &path, &error))?;
        let Some(text) = text else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            StepError::failed(
                Code::LocalInstanceUnusable,
                format!("{} cannot be read: {error}", path.display()),
            )
        })
    }

    /// Writes the record.
    pub(crate) fn store(&self, record: &MachineRecord) -> Result<(), StepError> {
        let path = self.record();
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| StepError::failed(Code::Internal, format!("{}: {error}", path.display())))?;
        write_atomic(&path, &text, 0o600).map_err(|error| io_failed(Code::LocalAcquisitionFailed, &path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_file_and_a_broken_one_is_unusable() {
        let data = tempfile::tempdir().unwrap();
        let folder = MachineFolder::new(data.path(), "pressluft-0123456789ab");
        crate::files::make_dir(folder.path(), 0o700).unwrap();
        assert_eq!(folder.load().unwrap(), None);
        let record = MachineRecord {
            node_id: NodeId::generate(),
            image: "bookworm-00".into(),
            base: None,
            lower: "/c/images/bookworm-00/rootfs".into(),
            host_key: format!("ssh-ed25519 {}", "A".repeat(68)).parse().unwrap(),
        };
        folder.store(&record).unwrap();
        assert_eq!(folder.load().unwrap().as_ref(), Some(&record));
        let older = r#"{"node_id":"NODE","image":"bookworm-00","lower":"/l","host_key":"KEY"}"#
            .replace("NODE", &record.node_id.to_string())
            .replace("KEY", &record.host_key.to_string());
        std::fs::write(folder.path().join("machine.json"), older).unwrap();
        assert_eq!(folder.load().unwrap().unwrap().base(), "bookworm-00");
        std::fs::write(folder.path().join("machine.json"), "{").unwrap();
        let StepError::Failed(failure) = folder.load().unwrap_err() else {
            panic!("another error")
        };
        assert_eq!(failure.code, Code::LocalInstanceUnusable);
    }
}
