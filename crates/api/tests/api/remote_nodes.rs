//! Remote nodes by `/api/nodes`, and the host keys that are pinned for them.

use domain_kernel::NodeId;
use jobs::Outcome;
use nodes_domain::{NodeChange, NodeStatus, NodeStore, NodeTarget};
use serde_json::{Value, json};
use test_support::fake_host_key;

use crate::panel::{Answer, Panel};

async fn create(panel: &Panel, body: &Value) -> Answer {
    panel.ask("POST", "/api/nodes").json(&body.to_string()).send().await
}

fn remote(hostname: &str) -> Value {
    json!({"acquisition_source": "remote", "hostname": hostname, "ssh_user": "root"})
}

#[actix_web::test]
async fn a_remote_node_is_accepted_and_shows_what_was_said_of_its_host() {
    let panel = Panel::new().await;
    let fingerprint = format!("SHA256:{}", "a".repeat(43));
    let body = json!({
        "acquisition_source": "remote", "name": "shop", "hostname": "web-1.example.test", "ssh_user": "deploy",
        "ssh_port": 65535, "public_ip": "2001:db8::7", "host_key_fingerprint": fingerprint
    });
    let answer = create(&panel, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["node_id"].as_str().unwrap().to_owned();
    let node = panel.get(&format!("/api/nodes/{id}")).await.json();
    for (field, value) in [
        ("name", json!("shop")),
        ("acquisition_source", json!("remote")),
        ("provider", json!("ssh")),
        ("is_local", json!(false)),
        ("status", json!("provisioning")),
        ("hostname", json!("web-1.example.test")),
        ("public_ip", json!("2001:db8::7")),
        ("ssh_port", json!(65535)),
        ("ssh_user", json!("deploy")),
        ("host_key_fingerprint", Value::Null),
    ] {
        assert_eq!(node[field], value, "{field}");
    }
    assert_eq!(panel.provider.calls(), [], "the local provider was asked");
    assert_eq!(panel.remote.calls(), [], "a machine was touched before the job");
}

#[actix_web::test]
async fn the_control_planes_own_host_is_a_400_and_nothing_is_written() {
    let panel = Panel::new().await;
    for hostname in ["localhost", "127.0.0.1", "::1", "198.51.100.1", "control.example.test"] {
        let answer = create(&panel, &remote(hostname)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "bad_request"),
            "{hostname}"
        );
        assert!(answer.message().starts_with("`hostname`: "), "{}", answer.message());
    }
    panel.assert_nothing_was_written();
}

#[actix_web::test]
async fn an_address_that_a_live_node_has_is_a_409() {
    let panel = Panel::new().await;
    let id = create(&panel, &remote("web-1.example.test")).await.json()["node_id"].clone();
    let answer = create(&panel, &remote("WEB-1.example.test")).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
    assert!(answer.message().contains(id.as_str().unwrap()), "{}", answer.message());
    assert_eq!(panel.nodes.all().len(), 1);
}

/// A remote node that is active under the key of `name`.
async fn active(panel: &Panel, name: &str) -> NodeId {
    let answer = create(panel, &remote("web-1.example.test")).await;
    let id: NodeId = answer.json()["node_id"].as_str().unwrap().parse().unwrap();
    let claimed = panel.claim().await;
    let target = NodeTarget {
        hostname: "web-1.example.test".to_owned(),
        public_ip: Some("192.0.2.7".parse().unwrap()),
        ssh_port: 22,
        ssh_user: "root".to_owned(),
        ssh_private_key_path: "keys/id".into(),
        host_key: fake_host_key(name),
    };
    let change = NodeChange {
        status: Some(NodeStatus::Active),
        target: Some(target),
        ..NodeChange::default()
    };
    let settled = panel.nodes.settle_job(&claimed.claim, &Outcome::Succeeded, id, change);
    settled.await.unwrap();
    id
}

#[actix_web::test]
async fn a_host_key_is_pinned_by_the_fingerprint_that_the_machine_shows() {
    let panel = Panel::new().await;
    let id = active(&panel, "old").await;
    let path = format!("/api/nodes/{id}/host-key");
    let pin = async |fingerprint: &str| {
        let body = json!({"fingerprint": fingerprint});
        panel.ask("POST", &path).json(&body.to_string()).send().await
    };
    let (old, new) = (fake_host_key("old"), fake_host_key("new"));
    let new_fingerprint = new.fingerprint().unwrap();
    let answer = pin(new_fingerprint.as_str()).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "node_unreachable"));

    panel.host_keys.show("web-1.example.test", 22, [new]);
    let answer = pin(old.fingerprint().unwrap().as_str()).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
    for text in ["MD5:00", "", "SHA256:short"] {
        assert_eq!(pin(text).await.status, 400, "{text}");
    }
    let node = panel.get(&format!("/api/nodes/{id}")).await.json();
    assert_eq!(node["host_key_fingerprint"], old.fingerprint().unwrap().as_str());

    let answer = pin(new_fingerprint.as_str()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["host_key_fingerprint"], new_fingerprint.as_str());
}

#[actix_web::test]
async fn a_local_nodes_host_key_is_not_pinned_by_hand() {
    let panel = Panel::new().await;
    let (id, _) = panel.create_node().await;
    let body = json!({"fingerprint": format!("SHA256:{}", "a".repeat(43))}).to_string();
    let answer = panel
        .ask("POST", &format!("/api/nodes/{id}/host-key"))
        .json(&body)
        .send()
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
    let answer = panel
        .ask("POST", &format!("/api/nodes/{}/host-key", NodeId::generate()))
        .json(&body)
        .send()
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
}
