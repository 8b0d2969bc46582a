//! The provider against real machines that the tests started themselves, by the real SSH. Needs root and what
//! `pressluft doctor` asks for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in tests a panic is the way to fail; helpers of tests are not seen as tests by clippy"
)]

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use acquisition_ssh::{KeyScan, SshConfig, SshProvider, SystemHost};
use domain_kernel::{JobErrorCode, NodeId};
use jobs::{StepContext, StepError};
use machines::RealMachine;
use nodes_domain::{
    AcquireRequest, Acquired, Capability, HostKeyScan, Instance, ManagedKey, ManagedKeys, NodeProvider, Observation,
    RemoteHost, RemoteMachine,
};
use process_exec::{CommandRunner, SystemClock, SystemRunner};
use ssh_readiness::{ManagedKeyFile, SshSessions};
use tempfile::TempDir;
use test_support::{RealClock, step_context};

const OTHER_LINE: &str =
    "# somebody's\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q me";

/// A machine that nobody has taken as a node yet, and an installation of Pressluft that may.
struct Site {
    machine: RealMachine,
    provider: SshProvider,
    scan: KeyScan,
    sessions: Arc<SshSessions>,
    key: ManagedKey,
    instance: Instance,
    _data: TempDir,
    _machines: TempDir,
}

impl Site {
    async fn start() -> Self {
        Self::start_with(SshConfig::default()).await
    }

    async fn start_with(config: SshConfig) -> Self {
        let (data, machines) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let machine = RealMachine::start(machines.path(), "deploy");
        let runner: Arc<dyn CommandRunner> = Arc::new(SystemRunner::unrecorded(Arc::new(SystemClock)));
        let keys = Arc::new(ManagedKeyFile::new(data.path()));
        let sessions = Arc::new(SshSessions::new(data.path(), runner.clone()).unwrap());
        let scan = KeyScan::new(config.clone(), runner, Arc::new(SystemHost::new([])));
        let host = RemoteHost {
            hostname: machine.address.to_string().parse().unwrap(),
            ssh_port: machine.ssh_port,
            ssh_user: machine.user.parse().unwrap(),
            public_ip: None,
            host_key_fingerprint: None,
        };
        Self {
            provider: SshProvider::new(config, sessions.clone(), keys.clone(), scan.clone()),
            key: keys.key().await.unwrap(),
            instance: Instance {
                acquired: false,
                node_id: NodeId::generate(),
                remote: Some(RemoteMachine { host, host_key: None }),
            },
            machine,
            scan,
            sessions,
            _data: data,
            _machines: machines,
        }
    }

    fn remote(&mut self) -> &mut RemoteMachine {
        self.instance.remote.as_mut().unwrap()
    }

    /// Pins the machine's key, as the store does after an acquisition.
    fn pin(&mut self) {
        self.remote().host_key = Some(self.machine.host_key.clone());
    }

    async fn acquire(&self) -> Result<Acquired, StepError> {
        let request = AcquireRequest {
            instance: self.instance.clone(),
            public_key: self.key.public_key.clone(),
            runtime: None,
        };
        self.provider.acquire(&request, &context()).await
    }

    async fn inject(&self) -> Result<(), StepError> {
        let key = &self.key.public_key;
        self.provider.inject_key(&self.instance, key, &context()).await
    }

    async fn release(&self) -> Vec<String> {
        let report = self.provider.release(&self.instance, &context()).await;
        report.unwrap().left_in_place
    }

    /// Runs the line that an operator is shown, as the login user.
    fn run_as_user(&self, line: &str) {
        let ran = self.machine.try_run(&["/bin/su", "-", "deploy", "-c", line], b"");
        assert!(ran.success(), "{}", ran.stderr_text());
    }

    /// Ends what the installation left in the background, and gives the machine back.
    async fn end(self) {
        self.sessions.reap_stale().await.unwrap();
        self.machine.release();
    }
}

fn context() -> StepContext {
    step_context("test", Duration::from_secs(60), Arc::new(RealClock)).0
}

fn failure<T: std::fmt::Debug>(result: Result<T, StepError>) -> (JobErrorCode, String) {
    match result {
        Err(StepError::Failed(failure)) => (failure.code, failure.detail),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_machine_parks_until_its_user_ran_the_shown_line_and_then_takes_the_key_twice_alike() {
    let mut site = Site::start().await;
    let capability = site.provider.capability(&context()).await.unwrap();
    assert_eq!(capability, Capability::Available);
    let acquired = site.acquire().await.unwrap();
    assert_eq!(acquired.host_key, site.machine.host_key);
    assert_eq!(acquired.public_ip, Some(site.machine.address));
    site.pin();
    assert_eq!(site.acquire().await.unwrap(), acquired);
    let seen = site.provider.observe(&site.instance, &context()).await.unwrap();
    assert_eq!(seen, Observation::Running(vec![site.machine.address]));

    site.machine.set_authorized_keys(OTHER_LINE);
    let Err(StepError::Parked { detail, .. }) = site.inject().await else {
        panic!("it does not wait for the key")
    };
    let (_, line) = detail.split_once("as deploy: ").unwrap();
    assert_eq!(site.machine.authorized_keys(), OTHER_LINE);
    site.run_as_user(line);
    for _ in 0..2 {
        site.inject().await.unwrap();
        let expected = format!("{OTHER_LINE}\n{}\n", site.key.public_key);
        assert_eq!(site.machine.authorized_keys(), expected);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_machine_that_lets_pressluft_in_by_another_line_is_given_its_own_and_release_takes_that_alone() {
    let mut site = Site::start().await;
    site.pin();
    let mode = "stat -c '%U %G %a' ~deploy/.ssh ~deploy/.ssh/authorized_keys";
    let modes = site.machine.run(mode);
    assert_eq!(modes, "deploy deploy 700\ndeploy deploy 600\n");
    let (data, _) = site.key.public_key.rsplit_once(' ').unwrap();
    let before = format!("{OTHER_LINE}\r\n{data} by hand\n# end");
    site.machine.set_authorized_keys(&before);
    site.inject().await.unwrap();
    let with_line = format!("{before}\n{}\n", site.key.public_key);
    assert_eq!(site.machine.authorized_keys(), with_line);

    let left = site.release().await;
    assert!(left[0].starts_with("another line with Pressluft's key"), "{left:?}");
    assert_eq!(site.machine.authorized_keys(), format!("{before}\n"));
    assert_eq!(site.machine.run(mode), modes);

    site.machine
        .set_authorized_keys(&format!("{OTHER_LINE}\n{}\n# end", site.key.public_key));
    let left = site.release().await;
    assert!(left[0].starts_with("the machine "), "{left:?}");
    assert_eq!(site.machine.authorized_keys(), format!("{OTHER_LINE}\n# end"));
    assert_eq!(site.machine.run("ls -A ~deploy/.ssh"), "authorized_keys\n");

    let left = site.release().await;
    assert!(left[0].contains("rejects the key already"), "{left:?}");
    assert!(site.machine.is_running());
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_machine_without_the_key_ends_the_wait_in_a_rejection_that_shows_the_line() {
    let mut site = Site::start_with(SshConfig {
        key_wait: Duration::ZERO,
        ..SshConfig::default()
    })
    .await;
    site.pin();
    let (code, detail) = failure(site.inject().await);
    assert_eq!(code, JobErrorCode::SshAuthRejected);
    assert!(detail.ends_with(&site.key.install_command()), "{detail}");
    assert_eq!(site.machine.authorized_keys(), "");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_machine_is_taken_by_the_fingerprint_of_any_of_its_keys_and_by_no_other() {
    let mut site = Site::start().await;
    site.machine.run(
        "cd /etc/ssh; for kind in ecdsa rsa; do [ -e ssh_host_${kind}_key ] || \
         ssh-keygen -q -t $kind -N '' -f ssh_host_${kind}_key; done; \
         for kind in ed25519 ecdsa rsa; do echo HostKey /etc/ssh/ssh_host_${kind}_key; done > sshd_config.d/keys.conf; \
         systemctl restart ssh",
    );
    site.machine.set_authorized_keys(&format!("{}\n", site.key.public_key));
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let printed = site
            .machine
            .run(&format!("ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub"));
        let fingerprint = printed.split(' ').nth(1).unwrap().to_owned();
        site.remote().host.host_key_fingerprint = Some(fingerprint.parse().unwrap());
        let acquired = site.acquire().await.unwrap();
        let public = site.machine.run(&format!("cat /etc/ssh/ssh_host_{kind}_key.pub"));
        assert!(
            public.starts_with(acquired.host_key.as_str()),
            "{kind}: {}",
            acquired.host_key
        );
        site.remote().host_key = Some(acquired.host_key);
        site.inject().await.unwrap();
        site.remote().host_key = None;
    }
    let name = site.machine.address.to_string().parse().unwrap();
    let (port, any) = (site.machine.ssh_port, context());
    let first = site.scan.scan(&name, port, None, &any).await.unwrap();
    assert_eq!(first.len(), 1, "it is asked no more than it has to be");
    let nobodys = format!("SHA256:{}", "B".repeat(43)).parse().unwrap();
    let shown = site.scan.scan(&name, port, Some(&nobodys), &context()).await.unwrap();
    let kinds: Vec<_> = shown
        .iter()
        .map(|key| key.as_str().split(' ').next().unwrap())
        .collect();
    assert_eq!(kinds, ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);

    let wrong = format!("SHA256:{}", "A".repeat(43));
    site.remote().host.host_key_fingerprint = Some(wrong.parse().unwrap());
    let (code, detail) = failure(site.acquire().await);
    assert_eq!(code, JobErrorCode::SshHostKeyMismatch);
    for key in &shown {
        assert!(detail.contains(key.fingerprint().unwrap().as_str()), "{detail}");
    }
    assert!(detail.contains(&wrong), "{detail}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_machine_with_a_changed_host_key_is_refused_and_given_up_without_a_login() {
    let mut site = Site::start().await;
    site.pin();
    let keys = format!("{}\n", site.key.public_key);
    site.machine.set_authorized_keys(&keys);
    site.inject().await.unwrap();
    site.machine.run(
        "cd /etc/ssh; rm ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key; \
         systemctl restart ssh",
    );
    let pinned = site.machine.host_key.fingerprint().unwrap();
    for (code, detail) in [failure(site.acquire().await), failure(site.inject().await)] {
        assert_eq!(code, JobErrorCode::SshHostKeyMismatch);
        assert!(detail.contains(pinned.as_str()), "{detail}");
    }
    let left = site.release().await;
    assert!(left[0].contains("does not show the pinned host key"), "{left:?}");
    assert_eq!(site.machine.authorized_keys(), keys);
    let (_, line) = left[0].split_once("as deploy: ").unwrap();
    site.run_as_user(line);
    assert_eq!(site.machine.authorized_keys(), "");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_machine_without_sudo_or_with_this_hosts_identity_is_refused_before_anything_is_written() {
    let mut site = Site::start().await;
    site.pin();
    let (data, _) = site.key.public_key.rsplit_once(' ').unwrap();
    let keys = format!("{data} by hand\n");
    site.machine.set_authorized_keys(&keys);
    site.machine.run("mv /etc/sudoers.d/login-user /var/tmp/");
    let (code, detail) = failure(site.inject().await);
    assert_eq!(code, JobErrorCode::NodeNotReady);
    assert!(detail.starts_with("sudo_unavailable: "), "{detail}");
    assert_eq!(site.machine.authorized_keys(), keys);
    let (_, line) = detail
        .split_once(&format!("as root on {}: ", site.machine.address))
        .unwrap();
    site.machine.run(line);

    // Both ids of this host make a machine pass for it: the kernel's own id of the boot, which is hidden from machines, and
    // the copied id of the machine.
    let own = std::fs::read_to_string("/etc/machine-id").unwrap();
    let theirs = site.machine.run("cat /etc/machine-id");
    let copy_id = |id: &str| site.machine.run(&format!("echo {} > /etc/machine-id", id.trim()));
    site.machine.run("umount /proc/sys/kernel/random/boot_id");
    copy_id(&own);
    assert_eq!(failure(site.inject().await).0, JobErrorCode::RemoteAddressRefused);
    assert_eq!(site.machine.authorized_keys(), keys);
    copy_id(&theirs);
    site.inject().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_machine_that_refuses_or_drops_connections_is_told_apart_and_does_not_hold_up_a_release() {
    let mut site = Site::start_with(SshConfig {
        connect_limit: Duration::from_secs(2),
        release_limit: Duration::from_secs(5),
        ..SshConfig::default()
    })
    .await;
    site.pin();
    let own = own_address_towards(site.machine.address);
    site.remote().host.ssh_port = 2;
    let (code, detail) = failure(site.acquire().await);
    assert_eq!(code, JobErrorCode::RemoteHostUnreachable);
    assert!(detail.contains("refused the connection"), "{detail}");
    let (code, detail) = failure(site.inject().await);
    assert_eq!(code, JobErrorCode::RemoteHostUnreachable);
    assert!(detail.contains("refused the connection"), "{detail}");

    site.remote().host.ssh_port = site.machine.ssh_port;
    site.machine.run(&format!("ip route add blackhole {own}/32"));
    let (code, detail) = failure(site.acquire().await);
    assert_eq!(code, JobErrorCode::RemoteHostUnreachable);
    assert!(detail.contains("timed out"), "{detail}");
    let seen = site.provider.observe(&site.instance, &context()).await.unwrap();
    assert!(
        matches!(&seen, Observation::Unknown(reason) if reason.contains("timed out")),
        "{seen:?}"
    );
    let left = site.release().await;
    assert!(left[0].contains("could not be reached"), "{left:?}");
    assert!(
        left[0].contains(&format!("run on {}, as deploy: ", site.machine.address)),
        "{left:?}"
    );

    site.remote().host.hostname = own.to_string().parse().unwrap();
    let (code, detail) = failure(site.acquire().await);
    assert_eq!(code, JobErrorCode::RemoteAddressRefused, "{detail}");
    site.end().await;
}

/// The address of this host that a machine sees.
fn own_address_towards(machine: IpAddr) -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((machine, 9)).unwrap();
    socket.local_addr().unwrap().ip()
}
