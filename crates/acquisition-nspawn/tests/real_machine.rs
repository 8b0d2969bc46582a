//! Real machines on this host. Needs root and what `pressluft doctor` asks for; a host that cannot run machines fails these
//! tests with the reason and the remedy. `PRESSLUFT_TEST_CACHE_DIR` names the image cache (default: `target/test-cache`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test's helpers fail the test"
)]

mod real_machine {
    use std::fs;
    use std::net::IpAddr;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use acquisition_nspawn::{ADMIN_USER, NspawnConfig, NspawnProvider};
    use domain_kernel::{JobErrorCode, Limits, NodeId};
    use jobs::{StepContext, StepError};
    use nodes_domain::{AcquireRequest, Acquired, Capability, Instance, NodeProvider, Observation};
    use process_exec::{CommandRunner, CommandSpec, Output, SystemRunner};
    use rustix::process::{Pid, Signal, kill_process};
    use tempfile::TempDir;
    use test_support::{RealClock, step_context};

    /// How far acquire and release come before they are broken off.
    const BREAKS: [Duration; 5] = [
        Duration::from_millis(40),
        Duration::from_millis(150),
        Duration::from_millis(300),
        Duration::from_millis(500),
        Duration::from_millis(800),
    ];

    /// One installation: a data directory of its own, the shared image cache, and a key pair to log in with.
    struct Installation {
        data: TempDir,
        provider: Arc<NspawnProvider>,
        asked_for: Mutex<Vec<Instance>>,
        runner: Arc<SystemRunner>,
        public_key: String,
    }

    fn cache_dir() -> PathBuf {
        let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
        let folder = std::env::var_os("PRESSLUFT_TEST_CACHE_DIR").map_or_else(default, PathBuf::from);
        fs::create_dir_all(&folder).unwrap();
        folder.canonicalize().unwrap()
    }

    fn context() -> StepContext {
        step_context("acquire", Duration::from_secs(600), Arc::new(RealClock)).0
    }

    impl Installation {
        async fn new() -> Self {
            let data = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
            let runner = Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)));
            let config = NspawnConfig::new(data.path(), cache_dir());
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
        fn node(&self) -> Instance {
            let node = Instance::of(NodeId::generate());
            self.asked_for.lock().unwrap().push(node.clone());
            node
        }

        async fn try_run(&self, command: &[&str]) -> Output {
            let spec = CommandSpec::new(command[0]).args(&command[1..]);
            let limits = Limits {
                ..context().within(Duration::from_secs(60)).limits
            };
            self.runner.run(spec, &limits).await.unwrap()
        }

        async fn run(&self, command: &[&str]) -> String {
            let output = self.try_run(command).await;
            assert!(output.success(), "{command:?}: {}", output.stderr_text());
            output.stdout_text()
        }

        async fn acquire(&self, node: &Instance) -> Acquired {
            let request = AcquireRequest {
                instance: node.clone(),
                public_key: self.public_key.clone(),
            };
            self.provider.acquire(&request, &context()).await.unwrap()
        }

        /// The code that an acquire with other settings fails with.
        async fn acquire_fails(&self, node: &Instance, change: impl FnOnce(&mut NspawnConfig)) -> JobErrorCode {
            let mut config = NspawnConfig::new(self.data.path(), cache_dir());
            change(&mut config);
            let provider = NspawnProvider::new(config, self.runner.clone());
            let request = AcquireRequest {
                instance: node.clone(),
                public_key: self.public_key.clone(),
            };
            match provider.acquire(&request, &context()).await {
                Err(StepError::Failed(failure)) => failure.code,
                other => panic!("{other:?}"),
            }
        }

        /// Ends the machine's program behind the provider's back. TERM is a shutdown; KILL leaves what runs inside.
        async fn end(&self, node: &Instance, signal: Signal) {
            kill_process(self.machine_pid(node), signal).unwrap();
            while matches!(self.observe(node).await, Observation::Running(_)) {
                context().sleep(Duration::from_millis(20)).await.unwrap();
            }
        }

        async fn inject(&self, node: &Instance, key: &str) {
            self.provider.inject_key(node, key, &context()).await.unwrap();
        }

        async fn observe(&self, node: &Instance) -> Observation {
            self.provider.observe(node, &context()).await.unwrap()
        }

        fn folder(&self, node: &Instance) -> PathBuf {
            self.data.path().join("machines").join(node.name())
        }

        fn authorized_keys(&self, node: &Instance) -> PathBuf {
            self.folder(node).join("merged/home/pressluft/.ssh/authorized_keys")
        }

        /// The pid of the machine's program, as its start script wrote it down.
        fn machine_pid(&self, node: &Instance) -> Pid {
            let text = fs::read_to_string(self.folder(node).join("process")).unwrap();
            Pid::from_raw(text.split(' ').next().unwrap().parse().unwrap()).unwrap()
        }

        /// Logs in with the key and the pinned host key alone.
        async fn ssh(&self, acquired: &Acquired, command: &str) -> Output {
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
        async fn machines(&self, node: &Instance) -> String {
            let groups = format!(
                "find /sys/fs/cgroup -path '*{}*/cgroup.procs' -exec cat {{}} + | sort -u",
                node.name()
            );
            let count = format!("{groups} | xargs -r -n1 ps -o args= -p | grep -c '/usr/sbin/sshd -D'");
            self.run(&["sh", "-c", &count]).await.trim().to_owned()
        }

        async fn release(&self, node: &Instance) {
            self.provider.release(node, &context()).await.unwrap();
        }

        /// Looks everywhere for what bears the node's short id.
        async fn traces(&self, node: &Instance) -> Vec<String> {
            let id = node.short_id().to_string();
            let mut traces = Vec::new();
            for (what, text) in [
                ("mounts", fs::read_to_string("/proc/self/mountinfo").unwrap()),
                ("namespaces", self.run(&["ip", "netns", "list"]).await),
                ("interfaces", self.run(&["ip", "link"]).await),
                ("firewall", self.run(&["nft", "list", "ruleset"]).await),
                ("cgroups", self.run(&["find", "/sys/fs/cgroup", "-type", "d"]).await),
                ("processes", self.run(&["ps", "-eo", "args"]).await),
                (
                    "leases",
                    fs::read_to_string("/var/lib/pressluft/nspawn/addresses.json").unwrap(),
                ),
                (
                    "run files",
                    self.run(&["find", "/run", "-path", "/run/user", "-prune", "-o", "-print"])
                        .await,
                ),
                (
                    "data files",
                    self.run(&["find", &self.data.path().to_string_lossy()]).await,
                ),
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

    #[tokio::test]
    async fn two_nodes_at_once_are_two_machines_and_a_release_leaves_nothing() {
        let home = Installation::new().await;
        let (first, second) = (home.node(), home.node());
        assert_eq!(home.observe(&first).await, Observation::Absent);
        let (one, two) = tokio::join!(home.acquire(&first), home.acquire(&second));
        assert_ne!(one.hostname, two.hostname);
        assert_ne!(one.host_key, two.host_key);
        assert_eq!((one.ssh_user.as_str(), one.ssh_port), (ADMIN_USER, 22));
        let address = one.public_ip.unwrap();
        assert_eq!(home.observe(&first).await, Observation::Running(vec![address]));

        // Asked again, nothing changes: not the machine, not its key, not its address.
        let pid = home.machine_pid(&first);
        assert_eq!(home.acquire(&first).await, one);
        assert_eq!(home.machine_pid(&first), pid);

        // The key goes in once.
        assert!(!home.ssh(&one, "true").await.success());
        home.inject(&first, &home.public_key).await;
        let keys = fs::read(home.authorized_keys(&first)).unwrap();
        home.inject(&first, &home.public_key).await;
        assert_eq!(fs::read(home.authorized_keys(&first)).unwrap(), keys);
        assert_eq!(String::from_utf8(keys).unwrap(), format!("{}\n", home.public_key));
        home.inject(&second, &home.public_key).await;

        let told = home
            .ssh(&one, "sudo -n hostname && sudo -n id -u && cat /etc/machine-id")
            .await;
        assert!(told.success(), "{}", told.stderr_text());
        assert_eq!(told.stderr_text(), "");
        assert!(
            told.stdout_text().starts_with(&format!("{}\n0\n", first.name())),
            "{}",
            told.stdout_text()
        );
        assert_ne!(
            home.ssh(&two, "cat /etc/machine-id").await.stdout_text(),
            told.stdout_text()
        );

        assert_isolated(&home, &one, &two).await;

        // Stopped behind its back it is seen as stopped, and comes back as the same machine with what was on it.
        home.end(&first, Signal::TERM).await;
        assert_eq!(home.observe(&first).await, Observation::Stopped);
        assert_eq!(home.acquire(&first).await, one);
        assert_ne!(home.machine_pid(&first), pid);
        assert!(home.ssh(&one, "true").await.success());

        // The one goes without the other.
        home.release(&first).await;
        assert_eq!(home.traces(&first).await, Vec::<String>::new());
        assert_eq!(home.observe(&first).await, Observation::Absent);
        assert!(matches!(home.observe(&second).await, Observation::Running(_)));
        assert!(home.ssh(&two, "true").await.success());
        home.release(&second).await;
        home.release(&second).await;
        assert_eq!(home.traces(&second).await, Vec::<String>::new());
    }

    /// A node reaches the package archive; it reaches neither the host nor another node.
    async fn assert_isolated(home: &Installation, one: &Acquired, two: &Acquired) {
        let apt = home.ssh(one, "sudo -n apt-get update 2>&1").await;
        assert!(apt.success(), "{}", apt.stdout_text());
        let Some(IpAddr::V4(address)) = one.public_ip else {
            panic!("{one:?}")
        };
        let host_end = std::net::Ipv4Addr::from(u32::from(address) - 1);
        let listener = tokio::net::TcpListener::bind((host_end, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for (what, place, port, reached) in [
            ("itself", &one.hostname, 22, true),
            ("the host", &host_end.to_string(), port, false),
            ("another node", &two.hostname, 22, false),
        ] {
            let dial = format!("timeout 1 bash -c 'exec 3<>/dev/tcp/{place}/{port}'");
            assert_eq!(home.ssh(one, &dial).await.success(), reached, "{what}");
        }
    }

    #[tokio::test]
    async fn a_machine_comes_back_after_its_mounts_network_and_cgroups_are_gone() {
        let home = Installation::new().await;
        let node = home.node();
        let before = home.acquire(&node).await;
        home.inject(&node, &home.public_key).await;
        home.end(&node, Signal::TERM).await;
        // As after a reboot of the host: only the files are left.
        let merged = home.folder(&node).join("merged");
        let short = node.short_id();
        home.run(&["umount", &merged.to_string_lossy()]).await;
        home.run(&["ip", "netns", "delete", &node.name()]).await;
        home.run(&["nft", "delete", "table", "inet", &format!("pressluft_{short}")])
            .await;

        let after = home.acquire(&node).await;
        assert_eq!(after, before);
        assert!(home.ssh(&after, "sudo -n true").await.success());
        home.release(&node).await;
        assert_eq!(home.traces(&node).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn an_acquire_or_release_that_is_broken_off_anywhere_is_finished_by_the_next() {
        let home = Installation::new().await;
        for limit in BREAKS {
            let node = home.node();
            let request = AcquireRequest {
                instance: node.clone(),
                public_key: home.public_key.clone(),
            };
            let broken_off = tokio::time::timeout(limit, home.provider.acquire(&request, &context())).await;
            let acquired = home.acquire(&node).await;
            if let Ok(Ok(first)) = broken_off {
                assert_eq!(first, acquired);
            }
            let machines = home
                .run(&["pgrep", "-fc", &format!("^systemd-nspawn.*{}", node.name())])
                .await;
            assert_eq!(machines.trim(), "1", "after {limit:?}");
            home.inject(&node, &home.public_key).await;
            assert!(home.ssh(&acquired, "sudo -n true").await.success());

            let again = tokio::time::timeout(limit, home.provider.release(&node, &context())).await;
            assert!(!matches!(again, Ok(Err(_))), "{again:?}");
            home.release(&node).await;
            assert_eq!(home.traces(&node).await, Vec::<String>::new(), "after {limit:?}");
        }
    }

    #[tokio::test]
    async fn each_way_to_fail_has_its_code_and_the_machine_can_still_be_had() {
        let home = Installation::new().await;
        let node = home.node();
        let cache = tempfile::tempdir().unwrap();
        let killed_build = cache.path().join("images/trixie-00.partial/rootfs");
        fs::create_dir_all(&killed_build).unwrap();
        let code = home
            .acquire_fails(&node, |config| {
                config.release = Some("nosuchrelease".into());
                config.cache_dir = cache.path().into();
            })
            .await;
        assert_eq!(code, JobErrorCode::LocalImageUnavailable);
        assert!(
            !killed_build.exists(),
            "what a killed build left is removed by the next one"
        );
        let code = home
            .acquire_fails(&node, |config| config.release = Some("../x".into()))
            .await;
        assert_eq!(code, JobErrorCode::LocalConfigInvalid);
        let code = home
            .acquire_fails(&node, |config| config.boot_limit = Duration::from_millis(1))
            .await;
        assert_eq!(code, JobErrorCode::LocalAcquisitionTimeout);
        let acquired = home.acquire(&node).await;

        // A copy of the data directory does not take the machine over, nor does it take it away.
        let copy = Installation::new().await;
        let request = AcquireRequest {
            instance: node.clone(),
            public_key: copy.public_key.clone(),
        };
        let refused = copy
            .provider
            .acquire(&request, &context())
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.starts_with("LOCAL_INSTANCE_CONFLICT"), "{refused}");
        copy.release(&node).await;
        assert_eq!(copy.observe(&node).await, Observation::Absent);
        assert_eq!(home.acquire(&node).await, acquired);

        // An address that was lost comes back without a restart.
        let pid = home.machine_pid(&node);
        home.run(&["ip", "-n", &node.name(), "addr", "flush", "dev", "eth0"])
            .await;
        assert_eq!(home.acquire(&node).await, acquired);
        assert_eq!(home.machine_pid(&node), pid);

        // Processes that a killed nspawn leaves are seen, and ended before the machine is started again.
        home.end(&node, Signal::KILL).await;
        let seen = home.observe(&node).await;
        assert!(matches!(seen, Observation::Unknown(_)), "{seen:?}");
        assert_eq!(home.acquire(&node).await, acquired);
        assert_eq!(home.machines(&node).await, "1");

        // A machine that cannot boot is told from one that is slow.
        home.end(&node, Signal::TERM).await;
        let init = home.folder(&node).join("merged/usr/lib/systemd/systemd");
        fs::remove_file(&init).unwrap();
        fs::write(&init, "").unwrap();
        let code = home.acquire_fails(&node, |_| {}).await;
        assert_eq!(code, JobErrorCode::LocalAcquisitionFailed);
        home.release(&node).await;
        assert_eq!(home.traces(&node).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn an_operators_own_keys_stay_and_an_unended_line_is_ended() {
        let home = Installation::new().await;
        let node = home.node();
        home.acquire(&node).await;
        home.inject(&node, "ssh-ed25519 AAAAoperator own key").await;
        let path = home.authorized_keys(&node);
        let unended = fs::read_to_string(&path).unwrap().trim_end().to_owned() + "\n# no end";
        fs::write(&path, &unended).unwrap();
        home.inject(&node, &home.public_key).await;
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{unended}\n{}\n", home.public_key)
        );
        // A link that the machine made leads nowhere outside of it.
        let target = home.data.path().join("outside");
        fs::write(&target, "").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let refused = home.provider.inject_key(&node, &home.public_key, &context()).await;
        assert!(refused.unwrap_err().to_string().starts_with("SSH_KEY_INJECTION_FAILED"));
        assert_eq!(fs::read_to_string(&target).unwrap(), "");
        home.release(&node).await;
        assert_eq!(home.traces(&node).await, Vec::<String>::new());
    }
}
