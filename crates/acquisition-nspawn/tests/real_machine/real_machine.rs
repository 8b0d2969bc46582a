//! Machines are made, found again and given back.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use acquisition_nspawn::ADMIN_USER;
use domain_kernel::JobErrorCode;
use nodes_domain::{Acquired, NodeProvider, Observation};
use rustix::process::Signal;

use crate::installation::{Installation, context};

/// How far acquire and release come before they are broken off.
const BREAKS: [Duration; 5] = [
    Duration::from_millis(40),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_millis(800),
];

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
        let request = home.request(&node, None);
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
    let request = copy.request(&node, None);
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
