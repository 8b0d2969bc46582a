//! The rules of `contracts/node-provider.md`, on real machines.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use acquisition_nspawn::{NspawnConfig, NspawnProvider};
use async_trait::async_trait;
use domain_kernel::NodeId;
use nodes_domain::{AcquireRequest, Acquired, HostKey, Instance, NodeProvider};
use process_exec::{CommandSpec, SystemRunner, process_key};
use provider_conformance::{KeysFile, Machine, Trouble, TroubledRunner, World};
use rustix::process::Signal;
use tempfile::TempDir;
use test_support::RealClock;

use crate::installation::Installation;
use crate::real_machine_images::borrow_base_images;

provider_conformance::conformance_tests!(NspawnWorld::new().await);

/// A host key that no machine has.
const FOREIGN_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q";

/// An installation with a cache of its own, whose provider's commands can be made to fail.
struct NspawnWorld {
    home: Installation,
    cache: TempDir,
    runner: Arc<TroubledRunner>,
    provider: Arc<NspawnProvider>,
    /// The file that tells which process a machine is, where it is out of the provider's sight.
    hidden: Mutex<Option<PathBuf>>,
}

impl NspawnWorld {
    async fn new() -> Self {
        let cache = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
        borrow_base_images(cache.path()).await;
        let home = Installation::with_cache(cache.path()).await;
        let runner = Arc::new(TroubledRunner::new(Arc::new(SystemRunner::unrecorded(Arc::new(
            RealClock,
        )))));
        let config = NspawnConfig::new(home.data.path(), cache.path());
        Self {
            provider: Arc::new(NspawnProvider::new(config, runner.clone())),
            home,
            cache,
            runner,
            hidden: Mutex::default(),
        }
    }

    fn config(&self) -> NspawnConfig {
        NspawnConfig::new(self.home.data.path(), self.cache.path())
    }

    /// The login user's name for a number of the machine's.
    fn user(&self, instance: &Instance, number: u32) -> String {
        let users = fs::read_to_string(self.home.folder(instance).join("merged/etc/passwd")).unwrap();
        let mut users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        users.find(|user| user[2] == number.to_string()).unwrap()[0].to_owned()
    }
}

/// Who owns it, and its permissions.
fn owner_and_mode(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.mode() & 0o7777)
}

#[async_trait]
impl World for NspawnWorld {
    fn provider(&self) -> Arc<dyn NodeProvider> {
        self.provider.clone()
    }

    async fn reopened(&self) -> Arc<dyn NodeProvider> {
        Arc::new(NspawnProvider::new(self.config(), self.runner.clone()))
    }

    async fn incapable(&self) -> Arc<dyn NodeProvider> {
        let config = NspawnConfig {
            release: Some("../x".to_owned()),
            ..self.config()
        };
        Arc::new(NspawnProvider::new(config, self.runner.clone()))
    }

    async fn request(&self) -> AcquireRequest {
        self.home.request(&Instance::of(NodeId::generate()), None)
    }

    async fn machine(&self, instance: &Instance) -> Option<Machine> {
        let folder = self.home.folder(instance);
        if !folder.exists() {
            return None;
        }
        let run = fs::read_to_string(folder.join("process")).unwrap_or_default();
        let pid = run.split(' ').next().and_then(|pid| pid.parse().ok());
        let process = pid.and_then(process_key);
        let running = process.is_some_and(|process| run.contains(&format!(" {} ", process.start_time)));
        Some(Machine { running, run })
    }

    async fn machine_names(&self) -> Vec<String> {
        let machines = fs::read_dir(self.home.data.path().join("machines")).unwrap();
        machines
            .map(|machine| machine.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    async fn host_key(&self, instance: &Instance) -> HostKey {
        let file = "merged/etc/ssh/ssh_host_ed25519_key.pub";
        let line = fs::read_to_string(self.home.folder(instance).join(file)).unwrap();
        line.parse().unwrap()
    }

    async fn keys_file(&self, instance: &Instance) -> Option<KeysFile> {
        let path = self.home.authorized_keys(instance);
        let bytes = fs::read(&path).ok()?;
        let (owner, mode) = owner_and_mode(&path);
        let (folder_owner, folder_mode) = owner_and_mode(path.parent().unwrap());
        Some(KeysFile {
            bytes,
            owner: self.user(instance, owner),
            mode,
            folder_owner: self.user(instance, folder_owner),
            folder_mode,
        })
    }

    async fn write_keys(&self, instance: &Instance, bytes: &[u8]) {
        let path = self.home.authorized_keys(instance);
        let folder = path.parent().unwrap();
        let (user, _) = owner_and_mode(folder.parent().unwrap());
        if !folder.exists() {
            fs::create_dir(folder).unwrap();
        }
        fs::write(&path, bytes).unwrap();
        for (path, mode) in [(folder, 0o700), (path.as_path(), 0o600)] {
            chown(path, Some(user), Some(user)).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    async fn sudo(&self, acquired: &Acquired) -> Result<(), String> {
        let output = self.home.ssh(acquired, "sudo -n true").await;
        if output.success() {
            Ok(())
        } else {
            Err(output.stderr_text())
        }
    }

    async fn stop(&self, instance: &Instance) {
        self.home.end(instance, Signal::TERM).await;
    }

    async fn make_foreign(&self, instance: &Instance) {
        let folder = self.home.folder(instance);
        fs::create_dir_all(&folder).unwrap();
        let record = format!(
            r#"{{"node_id":"{}","image":"trixie-00","lower":"/","host_key":"{FOREIGN_KEY}"}}"#,
            NodeId::generate()
        );
        fs::write(folder.join("machine.json"), record).unwrap();
    }

    async fn remove_foreign(&self, instance: &Instance) {
        fs::remove_dir_all(self.home.folder(instance)).unwrap();
    }

    async fn left_of(&self, instance: &Instance) -> Vec<String> {
        self.home.traces(instance).await
    }

    /// The base images are shared by every test; kept ones by the machines of this world.
    async fn shared(&self) -> Vec<String> {
        let images = self.cache.path().join("images").to_string_lossy().into_owned();
        let found = self
            .home
            .run(&["find", "-L", &images, "-maxdepth", "3", "-printf", "%p %T@\n"])
            .await;
        let forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        found.lines().chain([forwarding.trim()]).map(str::to_owned).collect()
    }

    async fn trouble(&self, trouble: Trouble, instance: &Instance) {
        match trouble {
            // The namespace is there by then, and has to be found again.
            Trouble::AcquireFails => self.runner.fail(&["nft -f"]),
            Trouble::ReleaseFails => self.runner.fail(&["rm"]),
            Trouble::Hangs => self.runner.hang(),
            Trouble::CannotTell => {
                let process = self.home.folder(instance).join("process");
                fs::rename(&process, process.with_extension("aside")).unwrap();
                fs::create_dir(&process).unwrap();
                *self.hidden.lock().unwrap() = Some(process);
            }
        }
    }

    async fn calm(&self) {
        self.runner.calm();
        if let Some(process) = self.hidden.lock().unwrap().take() {
            fs::remove_dir(&process).unwrap();
            fs::rename(process.with_extension("aside"), &process).unwrap();
        }
    }

    fn commands(&self) -> Vec<CommandSpec> {
        self.runner.commands()
    }

    fn processes(&self) -> Vec<String> {
        self.runner.processes()
    }
}
