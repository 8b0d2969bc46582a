//! `/api/nodes`, `/api/ssh-key`, `/api/providers`.

use domain_kernel::{JobErrorCode, NodeId};
use jobs::JobStatus;
use nodes_domain::{Capability, NodeStatus, Unavailable};
use serde_json::{Value, json};
use test_support::FakeKeys;

use crate::panel::{Answer, Panel};

const LOCAL: &str = r#"{"acquisition_source":"local"}"#;

async fn create(panel: &Panel, body: &str) -> Answer {
    panel.ask("POST", "/api/nodes").json(body).send().await
}

#[actix_web::test]
async fn a_node_is_accepted_before_any_machine_exists() {
    let panel = Panel::new().await;
    let answer = create(&panel, r#"{"acquisition_source":"local","name":"  first "}"#).await;
    assert_eq!(answer.status, 202);
    assert!(panel.provider.machines().all().is_empty() && panel.provider.calls().is_empty());
    assert_eq!(panel.signal.wakes(), 1);
    let id = answer.json()["node_id"].as_str().unwrap().to_owned();
    let node = panel.get(&format!("/api/nodes/{id}")).await.json();
    let short_id = &id.replace('-', "")[20..];
    for (field, value) in [
        ("id", json!(id)),
        ("short_id", json!(short_id)),
        ("name", json!("first")),
        ("acquisition_source", json!("local")),
        ("provider", json!("fake")),
        ("status", json!("provisioning")),
        ("is_local", json!(true)),
        ("hostname", Value::Null),
        ("public_ip", Value::Null),
        ("ssh_port", Value::Null),
        ("ssh_user", Value::Null),
        ("last_seen_at", Value::Null),
        ("created_at", json!("2030-01-01T00:00:00Z")),
        ("updated_at", json!("2030-01-01T00:00:00Z")),
        ("state_version", json!(1)),
    ] {
        assert_eq!(node[field], value, "{field}");
    }
    assert_eq!(node["readiness"]["is_ready"], json!(false));
    assert_eq!(
        node["readiness"]["reason_codes"],
        json!(["node_status_not_active", "node_host_missing"])
    );
    let job = panel
        .get(&format!("/api/jobs/{}", answer.json()["job_id"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(
        (&job["node_id"], &job["job_type"]),
        (&json!(id), &json!("node_provision"))
    );
}

#[actix_web::test]
async fn a_node_without_a_name_is_named_by_its_short_id() {
    let panel = Panel::new().await;
    let (id, _) = panel.create_node().await;
    let node = panel.get(&format!("/api/nodes/{id}")).await.json();
    assert_eq!(node["name"], json!(format!("node-{}", id.short())));
}

#[actix_web::test]
async fn a_body_that_is_no_request_for_a_node_writes_nothing() {
    let panel = Panel::new().await;
    let (long, huge) = ("x".repeat(300), "x".repeat(70_000));
    let remote =
        |more: &str| format!(r#"{{"acquisition_source":"remote","hostname":"a.test","ssh_user":"root"{more}}}"#);
    let bodies = [
        // Not JSON, or not of the shape.
        "".to_owned(),
        "{".into(),
        "null".into(),
        "[]".into(),
        "\"local\"".into(),
        "{}".into(),
        "\u{0}".into(),
        LOCAL.to_owned() + "x",
        // The source.
        r#"{"name":"a"}"#.into(),
        r#"{"acquisition_source":null}"#.into(),
        r#"{"acquisition_source":"cloud"}"#.into(),
        r#"{"acquisition_source":"Local"}"#.into(),
        r#"{"acquisition_source":"local","acquisition_source":"local"}"#.into(),
        // Fields of the other source, and unknown ones.
        r#"{"acquisition_source":"local","hostname":"a.test"}"#.into(),
        r#"{"acquisition_source":"local","ssh_user":"root","ssh_port":22}"#.into(),
        r#"{"acquisition_source":"local","provider":"nspawn"}"#.into(),
        remote(r#","provider":"ssh""#),
        // Names.
        r#"{"acquisition_source":"local","name":""}"#.into(),
        r#"{"acquisition_source":"local","name":7}"#.into(),
        format!(r#"{{"acquisition_source":"local","name":"{long}"}}"#),
        remote(&format!(r#","name":"{long}""#)),
        r#"{"acquisition_source":"local","name":"a\u0007"}"#.into(),
        // Hosts, users, ports, addresses, fingerprints.
        r#"{"acquisition_source":"remote","ssh_user":"root"}"#.into(),
        r#"{"acquisition_source":"remote","hostname":"a.test"}"#.into(),
        r#"{"acquisition_source":"remote","hostname":"","ssh_user":"root"}"#.into(),
        r#"{"acquisition_source":"remote","hostname":"a b","ssh_user":"root"}"#.into(),
        r#"{"acquisition_source":"remote","hostname":"-oProxyCommand=x","ssh_user":"root"}"#.into(),
        r#"{"acquisition_source":"remote","hostname":"a.test","ssh_user":"root; x"}"#.into(),
        remote(r#","ssh_port":0"#),
        remote(r#","ssh_port":70000"#),
        remote(r#","ssh_port":-1"#),
        remote(r#","ssh_port":"22""#),
        remote(r#","ssh_port":22.5"#),
        remote(r#","public_ip":"a.test""#),
        remote(r#","host_key_fingerprint":"MD5:00""#),
    ];
    for body in bodies {
        let answer = create(&panel, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{body}");
    }
    let too_large = create(&panel, &format!(r#"{{"acquisition_source":"local","name":"{huge}"}}"#)).await;
    assert_eq!(
        (too_large.status, too_large.code().as_str()),
        (413, "payload_too_large")
    );
    let too_large = create(&panel, &" ".repeat(2 * 1024 * 1024)).await;
    assert_eq!(too_large.json()["details"], json!({"limit_bytes": 65536}));
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonx"),
        Some(""),
    ] {
        let ask = panel.ask("POST", "/api/nodes").body(LOCAL);
        let ask = match content_type {
            Some(content_type) => ask.header("Content-Type", content_type),
            None => ask,
        };
        let answer = ask.send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (415, "unsupported_media_type"),
            "{content_type:?}"
        );
    }
    panel.assert_nothing_was_written();
}

#[actix_web::test]
async fn a_body_of_exactly_64_kib_is_read() {
    let panel = Panel::new().await;
    let padded = |length: usize| format!("{LOCAL}{}", " ".repeat(length - LOCAL.len()));
    assert_eq!(create(&panel, &padded(64 * 1024 + 1)).await.status, 413);
    assert_eq!(create(&panel, &padded(64 * 1024)).await.status, 202);
}

#[actix_web::test]
async fn json_with_a_character_set_is_json() {
    let panel = Panel::new().await;
    let ask = panel
        .ask("POST", "/api/nodes")
        .header("Content-Type", "Application/JSON; charset=utf-8");
    assert_eq!(ask.body(LOCAL).send().await.status, 202);
}

#[actix_web::test]
async fn the_same_request_with_the_same_key_is_accepted_once() {
    let panel = Panel::new().await;
    let ask = |body: &str| {
        panel
            .ask("POST", "/api/nodes")
            .header("Idempotency-Key", "k-1")
            .json(body)
    };
    let first = ask(LOCAL).send().await;
    let again = ask(LOCAL).send().await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("Idempotency-Replayed"), None);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    let other = ask(r#"{"acquisition_source":"local","name":"other"}"#).send().await;
    assert_eq!((other.status, other.code().as_str()), (409, "conflict"));
    assert_eq!(panel.nodes.all().len(), 1);
    let ask = panel
        .ask("POST", "/api/nodes")
        .header("Idempotency-Key", "k-2")
        .json(LOCAL);
    assert_eq!(ask.send().await.header("Idempotency-Replayed"), None);
    assert_eq!(panel.nodes.all().len(), 2);
}

#[actix_web::test]
async fn an_idempotency_key_is_1_to_200_visible_characters() {
    let panel = Panel::new().await;
    let longest = "k".repeat(200);
    for key in ["", "a b", "ä", &"k".repeat(201)] {
        let answer = panel
            .ask("POST", "/api/nodes")
            .header("Idempotency-Key", key)
            .json(LOCAL)
            .send()
            .await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{key:?}");
    }
    let twice = panel
        .ask("POST", "/api/nodes")
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "b")
        .json(LOCAL);
    assert_eq!(twice.send().await.status, 400);
    panel.assert_nothing_was_written();
    let answer = panel
        .ask("POST", "/api/nodes")
        .header("Idempotency-Key", &longest)
        .json(LOCAL)
        .send()
        .await;
    assert_eq!(answer.status, 202);
}

#[actix_web::test]
async fn pages_go_from_the_newest_node_to_the_oldest_without_a_gap() {
    let panel = Panel::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, panel.create_node().await.0.to_string());
    }
    assert_eq!(panel.get("/api/nodes").await.ids(), ids);
    let mut seen = Vec::new();
    let mut path = "/api/nodes?limit=2".to_owned();
    for _ in 0..3 {
        let page = panel.get(&path).await;
        seen.extend(page.ids());
        match page.json()["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/nodes?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
}

#[actix_web::test]
async fn a_query_that_is_not_valid_is_a_400() {
    let panel = Panel::new().await;
    let (id, job_id) = panel.create_node().await;
    for query in [
        "limit=0".to_owned(),
        "limit=101".into(),
        "limit=-1".into(),
        "limit=x".into(),
        "limit=".into(),
        "x=1".into(),
        "limit=1&limit=2".into(),
        "cursor=".into(),
        "cursor=x".into(),
        format!("cursor={id}"),
        format!("cursor=j1_{job_id}"),
        "include_decommissioned=yes".into(),
        "status=Active".into(),
        "status=".into(),
        "status=active&status=failed".into(),
        "attention=1".into(),
        "q=".into(),
        "q=%20".into(),
        "q=%00".into(),
        "q=a%0Ab".into(),
        format!("q={}", "x".repeat(101)),
    ] {
        let answer = panel.get(&format!("/api/nodes?{query}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{query}");
    }
    for query in ["limit=1", "limit=100", "include_decommissioned=true", ""] {
        assert_eq!(panel.get(&format!("/api/nodes?{query}")).await.status, 200, "{query}");
    }
}

#[actix_web::test]
async fn nodes_are_filtered_by_status_text_and_whether_they_need_attention() {
    let panel = Panel::new().await;
    let active = panel.active_node().await;
    let named = create(&panel, r#"{"acquisition_source":"local","name":"Shop 100%"}"#).await;
    let waiting = named.json()["node_id"].as_str().unwrap().to_owned();
    let active = active.to_string();
    for (query, found) in [
        ("status=provisioning", vec![&waiting]),
        ("status=active", vec![&active]),
        ("status=failed", vec![]),
        ("q=shop", vec![&waiting]),
        ("q=0%25", vec![&waiting]),
        ("q=_", vec![]),
        ("q=shop&status=active", vec![]),
        ("attention=false", vec![&waiting, &active]),
    ] {
        let answer = panel.get(&format!("/api/nodes?{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.ids().iter().collect::<Vec<_>>(), found, "{query}");
    }
    let mut node = panel.nodes.get(active.parse().unwrap());
    node.status = NodeStatus::Unreachable;
    panel.nodes.put(node);
    assert_eq!(panel.get("/api/nodes?attention=true").await.ids(), [active]);
}

#[actix_web::test]
async fn decommissioned_nodes_are_listed_on_request_only() {
    let panel = Panel::new().await;
    let (id, _) = panel.create_node().await;
    let mut node = panel.nodes.get(id);
    node.status = NodeStatus::Decommissioned;
    panel.nodes.put(node);
    assert!(panel.get("/api/nodes").await.ids().is_empty());
    assert!(
        panel
            .get("/api/nodes?include_decommissioned=false")
            .await
            .ids()
            .is_empty()
    );
    assert_eq!(
        panel.get("/api/nodes?include_decommissioned=true").await.ids(),
        [id.to_string()]
    );
    let by_status = panel.get("/api/nodes?status=decommissioned").await;
    assert_eq!(by_status.ids(), [id.to_string()]);
}

#[actix_web::test]
async fn a_ready_node_shows_where_it_is_and_what_was_seen() {
    let panel = Panel::new().await;
    let id = panel.active_node().await;
    let checked = panel.post(&format!("/api/nodes/{id}/readiness-check")).await;
    assert_eq!(checked.status, 200);
    assert_eq!(checked.json()["is_ready"], json!(true));
    let node = panel.get(&format!("/api/nodes/{id}")).await.json();
    assert_eq!(node["readiness"], checked.json());
    assert_eq!(node["readiness"]["reason_codes"], json!([]));
    assert!(!node["readiness"]["evidence"].as_array().unwrap().is_empty());
    assert_eq!(node["hostname"], node["public_ip"]);
    assert_eq!(
        (&node["ssh_port"], &node["last_seen_at"]),
        (&json!(22), &json!("2030-01-01T00:00:00Z"))
    );
    assert!(!node.to_string().contains("keys/id_ed25519"));
}

#[actix_web::test]
async fn a_readiness_check_says_why_a_node_is_not_ready_and_what_to_do() {
    let panel = Panel::new().await;
    let id = panel.active_node().await;
    panel.provider.machines().change(id, |machine| machine.sudo = false);
    let answer = panel.post(&format!("/api/nodes/{id}/readiness-check")).await.json();
    assert_eq!(
        (&answer["is_ready"], &answer["reason_codes"]),
        (&json!(false), &json!(["sudo_unavailable"]))
    );
    assert_eq!(answer["guidance"][0]["reason_code"], json!("sudo_unavailable"));
    assert!(answer["guidance"][0]["message"].as_str().unwrap().contains("sudoers"));
}

#[actix_web::test]
async fn an_active_node_is_provisioned_again_and_given_back() {
    let panel = Panel::new().await;
    let id = panel.active_node().await;
    let answer = panel.post(&format!("/api/nodes/{id}/provision")).await;
    assert_eq!((answer.status, &answer.json()["node_id"]), (202, &json!(id)));
    let again = panel.post(&format!("/api/nodes/{id}/provision")).await;
    assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
    assert!(again.message().contains(answer.json()["job_id"].as_str().unwrap()));
    // The job only waits, so that a delete cancels it.
    let deleted = panel.ask("DELETE", &format!("/api/nodes/{id}")).send().await;
    assert_eq!((deleted.status, &deleted.json()["node_id"]), (202, &json!(id)));
    assert_eq!(panel.nodes.get(id).status, NodeStatus::Decommissioning);
    let waiting = panel
        .jobs
        .view(answer.json()["job_id"].as_str().unwrap().parse().unwrap());
    assert_eq!(waiting.job.status, JobStatus::Cancelled);
}

#[actix_web::test]
async fn a_node_with_a_running_job_is_not_given_back() {
    let panel = Panel::new().await;
    let (id, job_id) = panel.create_node().await;
    panel.claim().await;
    let answer = panel.ask("DELETE", &format!("/api/nodes/{id}")).send().await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
    assert!(answer.message().contains(&job_id.to_string()));
}

#[actix_web::test]
async fn requests_without_a_body_take_none() {
    let panel = Panel::new().await;
    let id = panel.active_node().await;
    for (method, path) in [
        ("DELETE", format!("/api/nodes/{id}")),
        ("POST", format!("/api/nodes/{id}/provision")),
        ("POST", format!("/api/nodes/{id}/readiness-check")),
        ("POST", "/api/logout".to_owned()),
    ] {
        let answer = panel.ask(method, &path).json(r#"{"force":true}"#).send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "bad_request"),
            "{method} {path}"
        );
        let answer = panel.ask(method, &path).body(vec![b' '; 70_000]).send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (413, "payload_too_large"),
            "{method} {path}"
        );
    }
    assert_eq!(panel.nodes.get(id).status, NodeStatus::Active);
    assert_eq!(
        panel
            .ask("POST", &format!("/api/nodes/{id}/provision"))
            .json("{}")
            .send()
            .await
            .status,
        202
    );
}

#[actix_web::test]
async fn a_node_that_is_not_there_is_a_404() {
    let panel = Panel::new().await;
    let id = NodeId::generate();
    for (method, path) in [
        ("GET", format!("/api/nodes/{id}")),
        ("DELETE", format!("/api/nodes/{id}")),
        ("POST", format!("/api/nodes/{id}/provision")),
        ("POST", format!("/api/nodes/{id}/readiness-check")),
    ] {
        let answer = panel.ask(method, &path).send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "not_found"),
            "{method} {path}"
        );
    }
}

#[actix_web::test]
async fn the_ssh_key_comes_with_the_line_that_installs_it() {
    let panel = Panel::new().await;
    let key = panel.get("/api/ssh-key").await.json();
    assert_eq!(key["public_key"], json!(FakeKeys::PUBLIC_KEY));
    assert_eq!(key["fingerprint"], json!("SHA256:fake"));
    let line = key["install_command"].as_str().unwrap();
    assert!(line.contains(FakeKeys::PUBLIC_KEY) && line.contains("authorized_keys") && !line.contains('\n'));
}

#[actix_web::test]
async fn a_provider_that_cannot_work_here_says_why_and_what_to_do() {
    let panel = Panel::new().await;
    let remote = json!({"id": "ssh", "source": "remote", "available": true, "reason": null, "remedy": null});
    let working = json!([{"id": "fake", "source": "local", "available": true, "reason": null, "remedy": null}, remote]);
    assert_eq!(panel.get("/api/providers").await.json(), working);
    panel.provider.set_capability(Capability::Unavailable(Unavailable {
        code: JobErrorCode::LocalProviderUnavailable,
        reason: "`fake` is not on the PATH.".to_owned(),
        remedy: "apt-get install fake".to_owned(),
    }));
    let missing = json!([{
        "id": "fake", "source": "local", "available": false, "reason": "`fake` is not on the PATH.",
        "remedy": "apt-get install fake"
    }, remote]);
    assert_eq!(panel.get("/api/providers").await.json(), missing);
    // Whether it works is found out by the job: the request is accepted all the same.
    assert_eq!(create(&panel, LOCAL).await.status, 202);
}
