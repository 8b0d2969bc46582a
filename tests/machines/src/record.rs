//! What is kept beside a machine, so that another process finds it.

use std::path::Path;

use domain_kernel::NodeId;
use nodes_domain::{Instance, RuntimeImage};
use serde::{Deserialize, Serialize};

/// Written before the machine is made: one that was interrupted half-way can still be released.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    node_id: NodeId,
    pub(crate) user: String,
    runtime: Option<(String, Vec<String>)>,
}

impl Record {
    pub(crate) fn new(user: &str, runtime: Option<&RuntimeImage>) -> Self {
        Self {
            node_id: NodeId::generate(),
            user: user.to_owned(),
            runtime: runtime.map(|image| (image.key.clone(), image.secrets.clone())),
        }
    }

    pub(crate) fn instance(&self) -> Instance {
        Instance::of(self.node_id)
    }

    pub(crate) fn runtime(&self) -> Option<RuntimeImage> {
        let (key, secrets) = self.runtime.clone()?;
        Some(RuntimeImage { key, secrets })
    }

    /// The record of that folder; None where no machine was begun there.
    pub(crate) fn load(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn store(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(FILE), serde_json::to_vec(self).unwrap()).unwrap();
    }

    pub(crate) fn remove(folder: &Path) {
        std::fs::remove_file(folder.join(FILE)).unwrap();
    }
}

const FILE: &str = "real-machine.json";
