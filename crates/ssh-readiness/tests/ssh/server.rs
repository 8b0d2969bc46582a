//! A real `sshd` for one test, without a service and without a port to fight for: the test listens by itself and starts
//! `sshd -i` for every connection. Needs Debian's package openssh-server.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use domain_kernel::{CancelToken, NodeId};
use jobs::StepContext;
use nodes_domain::{HostKey, ManagedKeys, NodeTarget, RemoteCommand, RemoteOutput, SshAccess, SshError};
use process_exec::{CommandRunner, SystemClock, SystemRunner};
use sha2::{Digest, Sha256};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use ssh_readiness::{ManagedKeyFile, SshSessions};
use tempfile::TempDir;
use test_support::{RealClock, step_context};

const SSHD: &str = "/usr/sbin/sshd";

/// The server, a data directory with a managed key, and a target that leads from the one to the other.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) node_id: NodeId,
    pub(crate) target: NodeTarget,
    pub(crate) sessions: SshSessions,
    stop: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<Child>>>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    /// A server that accepts the managed key.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with further lines of sshd_config(5); `{folder}` in them is the site's folder.
    pub(crate) async fn start_with(settings: &str) -> Self {
        assert!(Path::new(SSHD).exists(), "this test needs the package openssh-server");
        let folder = tempfile::tempdir().unwrap();
        let key = ManagedKeyFile::new(folder.path().join("data")).key().await.unwrap();
        let host_key = new_key(&folder.path().join("host_key"));
        let config = write_config(folder.path(), settings);
        fs::write(folder.path().join("authorized_keys"), format!("{}\n", key.public_key)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = NodeTarget {
            hostname: "127.0.0.1".to_owned(),
            public_ip: None,
            ssh_port: listener.local_addr().unwrap().port(),
            ssh_user: own_user(),
            ssh_private_key_path: key.private_key_path,
            host_key,
        };
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let log = folder.path().join("sshd.log");
        let thread = std::thread::spawn({
            let (stop, accepted) = (Arc::clone(&stop), Arc::clone(&accepted));
            move || serve(&listener, &config, &log, &stop, &accepted)
        });
        Self {
            sessions: sessions(&folder.path().join("data")),
            node_id: NodeId::generate(),
            target,
            folder,
            stop,
            accepted,
            thread: Some(thread),
        }
    }

    /// Replaces the keys that the server accepts.
    pub(crate) fn accept_only(&self, public_keys: &str) {
        fs::write(self.folder.path().join("authorized_keys"), public_keys).unwrap();
    }

    /// Runs a script that may take 20 s.
    pub(crate) async fn run(&self, script: &str) -> Result<RemoteOutput, SshError> {
        self.run_command(&RemoteCommand::script(script, Duration::from_secs(20)))
            .await
    }

    pub(crate) async fn run_command(&self, command: &RemoteCommand) -> Result<RemoteOutput, SshError> {
        let (context, _) = context(Duration::from_secs(60));
        self.sessions.run(self.node_id, &self.target, command, &context).await
    }

    /// What `sshd` has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("sshd.log")).unwrap_or_default()
    }

    /// Breaks every connection from the server's side.
    pub(crate) fn drop_connections(&self) {
        for child in self.accepted.lock().unwrap().iter_mut() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(("127.0.0.1", self.target.ssh_port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.drop_connections();
        let sessions = &self.sessions;
        let reap = || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(sessions.reap_stale()).unwrap();
        };
        // A thread of its own, because this one may be a runtime's.
        std::thread::scope(|scope| scope.spawn(reap).join().unwrap());
    }
}

pub(crate) fn sessions(data_dir: &Path) -> SshSessions {
    let runner: Arc<dyn CommandRunner> = Arc::new(SystemRunner::unrecorded(Arc::new(SystemClock)));
    SshSessions::new(data_dir, runner).unwrap()
}

pub(crate) fn context(limit: Duration) -> (StepContext, CancelToken) {
    let (context, cancel, _) = step_context("test", limit, Arc::new(RealClock));
    (context, cancel)
}

/// Makes an ed25519 key at `path` and returns its public half.
pub(crate) fn new_key(path: &Path) -> HostKey {
    let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    key.write_openssh_file(path, LineEnding::LF).unwrap();
    key.public_key().to_openssh().unwrap().parse().unwrap()
}

/// The folder of control sockets of a data directory; its name is derived from the path.
pub(crate) fn control_folder(site: &Site) -> String {
    let ssh = site.folder.path().join("data/ssh").canonicalize().unwrap();
    let digest = Sha256::digest(ssh.as_os_str().as_encoded_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let base = format!("pressluft-{}/{short}/", rustix::process::geteuid().as_raw());
    let places = ["/run/", "/tmp/"].map(|place| place.to_owned() + &base);
    places.into_iter().find(|place| Path::new(place).exists()).unwrap()
}

pub(crate) fn own_user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields[2] == uid).unwrap()[0].to_owned()
}

/// Processes whose command line or title contains `text`.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).replace('\0', " ").contains(text)
    })
    .collect()
}

/// Waits until `done` says so, 10 s at most.
pub(crate) async fn eventually(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(),
        "{what}"
    );
}

fn write_config(folder: &Path, settings: &str) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        // Where `sshd` locks its unprivileged half up; made at boot where the service runs.
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let config = folder.join("sshd_config");
    let text = format!(
        "HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\nPidFile none\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
         UseDNS no\nPrintMotd no\nLogLevel VERBOSE\n{settings}\n",
        folder = folder.display(),
        settings = settings.replace("{folder}", &folder.display().to_string())
    );
    fs::write(&config, text).unwrap();
    config
}

fn serve(listener: &TcpListener, config: &Path, log: &Path, stop: &AtomicBool, accepted: &Mutex<Vec<Child>>) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let child = start_sshd(stream.unwrap(), config, log).unwrap();
        accepted.lock().unwrap().push(child);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the server is the test's counterpart and not a process of Pressluft"
)]
fn start_sshd(stream: TcpStream, config: &Path, log: &Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let input = OwnedFd::from(stream.try_clone()?);
    Command::new(SSHD)
        .args(["-i", "-e", "-f"])
        .arg(config)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(OwnedFd::from(stream)))
        .stderr(log)
        .spawn()
}
