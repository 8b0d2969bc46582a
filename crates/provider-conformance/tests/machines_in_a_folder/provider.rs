//! The provider. It needs `domain-kernel`, `jobs` and `nodes-domain` alone.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode as Code, NodeId};
use jobs::{StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, HostKey, Instance, NodeProvider, Observation, ProviderId,
    ReleaseReport, Unavailable,
};
use serde::{Deserialize, Serialize};

/// The provider's id, for ever (NP-01).
pub(crate) const PROVIDER_ID: &str = "folder";

/// The login user of every machine.
pub(crate) const USER: &str = "admin";

/// Machines that are folders in a folder: `<root>/pressluft-<short id>`, with a record and the keys.
pub(crate) struct FolderProvider {
    root: PathBuf,
}

/// `machine.json`: a machine without one is half made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) node_id: NodeId,
    pub(crate) address: IpAddr,
    pub(crate) host_key: HostKey,
    pub(crate) running: bool,
}

impl FolderProvider {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The machine's place follows from the instance and nothing else (NP-02).
    fn folder(&self, instance: &Instance) -> PathBuf {
        self.root.join(instance.name())
    }

    /// One change at a time. Waiting for it ends with the context (NP-23, NP-24).
    async fn lock(&self, code: Code, context: &StepContext) -> Result<File, StepError> {
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(|error| failed(code, &path, &error))?;
        while file.try_lock().is_err() {
            context.sleep(Duration::from_millis(20)).await?;
        }
        context.check()?;
        Ok(file)
    }

    /// An address that no machine has.
    fn free_address(&self) -> Result<IpAddr, StepError> {
        let code = Code::LocalAddressMissing;
        let entries = fs::read_dir(&self.root).map_err(|error| failed(code, &self.root, &error))?;
        let taken: Vec<_> = entries
            .filter_map(|entry| read_record(&entry.ok()?.path()).ok()?)
            .map(|record| record.address)
            .collect();
        let mut all = (2..=254).map(|number| IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)));
        all.find(|address| !taken.contains(address))
            .ok_or_else(|| StepError::failed(code, "every address is taken"))
    }
}

fn failed(code: Code, path: &Path, error: &io::Error) -> StepError {
    StepError::failed(code, format!("{}: {error}", path.display()))
}

/// The record of a machine's folder, where there is one.
pub(crate) fn read_record(folder: &Path) -> io::Result<Option<Record>> {
    match fs::read(folder.join("machine.json")) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all, also where the process is killed meanwhile (NP-05).
pub(crate) fn write_record(folder: &Path, record: &Record) -> io::Result<()> {
    let new = folder.join("machine.json.new");
    fs::write(&new, serde_json::to_vec(record)?)?;
    fs::rename(new, folder.join("machine.json"))
}

/// A key that no other machine has.
fn new_host_key() -> Result<HostKey, StepError> {
    let random = format!("{}{}", NodeId::generate(), NodeId::generate()).replace('-', "");
    let key = format!("ssh-ed25519 {random}").parse();
    key.map_err(|error| StepError::failed(Code::LocalAcquisitionFailed, format!("the host key: {error}")))
}

#[async_trait]
impl NodeProvider for FolderProvider {
    fn id(&self) -> ProviderId {
        ProviderId::new(PROVIDER_ID)
    }

    fn source(&self) -> AcquisitionSource {
        AcquisitionSource::Local
    }

    async fn capability(&self, _context: &StepContext) -> Result<Capability, StepError> {
        if self.root.is_dir() {
            return Ok(Capability::Available);
        }
        Ok(Capability::Unavailable(Unavailable {
            code: Code::LocalConfigInvalid,
            reason: format!("{} is no folder.", self.root.display()),
            remedy: format!("Run `mkdir -p {}`.", self.root.display()),
        }))
    }

    async fn acquire(&self, request: &AcquireRequest, context: &StepContext) -> Result<Acquired, StepError> {
        if let Capability::Unavailable(missing) = self.capability(context).await? {
            return Err(StepError::failed(
                missing.code,
                format!("{} {}", missing.reason, missing.remedy),
            ));
        }
        let code = Code::LocalAcquisitionFailed;
        let _lock = self.lock(code, context).await?;
        let folder = self.folder(&request.instance);
        let found = read_record(&folder).map_err(|error| failed(Code::LocalInstanceUnusable, &folder, &error))?;
        let node_id = request.instance.node_id;
        let mut record = match found {
            Some(record) if record.node_id == node_id => record,
            Some(record) => {
                let owner = format!("{} is the machine of the node {}", folder.display(), record.node_id);
                return Err(StepError::failed(Code::LocalInstanceConflict, owner));
            }
            None => Record {
                node_id,
                address: self.free_address()?,
                host_key: new_host_key()?,
                running: false,
            },
        };
        record.running = true;
        fs::create_dir_all(&folder).map_err(|error| failed(code, &folder, &error))?;
        write_record(&folder, &record).map_err(|error| failed(code, &folder, &error))?;
        Ok(Acquired {
            hostname: record.address.to_string(),
            public_ip: Some(record.address),
            ssh_port: 22,
            ssh_user: USER.to_owned(),
            host_key: record.host_key,
        })
    }

    async fn inject_key(&self, instance: &Instance, public_key: &str, context: &StepContext) -> Result<(), StepError> {
        let code = Code::SshKeyInjectionFailed;
        let _lock = self.lock(code, context).await?;
        let folder = self.folder(instance);
        let file_failed = |error: io::Error| failed(code, &folder, &error);
        if read_record(&folder).map_err(file_failed)?.is_none() {
            return Err(StepError::failed(code, "there is no machine"));
        }
        let path = folder.join("authorized_keys");
        let mut text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(file_failed)?,
        };
        if text.lines().any(|line| line == public_key) {
            return Ok(());
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        fs::write(&path, format!("{text}{public_key}\n")).map_err(file_failed)
    }

    async fn observe(&self, instance: &Instance, _context: &StepContext) -> Result<Observation, StepError> {
        let folder = self.folder(instance);
        Ok(match read_record(&folder) {
            Err(error) => Observation::Unknown(format!("{}: {error}", folder.display())),
            Ok(None) => Observation::Absent,
            Ok(Some(record)) if record.running => Observation::Running(vec![record.address]),
            Ok(Some(_)) => Observation::Stopped,
        })
    }

    async fn release(&self, instance: &Instance, context: &StepContext) -> Result<ReleaseReport, StepError> {
        let code = Code::NodeReleaseFailed;
        let _lock = self.lock(code, context).await?;
        let folder = self.folder(instance);
        // Only what this provider put there; the record last, so that a machine is known until it is gone.
        for file in ["authorized_keys", "machine.json.new", "machine.json"] {
            gone(fs::remove_file(folder.join(file))).map_err(|error| failed(code, &folder.join(file), &error))?;
        }
        gone(fs::remove_dir(&folder)).map_err(|error| failed(code, &folder, &error))?;
        Ok(ReleaseReport::default())
    }
}

/// What is not there was removed (NP-20).
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
