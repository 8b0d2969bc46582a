//! Capability, the look at the host keys, and which one is chosen.

use std::net::{IpAddr, TcpListener};

use domain_kernel::JobErrorCode;
use nodes_domain::{Capability, HostKeyScan, Instance, NodeProvider, Observation};
use process_exec::fake::ScriptedRunner;

use super::support::{ED25519, OTHER, Site, failure, key};

/// A site whose host accepts connections and shows these keys to whoever asks first, and none to who asks on.
fn showing(keys: &[&str]) -> (Site, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines: String = keys.iter().map(|key| format!("127.0.0.1 {key}\n")).collect();
    let runner = ScriptedRunner::new().answer(0, &lines, "# a banner\n");
    let mut site = Site::new(runner.answer(1, "", "").answer(1, "", ""));
    site.machine().host.ssh_port = listener.local_addr().unwrap().port();
    (site, listener)
}

#[tokio::test]
async fn np_18_a_host_without_ssh_is_told_how_to_get_it() {
    let able = Site::new(ScriptedRunner::new().answer(0, "", "OpenSSH").answer(1, "", "usage"));
    let capability = able.provider.capability(&able.context).await.unwrap();
    assert_eq!(capability, Capability::Available);
    for runner in [ScriptedRunner::new(), ScriptedRunner::new().answer(0, "", "OpenSSH")] {
        let site = Site::new(runner);
        let Capability::Unavailable(missing) = site.provider.capability(&site.context).await.unwrap() else {
            panic!("it is said to work")
        };
        assert_eq!(missing.code, JobErrorCode::LocalProviderUnavailable);
        assert!(missing.reason.contains("`ssh"), "{missing:?}");
        assert!(missing.remedy.contains("apt-get install openssh-client"), "{missing:?}");
    }
}

#[tokio::test]
async fn the_key_of_the_first_contact_is_chosen_and_shown() {
    let (site, listener) = showing(&[ED25519]);
    let acquired = site.provider.acquire(&site.request(), &site.context).await.unwrap();
    assert_eq!(acquired.host_key, key(ED25519));
    assert_eq!(
        (acquired.hostname.as_str(), acquired.ssh_user.as_str()),
        ("127.0.0.1", "deploy")
    );
    assert_eq!(acquired.public_ip, Some(IpAddr::from([127, 0, 0, 1])));
    let port = listener.local_addr().unwrap().port();
    assert_eq!(acquired.ssh_port, port);
    let fingerprint = key(ED25519).fingerprint().unwrap();
    assert!(
        site.log().contains("First contact") && site.log().contains(fingerprint.as_str()),
        "{}",
        site.log()
    );
    let commands = site.runner.commands();
    let [command] = commands.as_slice() else {
        panic!("it is asked for no other kind: {commands:?}")
    };
    let arguments: Vec<_> = command.args.iter().map(|arg| arg.to_str().unwrap()).collect();
    let port = port.to_string();
    assert_eq!(arguments, ["-T", "4", "-p", &port, "-t", "ed25519", "127.0.0.1"]);
}

#[tokio::test]
async fn a_given_address_for_sites_is_kept() {
    let (mut site, _listener) = showing(&[ED25519]);
    let given = IpAddr::from([203, 0, 113, 7]);
    site.machine().host.public_ip = Some(given);
    let acquired = site.provider.acquire(&site.request(), &site.context).await.unwrap();
    assert_eq!(acquired.public_ip, Some(given));
}

#[tokio::test]
async fn any_shown_key_may_match_the_given_fingerprint_and_that_one_is_chosen() {
    let (mut site, _listener) = showing(&[ED25519, OTHER]);
    site.machine().host.host_key_fingerprint = key(OTHER).fingerprint();
    let acquired = site.provider.acquire(&site.request(), &site.context).await.unwrap();
    assert_eq!(acquired.host_key, key(OTHER));
    assert!(!site.log().contains("First contact"), "{}", site.log());
}

#[tokio::test]
async fn a_key_that_is_neither_the_given_nor_the_pinned_one_is_refused_and_shown() {
    for pinned in [false, true] {
        let (mut site, _listener) = showing(&[ED25519]);
        if pinned {
            site.machine().host_key = Some(key(OTHER));
            // What counts is the pin.
            site.machine().host.host_key_fingerprint = key(ED25519).fingerprint();
        } else {
            site.machine().host.host_key_fingerprint = key(OTHER).fingerprint();
        }
        let (code, detail) = failure(site.provider.acquire(&site.request(), &site.context).await);
        assert_eq!(code, JobErrorCode::SshHostKeyMismatch);
        for key in [key(ED25519), key(OTHER)] {
            assert!(detail.contains(key.fingerprint().unwrap().as_str()), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_pinned_key_that_is_shown_again_is_kept_whatever_comes_first() {
    let (mut site, _listener) = showing(&[ED25519, OTHER]);
    site.machine().host_key = Some(key(OTHER));
    let acquired = site.provider.acquire(&site.request(), &site.context).await.unwrap();
    assert_eq!(acquired.host_key, key(OTHER));
}

#[tokio::test]
async fn a_server_that_shows_no_key_is_no_ssh_server() {
    let (site, _listener) = showing(&[]);
    let (code, detail) = failure(site.provider.acquire(&site.request(), &site.context).await);
    assert_eq!(code, JobErrorCode::RemoteHostUnreachable);
    assert!(detail.contains("is no SSH server"), "{detail}");
    assert!(site.log().contains("a banner"), "{}", site.log());
}

#[tokio::test]
async fn a_closed_port_is_refused_and_no_program_is_started() {
    let (site, listener) = showing(&[ED25519]);
    drop(listener);
    let (code, detail) = failure(site.provider.acquire(&site.request(), &site.context).await);
    assert_eq!(code, JobErrorCode::RemoteHostUnreachable);
    assert!(detail.contains("refused the connection"), "{detail}");
    assert!(site.runner.commands().is_empty());
    let seen = site.provider.observe(&site.instance, &site.context).await.unwrap();
    assert!(matches!(seen, Observation::Unknown(reason) if reason.contains("refused")));
}

#[tokio::test]
async fn a_host_that_accepts_connections_is_seen_to_run() {
    let (site, _listener) = showing(&[]);
    let seen = site.provider.observe(&site.instance, &site.context).await.unwrap();
    assert_eq!(seen, Observation::Running(vec![IpAddr::from([127, 0, 0, 1])]));
    assert!(site.runner.commands().is_empty() && site.ssh.ran().is_empty());
}

#[tokio::test]
async fn this_host_is_refused_under_each_of_its_names_and_addresses() {
    let site = Site::new(ScriptedRunner::new());
    for name in [
        "localhost",
        "a.localhost",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "192.0.2.1",
        "PANEL.example.test.",
    ] {
        let shown = site.scan.scan(&name.parse().unwrap(), 22, None, &site.context).await;
        let (code, detail) = failure(shown);
        assert_eq!(code, JobErrorCode::RemoteAddressRefused, "{name}");
        assert!(detail.contains(name), "{detail}");
    }
    assert!(site.runner.commands().is_empty());
}

#[tokio::test]
async fn an_instance_without_a_host_is_refused() {
    let mut site = Site::new(ScriptedRunner::new());
    site.instance = Instance::of(site.instance.node_id);
    let (code, _) = failure(site.provider.acquire(&site.request(), &site.context).await);
    assert_eq!(code, JobErrorCode::LocalConfigInvalid);
}
