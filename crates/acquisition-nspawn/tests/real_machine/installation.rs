//! One installation on this host, with the means to look at its machines from outside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use acquisition_nspawn::{NspawnConfig, NspawnProvider};
use domain_kernel::{JobErrorCode, Limits, NodeId};
use jobs::{StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, Capability, Instance, KeptImage, NodeProvider, Observation, RuntimeImage,
};
use process_exec::{CommandRunner, CommandSpec, Output, SystemRunner};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::{RealClock, step_context};

/// One installation: a data directory of its own, the shared image cache, and a key pair to log in with.
pub(crate) struct Installation {
    pub(crate) data: TempDir,
    pub(crate) provider: Arc<NspawnProvider>,
    runner: Arc<SystemRunner>,
    pub(crate) public_key: String,
    cache: PathBuf,
    asked_for: Mutex<Vec<Instance>>,
}

pub(crate) fn cache_dir() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
    let folder = std::env::var_os("PRESSLUFT_TEST_CACHE_DIR").map_or_else(default, PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

pub(crate) fn context() -> StepContext {
    step_context("acquire", Duration::from_secs(600), Arc::new(RealClock)).0
}

impl Installation {
    pub(crate) async fn new() -> Self {
        Self::with_cache(&cache_dir()).await
    }

    /// One with another cache, which another installation may have too.
    pub(crate) async fn with_cache(cache: &Path) -> Self {
        let data = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
        let runner = Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)));
        let config = NspawnConfig::new(data.path(), cache);
        let provider = Arc::new(NspawnProvider::new(config, runner.clone()));
        let asked_for = Mutex::default();
        let capability = provider.capability(&context()).await.unwrap();
        if let Capability::Unavailable(missing) = capability {
            panic!(
                "this host cannot run real machines: {} {}",
                missing.reason, missing.remedy
            );
        }
        let key = data.path().join("key").to_string_lossy().into_owned();
        let mut installation = Self {
            data,
            provider,
            cache: cache.to_owned(),
            asked_for,
            runner,
            public_key: String::new(),
        };
        installation
            .run(&[
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "pressluft test",
                "-f",
                &key,
            ])
            .await;
        installation.public_key = fs::read_to_string(format!("{key}.pub")).unwrap().trim_end().to_owned();
        installation
    }

    /// A node of this installation.
    pub(crate) fn node(&self) -> Instance {
        let node = Instance::of(NodeId::generate());
        self.asked_for.lock().unwrap().push(node.clone());
        node
    }

    pub(crate) async fn try_run(&self, command: &[&str]) -> Output {
        let spec = CommandSpec::new(command[0]).args(&command[1..]);
        let limits = Limits {
            ..context().within(Duration::from_secs(60)).limits
        };
        self.runner.run(spec, &limits).await.unwrap()
    }

    pub(crate) async fn run(&self, command: &[&str]) -> String {
        let output = self.try_run(command).await;
        assert!(output.success(), "{command:?}: {}", output.stderr_text());
        output.stdout_text()
    }

    pub(crate) fn request(&self, node: &Instance, runtime: Option<&RuntimeImage>) -> AcquireRequest {
        AcquireRequest {
            instance: node.clone(),
            public_key: self.public_key.clone(),
            runtime: runtime.cloned(),
        }
    }

    pub(crate) async fn acquire(&self, node: &Instance) -> Acquired {
        let request = self.request(node, None);
        self.provider.acquire(&request, &context()).await.unwrap()
    }

    /// A machine that may start from the image of one that was provisioned alike.
    pub(crate) async fn acquire_for(&self, node: &Instance, runtime: &RuntimeImage) -> Acquired {
        let request = self.request(node, Some(runtime));
        self.provider.acquire(&request, &context()).await.unwrap()
    }

    pub(crate) async fn keep_image(&self, node: &Instance, runtime: &RuntimeImage) -> KeptImage {
        let (ctx, _cancel, progress) = step_context("keep_image", Duration::from_secs(600), Arc::new(RealClock));
        let begin = Instant::now();
        let kept = self.provider.keep_image(node, runtime, &ctx).await.unwrap();
        let events = progress.events();
        let copied = events.iter().find(|event| format!("{event:?}").contains("Copied"));
        eprintln!("{}: {kept:?} after {:?}: {copied:?}", node.name(), begin.elapsed());
        kept
    }

    /// The code that an acquire with other settings fails with.
    pub(crate) async fn acquire_fails(&self, node: &Instance, change: impl FnOnce(&mut NspawnConfig)) -> JobErrorCode {
        let mut config = NspawnConfig::new(self.data.path(), &self.cache);
        change(&mut config);
        let provider = NspawnProvider::new(config, self.runner.clone());
        match provider.acquire(&self.request(node, None), &context()).await {
            Err(StepError::Failed(failure)) => failure.code,
            other => panic!("{other:?}"),
        }
    }

    /// Ends the machine's program behind the provider's back. TERM is a shutdown; KILL leaves what runs inside.
    pub(crate) async fn end(&self, node: &Instance, signal: Signal) {
        kill_process(self.machine_pid(node), signal).unwrap();
        while matches!(self.observe(node).await, Observation::Running(_)) {
            context().sleep(Duration::from_millis(20)).await.unwrap();
        }
    }

    pub(crate) async fn inject(&self, node: &Instance, key: &str) {
        self.provider.inject_key(node, key, &context()).await.unwrap();
    }

    pub(crate) async fn observe(&self, node: &Instance) -> Observation {
        self.provider.observe(node, &context()).await.unwrap()
    }

    pub(crate) fn folder(&self, node: &Instance) -> PathBuf {
        self.data.path().join("machines").join(node.name())
    }

    pub(crate) fn authorized_keys(&self, node: &Instance) -> PathBuf {
        self.folder(node).join("merged/home/pressluft/.ssh/authorized_keys")
    }

    /// The pid of the machine's program, as its start script wrote it down.
    pub(crate) fn machine_pid(&self, node: &Instance) -> Pid {
        let text = fs::read_to_string(self.folder(node).join("process")).unwrap();
        Pid::from_raw(text.split(' ').next().unwrap().parse().unwrap()).unwrap()
    }

    /// Logs in with the key and the pinned host key alone.
    pub(crate) async fn ssh(&self, acquired: &Acquired, command: &str) -> Output {
        let known_hosts = self.data.path().join("known_hosts");
        fs::write(&known_hosts, format!("{} {}\n", acquired.hostname, acquired.host_key)).unwrap();
        let known_hosts = format!("UserKnownHostsFile={}", known_hosts.display());
        let key = self.data.path().join("key").to_string_lossy().into_owned();
        let login = format!("{}@{}", acquired.ssh_user, acquired.hostname);
        let mut words = vec!["ssh", "-F", "none", "-i", &key, "-o", &known_hosts];
        for option in [
            "GlobalKnownHostsFile=none",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "ConnectTimeout=5",
        ] {
            words.extend(["-o", option]);
        }
        words.extend([&login, command]);
        self.try_run(&words).await
    }

    /// How many machines of the node run, counted by their sshd.
    pub(crate) async fn machines(&self, node: &Instance) -> String {
        let groups = format!(
            "find /sys/fs/cgroup -path '*{}*/cgroup.procs' -exec cat {{}} + | sort -u",
            node.name()
        );
        let count = format!("{groups} | xargs -r -n1 ps -o args= -p | grep -c '/usr/sbin/sshd -D'");
        self.run(&["sh", "-c", &count]).await.trim().to_owned()
    }

    pub(crate) async fn release(&self, node: &Instance) {
        self.provider.release(node, &context()).await.unwrap();
    }

    /// Looks everywhere for what bears the node's short id.
    pub(crate) async fn traces(&self, node: &Instance) -> Vec<String> {
        let id = node.short_id().to_string();
        let mut traces = Vec::new();
        for (what, text) in [
            ("mounts", fs::read_to_string("/proc/self/mountinfo").unwrap()),
            ("namespaces", self.run(&["ip", "netns", "list"]).await),
            ("interfaces", self.run(&["ip", "link"]).await),
            ("firewall", self.run(&["nft", "list", "ruleset"]).await),
            ("cgroups", paths_below(Path::new("/sys/fs/cgroup"))),
            ("processes", self.run(&["ps", "-eo", "args"]).await),
            (
                "leases",
                fs::read_to_string("/var/lib/pressluft/nspawn/addresses.json").unwrap(),
            ),
            ("run files", paths_below(Path::new("/run"))),
            ("data files", paths_below(self.data.path())),
        ] {
            traces.extend(
                text.lines()
                    .filter(|line| line.contains(&id))
                    .map(|line| format!("{what}: {line}")),
            );
        }
        traces
    }
}

/// A test that fails still gives its machines back, so that it does not disturb the next one.
impl Drop for Installation {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.asked_for.lock().unwrap());
        if !std::thread::panicking() || left.is_empty() {
            return;
        }
        let provider = Arc::clone(&self.provider);
        let release = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            for node in left {
                let released = runtime.block_on(provider.release(&node, &context()));
                eprintln!("{} after the failure: {released:?}", node.name());
            }
        });
        if release.join().is_err() {
            eprintln!("machines of the failed test were left");
        }
    }
}

/// Every path below a folder, links not followed. What belongs to other machines may go away while it is looked at, and what
/// belongs to a user (a mount of theirs under `/run/user`) may be closed.
fn paths_below(folder: &Path) -> String {
    let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => {
            let expected = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
            assert!(expected.contains(&error.kind()), "{}: {error}", folder.display());
            return String::new();
        }
    };
    let mut paths = String::new();
    for entry in entries {
        paths += &format!("{}\n", entry.path().display());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            paths += &paths_below(&entry.path());
        }
    }
    paths
}
