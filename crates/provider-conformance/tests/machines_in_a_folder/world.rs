//! What the suite is told: how to look at the machines behind the provider's back, and how to get in its way.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain_kernel::NodeId;
use nodes_domain::{AcquireRequest, Acquired, HostKey, Instance, NodeProvider};
use provider_conformance::{KeysFile, Machine, Trouble, World};
use tempfile::TempDir;

use crate::provider::{FolderProvider, Record, USER, read_record, write_record};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIThePublicKeyOfThisTestThePublicKeyOfT pressluft";

/// A folder with machines in it.
pub(crate) struct Folders {
    root: TempDir,
    provider: Arc<FolderProvider>,
    /// Ends what is in the provider's way.
    calm: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Folders {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            provider: Arc::new(FolderProvider::new(root.path())),
            root,
            calm: Mutex::default(),
        }
    }

    fn folder(&self, instance: &Instance) -> PathBuf {
        self.root.path().join(instance.name())
    }

    fn record(&self, instance: &Instance) -> Option<Record> {
        read_record(&self.folder(instance)).unwrap()
    }

    fn at_the_end(&self, calm: impl FnOnce() + Send + 'static) {
        self.calm.lock().unwrap().push(Box::new(calm));
    }
}

#[async_trait]
impl World for Folders {
    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("NP-22", "its machines share nothing"),
            ("NP-25", "it starts no processes"),
            ("NP-27", "it starts no processes"),
        ]
    }

    fn provider(&self) -> Arc<dyn NodeProvider> {
        self.provider.clone()
    }

    async fn reopened(&self) -> Arc<dyn NodeProvider> {
        Arc::new(FolderProvider::new(self.root.path()))
    }

    async fn incapable(&self) -> Arc<dyn NodeProvider> {
        Arc::new(FolderProvider::new(self.root.path().join("no/such/folder")))
    }

    async fn request(&self) -> AcquireRequest {
        AcquireRequest {
            instance: Instance::of(NodeId::generate()),
            public_key: KEY.to_owned(),
            runtime: None,
        }
    }

    async fn machine(&self, instance: &Instance) -> Option<Machine> {
        if !self.folder(instance).exists() {
            return None;
        }
        Some(Machine {
            running: self.record(instance).is_some_and(|record| record.running),
            run: String::new(),
        })
    }

    async fn machine_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap().map(Result::unwrap);
        let machines = entries.filter(|entry| entry.path().is_dir());
        machines.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    async fn host_key(&self, instance: &Instance) -> HostKey {
        self.record(instance).unwrap().host_key
    }

    /// Nobody logs in to a folder, so owner and modes are the ones that a machine would have.
    async fn keys_file(&self, instance: &Instance) -> Option<KeysFile> {
        Some(KeysFile {
            bytes: fs::read(self.folder(instance).join("authorized_keys")).ok()?,
            owner: USER.to_owned(),
            mode: 0o600,
            folder_owner: USER.to_owned(),
            folder_mode: 0o700,
        })
    }

    async fn write_keys(&self, instance: &Instance, bytes: &[u8]) {
        fs::write(self.folder(instance).join("authorized_keys"), bytes).unwrap();
    }

    async fn sudo(&self, acquired: &Acquired) -> Result<(), String> {
        for name in self.machine_names().await {
            let folder = self.root.path().join(name);
            let record = read_record(&folder).unwrap().unwrap();
            if record.address.to_string() == acquired.hostname && record.running {
                let keys = fs::read_to_string(folder.join("authorized_keys")).unwrap_or_default();
                let has_key = keys.lines().any(|line| line == KEY);
                return if has_key { Ok(()) } else { Err("no such key".to_owned()) };
            }
        }
        Err(format!("nothing runs at {}", acquired.hostname))
    }

    async fn stop(&self, instance: &Instance) {
        let mut record = self.record(instance).unwrap();
        record.running = false;
        write_record(&self.folder(instance), &record).unwrap();
    }

    async fn make_foreign(&self, instance: &Instance) {
        let record = Record {
            node_id: NodeId::generate(),
            address: "192.0.2.77".parse().unwrap(),
            host_key: format!("ssh-ed25519 {}", "F".repeat(64)).parse().unwrap(),
            running: true,
        };
        fs::create_dir(self.folder(instance)).unwrap();
        write_record(&self.folder(instance), &record).unwrap();
    }

    async fn remove_foreign(&self, instance: &Instance) {
        fs::remove_dir_all(self.folder(instance)).unwrap();
    }

    async fn left_of(&self, instance: &Instance) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap().map(Result::unwrap);
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names
            .filter(|name| name.contains(instance.short_id().as_str()))
            .collect()
    }

    async fn trouble(&self, trouble: Trouble, instance: &Instance) {
        let folder = self.folder(instance);
        match trouble {
            Trouble::AcquireFails => {
                let in_the_way = folder.join("machine.json.new");
                fs::create_dir_all(&in_the_way).unwrap();
                self.at_the_end(|| fs::remove_dir(in_the_way).unwrap());
            }
            Trouble::ReleaseFails => {
                let in_the_way = folder.join("somebody's notes");
                fs::write(&in_the_way, "").unwrap();
                self.at_the_end(|| fs::remove_file(in_the_way).unwrap());
            }
            Trouble::Hangs => {
                let lock = File::create(self.root.path().join("lock")).unwrap();
                lock.lock().unwrap();
                self.at_the_end(|| drop(lock));
            }
            Trouble::CannotTell => {
                let record = folder.join("machine.json");
                let text = fs::read(&record).unwrap();
                fs::write(&record, "{").unwrap();
                self.at_the_end(|| fs::write(record, text).unwrap());
            }
        }
    }

    async fn calm(&self) {
        for calm in std::mem::take(&mut *self.calm.lock().unwrap()) {
            calm();
        }
    }

    fn processes(&self) -> Vec<String> {
        Vec::new()
    }
}
