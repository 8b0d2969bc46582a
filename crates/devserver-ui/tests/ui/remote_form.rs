//! The form that asks for a remote node.

use domain_kernel::JobErrorCode;
use jobs::Failure;
use nodes_domain::{AcquisitionSource, Capability, Unavailable};
use test_support::{FakeKeys, fake_host_key};

use crate::panel::{Answer, Panel, escaped, key_line};

/// A form with every field, as the page sends it.
fn form(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("acquisition_source", "remote"),
        ("hostname", "web-1.example.test"),
        ("ssh_port", "2222"),
        ("ssh_user", "deploy"),
        ("name", "shop"),
        ("public_ip", ""),
        ("host_key_fingerprint", ""),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    fields.join("&")
}

/// The tag of the input with this id.
#[track_caller]
fn input<'a>(page: &'a Answer, id: &str) -> &'a str {
    let (_, rest) = page.body.split_once(&format!("<input id=\"{id}\"")).unwrap();
    rest.split('>').next().unwrap()
}

#[tokio::test]
async fn a_remote_node_is_created_from_what_was_said_of_its_host() {
    let panel = Panel::new().await;
    let fingerprint = fake_host_key("x").fingerprint().unwrap();
    let encoded = fingerprint.as_str().replace('+', "%2B");
    let full = form(&[
        ("hostname", "+web-1.example.test+"),
        ("public_ip", "192.0.2.7"),
        ("host_key_fingerprint", &encoded),
    ]);
    assert_eq!(panel.post("/nodes", &full).await.location(), "/nodes");
    let short = "acquisition_source=remote&hostname=2001:db8::1&ssh_user=root";
    assert_eq!(panel.post("/nodes", short).await.location(), "/nodes");

    let nodes = panel.nodes.all();
    assert!(nodes.iter().all(|node| node.source == AcquisitionSource::Remote));
    assert!(nodes.iter().all(|node| node.provider.as_str() == "ssh"));
    let hosts: Vec<_> = nodes.iter().filter_map(|node| node.remote.clone()).collect();
    assert_eq!(nodes[0].name.as_str(), "shop");
    assert_eq!(hosts[0].hostname.as_str(), "web-1.example.test");
    assert_eq!((hosts[0].ssh_port, hosts[0].ssh_user.as_str()), (2222, "deploy"));
    assert_eq!(hosts[0].public_ip, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(hosts[0].host_key_fingerprint, Some(fingerprint));
    assert!(nodes[1].name.as_str().starts_with("node-"));
    assert_eq!((hosts[1].ssh_port, hosts[1].public_ip), (22, None));
}

#[tokio::test]
async fn a_remote_form_that_is_sent_twice_makes_one_node_and_a_changed_one_another() {
    let panel = Panel::new().await;
    let page = panel.get("/nodes").await;
    let key = page.value_of("name=\"form_key\" value=\"").to_owned();
    let sent = form(&[("form_key", &key)]);
    for _ in 0..2 {
        assert_eq!(panel.post("/nodes", &sent).await.location(), "/nodes");
    }
    assert_eq!(panel.nodes.all().len(), 1);
    for (count, change) in [("hostname", "web-2.example.test"), ("hostname", "web-3.example.test")]
        .into_iter()
        .enumerate()
    {
        let sent = form(&[("form_key", &key), change]);
        assert_eq!(panel.post("/nodes", &sent).await.location(), "/nodes");
        assert_eq!(panel.nodes.all().len(), count + 2);
    }
    // Every field counts: the same host with another one is another request, which meets the node that is there.
    for change in [
        ("ssh_port", "23"),
        ("ssh_user", "root"),
        ("name", "other"),
        ("public_ip", "192.0.2.8"),
        (
            "host_key_fingerprint",
            "SHA256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
    ] {
        let answer = panel.post("/nodes", &form(&[("form_key", &key), change])).await;
        assert_eq!(answer.status, 409, "{change:?}");
        assert!(answer.text_of("class=\"alert\"").contains("The node"), "{change:?}");
        answer.assert_has(&["is at this address already. One machine is one node."]);
        assert!(input(&answer, "remote-hostname").contains("value=\"web-1.example.test\""));
    }
    assert_eq!(panel.nodes.all().len(), 3);
}

#[tokio::test]
async fn each_wrong_field_is_told_where_it_is_and_what_was_typed_stays() {
    let panel = Panel::new().await;
    let wrong = [
        (
            "hostname",
            "remote-hostname",
            "a;b",
            "Expected a host name or an IP address.",
        ),
        (
            "hostname",
            "remote-hostname",
            "",
            "Expected a host name or an IP address.",
        ),
        ("ssh_port", "remote-ssh-port", "0", "Expected a number from 1 to 65535."),
        (
            "ssh_port",
            "remote-ssh-port",
            "70000",
            "Expected a number from 1 to 65535.",
        ),
        (
            "ssh_port",
            "remote-ssh-port",
            "ssh",
            "Expected a number from 1 to 65535.",
        ),
        (
            "ssh_user",
            "remote-ssh-user",
            "Root",
            "Expected a login name: 1 to 32 characters",
        ),
        (
            "ssh_user",
            "remote-ssh-user",
            "",
            "Expected a login name: 1 to 32 characters",
        ),
        (
            "name",
            "remote-name",
            "%07",
            "A node&#39;s name has 1 to 100 characters",
        ),
        (
            "public_ip",
            "remote-public-ip",
            "web",
            "Expected an IPv4 or IPv6 address.",
        ),
        ("host_key_fingerprint", "remote-fingerprint", "MD5:aa", "Expected"),
    ];
    for (field, id, typed, error) in wrong {
        let answer = panel.post("/nodes", &form(&[(field, typed)])).await;
        assert_eq!(answer.status, 400, "{field}");
        assert!(
            answer.text_of(&format!("id=\"{id}-error\"")).starts_with(error),
            "{field}"
        );
        let tag = input(&answer, id);
        assert!(tag.contains("aria-invalid=\"true\""), "{tag}");
        assert!(tag.contains(&format!("aria-describedby=\"{id}-error")), "{tag}");
        assert!(tag.contains(" autofocus"), "{tag}");
        assert_eq!(answer.body.matches(" autofocus").count(), 1, "{field}");
        assert_eq!(answer.body.matches("aria-invalid").count(), 1, "{field}");
        if !typed.contains('%') {
            assert!(tag.contains(&format!("value=\"{typed}\"")), "{tag}");
        }
        for (kept, id, value) in [
            ("hostname", "remote-hostname", "web-1.example.test"),
            ("ssh_port", "remote-ssh-port", "2222"),
            ("ssh_user", "remote-ssh-user", "deploy"),
            ("name", "remote-name", "shop"),
        ] {
            let is_kept = input(&answer, id).contains(&format!("value=\"{value}\""));
            assert!(is_kept || kept == field, "{kept} after {field}");
        }
        // The other form is as it was.
        assert!(input(&answer, "name").contains("value=\"\""));
    }
    let all = form(&[("hostname", ""), ("ssh_user", "Root"), ("ssh_port", "0")]);
    let answer = panel.post("/nodes", &all).await;
    assert_eq!(answer.body.matches("aria-invalid").count(), 3);
    assert!(input(&answer, "remote-hostname").contains(" autofocus"));
    assert_eq!(answer.body.matches(" autofocus").count(), 1);
    assert!(panel.nodes.all().is_empty());
}

#[tokio::test]
async fn an_address_of_the_control_plane_is_refused_above_the_form_that_keeps_it() {
    let panel = Panel::new().await;
    for name in ["127.0.0.1", "localhost", "198.51.100.1", "control.example.test"] {
        let answer = panel.post("/nodes", &form(&[("hostname", name)])).await;
        assert_eq!(answer.status, 400, "{name}");
        answer.assert_has(&[&format!(
            "role=\"alert\" data-kept><code>hostname</code>: {name} cannot be a node: it is a"
        )]);
        assert!(input(&answer, "remote-hostname").contains(&format!("value=\"{name}\"")));
    }
    assert!(panel.nodes.all().is_empty());
    assert!(panel.remote.calls().is_empty() || panel.remote.calls().iter().all(|(_, node)| node.is_none()));
}

#[tokio::test]
async fn the_card_shows_the_key_and_the_one_line_that_installs_it() {
    let panel = Panel::new().await;
    let page = panel.get("/nodes").await;
    let line = escaped(&key_line().await);
    page.assert_has(&[
        &format!(">{line}</pre>"),
        &format!(">{}</pre>", FakeKeys::PUBLIC_KEY),
        "SHA256:fake",
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        "aria-describedby=\"remote-what\">Create Remote Node",
    ]);
    assert!(input(&page, "remote-ssh-port").contains("value=\"22\""));
}

#[tokio::test]
async fn a_key_that_cannot_be_made_is_told_with_its_remedy_and_the_form_still_works() {
    let panel = Panel::new().await;
    let code = JobErrorCode::SshKeyGenerationFailed;
    panel.keys.fail(Failure::new(code, "/secret/place is full"));
    let page = panel.get("/nodes").await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        code.as_str(),
        &escaped(code.summary()),
        "Check the owner and free space of the data directory&#39;s <code>keys</code> folder, then provision the node again.",
        "aria-describedby=\"remote-what\">Create Remote Node",
    ]);
    assert!(!page.has("/secret/place") && !page.has("authorized_keys; the node"));
    assert_eq!(panel.post("/nodes", &form(&[])).await.location(), "/nodes");
    assert_eq!(panel.get("/nodes").await.status, 200);
}

#[tokio::test]
async fn a_server_without_a_remote_provider_says_so_and_makes_nothing() {
    let panel = Panel::without_remote().await;
    let page = panel.get("/nodes").await;
    page.assert_has(&[
        "Not possible on this host now.</strong> This server was built without a provider of remote nodes.",
        "aria-describedby=\"remote-obstacle\" aria-disabled=\"true\">Create Remote Node",
        "aria-describedby=\"local-what\">Create Local Node",
    ]);
    assert!(input(&page, "remote-hostname").contains(" disabled"));
    assert!(!input(&page, "name").contains(" disabled"));
    let answer = panel.post("/nodes", &form(&[])).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text_of("class=\"alert\""),
        "This server was built without a provider of remote nodes."
    );
    assert!(panel.nodes.all().is_empty());
}

#[tokio::test]
async fn a_remote_provider_that_cannot_work_says_why_and_leaves_local_nodes_alone() {
    let panel = Panel::new().await;
    panel.remote.set_capability(Capability::Unavailable(Unavailable {
        code: JobErrorCode::LocalConfigInvalid,
        reason: "`ssh` is not on the PATH".to_owned(),
        remedy: "install `openssh-client`".to_owned(),
    }));
    panel.get("/nodes").await.assert_has(&[
        "<code>ssh</code> is not on the PATH.",
        "Install <code>openssh-client</code>.",
        "aria-describedby=\"remote-obstacle\" aria-disabled=\"true\">Create Remote Node",
        "aria-describedby=\"local-what\">Create Local Node",
    ]);
}
