//! `/api/sites`.

use std::time::Duration;

use domain_kernel::{EnvironmentId, NodeId, SiteId};
use jobs::Outcome;
use nodes_domain::NodeStatus;
use serde_json::{Value, json};
use sites_domain::EnvironmentStatus;
use test_support::RuntimeMethod;

use crate::panel::{Answer, Panel};
use crate::site_parts::Accepted;

const SHOP: &str = r#"{"name":"A shop","slug":"shop"}"#;

async fn create(panel: &Panel, body: &str) -> Answer {
    panel.ask("POST", "/api/sites").json(body).send().await
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

#[actix_web::test]
async fn a_site_is_accepted_with_its_production_environment_before_anything_is_done() {
    let panel = Panel::new().await;
    let node = panel.active_node().await;
    let wakes = panel.signal.wakes();
    let answer = create(&panel, r#"{"name":" A shop ","slug":"shop"}"#).await;
    let accepted = Accepted::of(&answer);
    assert_eq!(answer.json()["backup_id"], Value::Null);
    assert!(panel.parts.runtime.calls().is_empty(), "the request did the work");
    assert_eq!(panel.signal.wakes(), wakes + 1);
    let site = panel.get(&format!("/api/sites/{}", accepted.site)).await.json();
    let now = json!("2030-01-01T00:00:00Z");
    assert_eq!(
        site,
        json!({
            "id": accepted.site, "short_id": accepted.site.short(), "name": "A shop", "slug": "shop", "status": "creating",
            "primary_environment_id": accepted.environment, "created_at": now, "updated_at": now, "state_version": 1
        })
    );
    let environment = panel
        .get(&format!("/api/environments/{}", accepted.environment))
        .await
        .json();
    for (field, value) in [
        ("site_id", json!(accepted.site)),
        ("slug", json!("production")),
        ("environment_type", json!("production")),
        ("status", json!("creating")),
        ("node_id", json!(node)),
        ("source_environment_id", Value::Null),
        ("wordpress_version", Value::Null),
        ("backup_schedule", Value::Null),
    ] {
        assert_eq!(environment[field], value, "{field}");
    }
    let short = accepted.environment.short().to_string();
    let url = environment["preview_url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("http://{short}.")) && url.ends_with(".sslip.io"),
        "{url}"
    );
    let job = panel.get(&format!("/api/jobs/{}", accepted.job)).await.json();
    for (field, value) in [
        ("job_type", json!("site_create")),
        ("node_id", json!(node)),
        ("site_id", json!(accepted.site)),
        ("environment_id", json!(accepted.environment)),
        ("backup_id", Value::Null),
    ] {
        assert_eq!(job[field], value, "{field}");
    }
}

#[actix_web::test]
async fn a_site_is_active_when_its_job_has_proved_its_preview() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let site = panel.get(&format!("/api/sites/{}", shop.site)).await.json();
    assert_eq!(site["status"], json!("active"));
    let environment = panel
        .get(&format!("/api/environments/{}", shop.environment))
        .await
        .json();
    assert_eq!(
        (&environment["status"], &environment["wordpress_version"]),
        (&json!("active"), &json!("6.8.1"))
    );
}

#[actix_web::test]
async fn a_body_that_is_no_request_for_a_site_writes_nothing() {
    let panel = Panel::new().await;
    let long = "x".repeat(101);
    let with = |name: &str, slug: &str| json!({"name": name, "slug": slug}).to_string();
    let bodies = [
        String::new(),
        "{".into(),
        "null".into(),
        "[]".into(),
        "{}".into(),
        r#"{"name":"A"}"#.into(),
        r#"{"slug":"a"}"#.into(),
        r#"{"name":7,"slug":"a"}"#.into(),
        r#"{"name":"A","slug":null}"#.into(),
        r#"{"name":"A","slug":"a","slug":"b"}"#.into(),
        // Unknown fields.
        r#"{"name":"A","slug":"a","admin_email":"a@example.test"}"#.into(),
        r#"{"name":"A","slug":"a","provider":"local"}"#.into(),
        // Names.
        with("", "a"),
        with("  ", "a"),
        with("a\nb", "a"),
        with("a\u{0}", "a"),
        with(&long, "a"),
        // Slugs.
        with("A", ""),
        with("A", "-a"),
        with("A", "a-"),
        with("A", "a--b"),
        with("A", "Shop"),
        with("A", "shöp"),
        with("A", "a b"),
        with("A", " a"),
        with("A", "../x"),
        with("A", "a.b"),
        with("A", "a;b"),
        with("A", &"a".repeat(64)),
        // Nodes.
        r#"{"name":"A","slug":"a","node_id":"x"}"#.into(),
        r#"{"name":"A","slug":"a","node_id":""}"#.into(),
        r#"{"name":"A","slug":"a","node_id":7}"#.into(),
    ];
    for body in bodies {
        let answer = create(&panel, &body).await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{body}");
        assert!(answer.message().ends_with('.'), "{answer:?}");
    }
    assert_eq!(create(&panel, &" ".repeat(70_000)).await.code(), "payload_too_large");
    let unlabelled = panel.ask("POST", "/api/sites").body(SHOP).send().await;
    assert_eq!(unlabelled.code(), "unsupported_media_type");
    assert!(panel.get("/api/sites").await.ids().is_empty());
    panel.assert_nothing_was_written();
}

#[actix_web::test]
async fn names_and_slugs_may_be_as_long_as_the_document_says() {
    let panel = Panel::new().await;
    panel.active_node().await;
    let (name, slug) = ("ß".repeat(100), "a".repeat(63));
    let body = json!({"name": name, "slug": slug, "node_id": null}).to_string();
    let accepted = Accepted::of(&create(&panel, &body).await);
    let site = panel.get(&format!("/api/sites/{}", accepted.site)).await.json();
    assert_eq!((&site["name"], &site["slug"]), (&json!(name), &json!(slug)));
}

#[actix_web::test]
async fn hostile_names_are_answered_as_the_text_that_they_are() {
    let panel = Panel::new().await;
    panel.active_node().await;
    let names = [
        "<script>alert(1)</script>",
        "\"; rm -rf / #",
        "$(reboot) `id` ${HOME}",
        "Robert'); DROP TABLE sites;--",
        "{{ 7 * 7 }} {% raw %}",
        "\u{202e}gnirts \u{1f600}",
    ];
    for (number, name) in names.iter().enumerate() {
        let body = json!({"name": name, "slug": format!("s{number}")}).to_string();
        let accepted = Accepted::of(&create(&panel, &body).await);
        let answer = panel.get(&format!("/api/sites/{}", accepted.site)).await;
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
        assert_eq!(answer.json()["name"], json!(name));
        let environment = panel
            .get(&format!("/api/environments/{}", accepted.environment))
            .await
            .json();
        assert_eq!(environment["name"], json!(name));
    }
}

#[actix_web::test]
async fn without_a_ready_node_no_site_is_accepted() {
    let panel = Panel::new().await;
    assert_eq!(
        refused(&create(&panel, SHOP).await),
        (409, "no_node_available".to_owned())
    );
    panel.create_node().await;
    assert_eq!(create(&panel, SHOP).await.code(), "no_node_available");
    panel.end_job(Outcome::Cancelled).await;
    let node = panel.active_node().await;
    panel
        .provider
        .machines()
        .change(node, |machine| machine.running = false);
    assert_eq!(create(&panel, SHOP).await.code(), "no_node_available");
    assert!(panel.get("/api/sites").await.ids().is_empty());
    panel.provider.machines().change(node, |machine| machine.running = true);
    assert_eq!(create(&panel, SHOP).await.status, 202);
}

#[actix_web::test]
async fn a_named_node_that_is_not_ready_is_refused_with_the_reasons() {
    let panel = Panel::new().await;
    let node = panel.active_node().await;
    let body = json!({"name": "A shop", "slug": "shop", "node_id": node}).to_string();
    panel.provider.machines().change(node, |machine| machine.sudo = false);
    let answer = create(&panel, &body).await;
    assert_eq!(refused(&answer), (409, "node_not_ready".to_owned()));
    let reasons = answer.json()["details"]["reasons"].clone();
    assert_eq!(reasons.as_array().unwrap().len(), 1, "{reasons}");
    assert_eq!(reasons[0]["reason_code"], json!("sudo_unavailable"));
    assert!(reasons[0]["message"].as_str().unwrap().contains("sudoers"), "{reasons}");

    let (young, _) = panel.create_node().await;
    let young = json!({"name": "A shop", "slug": "shop", "node_id": young}).to_string();
    let reasons = create(&panel, &young).await.json()["details"]["reasons"].clone();
    let codes: Vec<_> = reasons
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| &reason["reason_code"])
        .collect();
    assert_eq!(codes, [&json!("node_status_not_active"), &json!("node_host_missing")]);

    let unknown = json!({"name": "A shop", "slug": "shop", "node_id": NodeId::generate()}).to_string();
    assert_eq!(refused(&create(&panel, &unknown).await), (404, "not_found".to_owned()));
    assert!(panel.get("/api/sites").await.ids().is_empty());
    panel.provider.machines().change(node, |machine| machine.sudo = true);
    assert_eq!(create(&panel, &body).await.status, 202);
}

#[actix_web::test]
async fn of_two_requests_for_a_slug_the_second_is_a_conflict() {
    let panel = Panel::new().await;
    panel.active_node().await;
    let (first, second) = futures_util::future::join(create(&panel, SHOP), create(&panel, SHOP)).await;
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409]);
    let again = create(&panel, SHOP).await;
    assert_eq!(refused(&again), (409, "conflict".to_owned()));
    assert!(again.message().contains("`shop`"), "{}", again.message());
    assert_eq!(panel.get("/api/sites").await.ids().len(), 1);
    assert_eq!(panel.get("/api/jobs?kind=site_create").await.ids().len(), 1);
}

#[actix_web::test]
async fn the_same_request_for_a_site_with_the_same_key_is_accepted_once() {
    let panel = Panel::new().await;
    let node = panel.active_node().await;
    let ask = |body: &str| {
        let ask = panel.ask("POST", "/api/sites").header("Idempotency-Key", "k-1");
        ask.json(body)
    };
    let first = ask(SHOP).send().await;
    assert_eq!(first.header("Idempotency-Replayed"), None);
    // What would stand in the way of a new request does not stand in that of an answer.
    panel
        .provider
        .machines()
        .change(node, |machine| machine.running = false);
    panel.clock.advance(std::time::Duration::from_secs(60));
    let again = ask(SHOP).send().await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    let other = ask(r#"{"name":"Another","slug":"another"}"#).send().await;
    assert_eq!(refused(&other), (409, "conflict".to_owned()));
    assert!(other.message().contains("Idempotency-Key"));
    assert_eq!(panel.get("/api/sites").await.ids().len(), 1);
    let bad = panel
        .ask("POST", "/api/sites")
        .header("Idempotency-Key", "a b")
        .json(SHOP);
    assert_eq!(refused(&bad.send().await), (400, "bad_request".to_owned()));
}

#[actix_web::test]
async fn sites_are_filtered_by_status_text_node_and_missing_backup() {
    let panel = Panel::new().await;
    let node = panel.active_node().await;
    let first = Accepted::of(&panel.ask_site("corner-shop").await).site.to_string();
    let second = Accepted::of(&panel.ask_site("blog").await).site.to_string();
    for (query, found) in [
        ("status=creating".to_owned(), vec![&second, &first]),
        ("status=active".into(), vec![]),
        ("q=CORNER".into(), vec![&first]),
        ("q=%25".into(), vec![]),
        (format!("node_id={node}"), vec![&second, &first]),
        (format!("node_id={node}&q=blog"), vec![&second]),
        (format!("node_id={}", NodeId::generate()), vec![]),
        ("unsaved=false".into(), vec![&second, &first]),
    ] {
        let answer = panel.get(&format!("/api/sites?{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.ids().iter().collect::<Vec<_>>(), found, "{query}");
    }
    let id = first.parse().unwrap();
    let mut site = panel.parts.rows.find_site(id).unwrap();
    let mut environment = panel.parts.rows.find_environment(site.primary_environment_id).unwrap();
    environment.status = EnvironmentStatus::Active;
    panel.parts.rows.put_environment(environment, "");
    assert!(
        panel.get("/api/sites?unsaved=true").await.ids().is_empty(),
        "not old enough"
    );
    site.created_at = site.created_at.minus(Duration::from_secs(25 * 60 * 60));
    panel.parts.rows.put_site(site);
    assert_eq!(panel.get("/api/sites?unsaved=true").await.ids(), [first]);
}

#[actix_web::test]
async fn pages_of_sites_go_from_the_newest_to_the_oldest_without_a_gap() {
    let panel = Panel::new().await;
    panel.active_node().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let accepted = Accepted::of(&panel.ask_site(&format!("shop-{number}")).await);
        ids.insert(0, accepted.site.to_string());
    }
    assert_eq!(panel.get("/api/sites").await.ids(), ids);
    let mut seen = Vec::new();
    let mut path = "/api/sites?limit=2".to_owned();
    loop {
        let page = panel.get(&path).await;
        seen.extend(page.ids());
        match page.json()["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/sites?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    for query in [
        "limit=0".to_owned(),
        "limit=101".into(),
        "limit=x".into(),
        "cursor=x".into(),
        format!("cursor=n1_{}", ids[0]),
        format!("cursor=b1_{}", ids[0]),
        "status=dancing".into(),
        "node_id=7".into(),
        "unsaved=yes".into(),
        "q=".into(),
        "q=%00".into(),
        format!("q={}", "x".repeat(101)),
        "x=1".into(),
    ] {
        let answer = panel.get(&format!("/api/sites?{query}")).await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{query}");
    }
}

#[actix_web::test]
async fn what_lives_on_a_node_is_given_up_only_where_the_node_is_gone() {
    let panel = Panel::new().await;
    let (node, shop) = panel.node_with_site().await;
    let staging = panel.active_staging(shop).await;
    let site = format!("/api/sites/{}", shop.site);
    let environment = format!("/api/environments/{}", staging.environment);
    let delete = async |path: &str, confirm: &str, abandon: Value| {
        let body = json!({"confirm": confirm, "abandon": abandon}).to_string();
        panel.ask("DELETE", path).json(&body).send().await
    };
    for abandon in [json!("yes"), json!(null), json!(1)] {
        let answer = delete(&site, "shop", abandon.clone()).await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{abandon}");
    }
    for (path, confirm) in [(&site, "shop"), (&environment, "try-out")] {
        let answer = delete(path, confirm, json!(true)).await;
        assert_eq!(refused(&answer), (409, "conflict".to_owned()), "{path}");
        assert!(answer.message().contains("gone for good"), "{}", answer.message());
    }
    let mut lost = panel.nodes.get(node);
    lost.status = NodeStatus::Unreachable;
    panel.nodes.put(lost);
    let wrong = delete(&site, "Shop", json!(true)).await;
    assert_eq!(refused(&wrong), (400, "bad_request".to_owned()));
    for (path, confirm, kind) in [
        (&environment, "try-out", "env_abandon"),
        (&site, "shop", "site_abandon"),
    ] {
        let accepted = Accepted::of(&delete(path, confirm, json!(true)).await);
        let job = panel.get(&format!("/api/jobs/{}", accepted.job)).await.json();
        assert_eq!(job["job_type"], json!(kind));
        assert_eq!(panel.run_job().await, Outcome::Succeeded);
        assert_eq!(panel.get(path).await.status, 404);
    }
    panel.active_node().await;
    let other = panel.active_site("other").await;
    let path = format!("/api/sites/{}", other.site);
    let accepted = Accepted::of(&delete(&path, "other", json!(false)).await);
    let job = panel.get(&format!("/api/jobs/{}", accepted.job)).await.json();
    assert_eq!(job["job_type"], json!("site_delete"), "false is what it is without");
}

#[actix_web::test]
async fn a_site_is_deleted_by_who_types_its_slug() {
    let panel = Panel::new().await;
    let (node, shop) = panel.node_with_site().await;
    let path = format!("/api/sites/{}", shop.site);
    let events = panel.jobs.all_events().len();
    for confirm in ["", "shop ", "Shop", "production", "A shop"] {
        let body = json!({ "confirm": confirm }).to_string();
        let answer = panel.ask("DELETE", &path).json(&body).send().await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{confirm}");
        assert!(answer.message().contains("`shop`"), "{answer:?}");
    }
    for body in [
        "{}",
        "null",
        r#"{"confirm":"shop","force":true}"#,
        r#"{"confirm":true}"#,
    ] {
        let answer = panel.ask("DELETE", &path).json(body).send().await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{body}");
    }
    let bare = panel.ask("DELETE", &path).send().await;
    assert!(matches!(bare.status, 400 | 415), "{bare:?}");
    assert_eq!(panel.jobs.all_events().len(), events);

    let confirmed = || panel.ask("DELETE", &path).json(r#"{"confirm":"shop"}"#);
    let accepted = Accepted::of(&confirmed().send().await);
    assert_eq!((accepted.site, accepted.environment), (shop.site, shop.environment));
    assert_eq!(panel.get(&path).await.json()["status"], json!("deleting"));
    assert_eq!(refused(&confirmed().send().await), (409, "conflict".to_owned()));
    let job = panel.get(&format!("/api/jobs/{}", accepted.job)).await.json();
    assert_eq!(
        (&job["job_type"], &job["node_id"]),
        (&json!("site_delete"), &json!(node))
    );
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    assert_eq!(panel.get(&path).await.status, 404);
    assert_eq!(
        panel
            .get(&format!("/api/environments/{}", shop.environment))
            .await
            .status,
        404
    );
    // Its jobs stay, with the ids of what is gone.
    let jobs = panel.get(&format!("/api/jobs?site_id={}", shop.site)).await;
    assert_eq!(jobs.ids(), [accepted.job.to_string(), shop.job.to_string()]);
    assert_eq!(jobs.json()["items"][0]["site_id"], json!(shop.site));
    // The slug is free again.
    assert_eq!(create(&panel, SHOP).await.status, 202);
}

#[actix_web::test]
async fn a_node_with_environments_is_not_given_back() {
    let panel = Panel::new().await;
    let (node, shop) = panel.node_with_site().await;
    panel.active_staging(shop).await;
    let path = format!("/api/nodes/{node}");
    let answer = panel.ask("DELETE", &path).send().await;
    assert_eq!(refused(&answer), (409, "node_in_use".to_owned()));
    assert_eq!(answer.json()["details"], json!({"environments": 2}));
    assert_eq!(panel.nodes.get(node).status, NodeStatus::Active);
    let delete = panel.ask("DELETE", &format!("/api/sites/{}", shop.site));
    Accepted::of(&delete.json(r#"{"confirm":"shop"}"#).send().await);
    assert_eq!(panel.ask("DELETE", &path).send().await.status, 409);
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    assert_eq!(panel.ask("DELETE", &path).send().await.status, 202);
}

#[actix_web::test]
async fn only_a_failed_site_that_works_is_reset() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let reset = |site: SiteId| panel.ask("POST", &format!("/api/sites/{site}/reset")).send();
    let active = reset(shop.site).await;
    assert_eq!(refused(&active), (409, "resource_not_failed".to_owned()));
    assert!(active.message().contains("active"), "{}", active.message());

    // Its WordPress was never made.
    let broken = panel.failed_site("broken").await;
    let path = format!("/api/sites/{}", broken.site);
    let answer = reset(broken.site).await;
    assert_eq!(refused(&answer), (409, "reset_validation_failed".to_owned()));
    assert!(answer.message().contains("proof"), "{}", answer.message());
    assert_eq!(panel.get(&path).await.json()["status"], json!("failed"));

    // A deletion that failed before it removed anything.
    let delete = panel.ask("DELETE", &format!("/api/sites/{}", shop.site));
    Accepted::of(&delete.json(r#"{"confirm":"shop"}"#).send().await);
    panel.parts.break_runtime(RuntimeMethod::Delete);
    assert!(matches!(panel.run_job().await, Outcome::Failed(_)));
    assert_eq!(reset(shop.site).await.json()["status"], json!("active"));
    let environment = panel
        .get(&format!("/api/environments/{}", shop.environment))
        .await
        .json();
    assert_eq!(environment["status"], json!("active"));
    assert_eq!(panel.sites.audited().len(), 1);
}

#[actix_web::test]
async fn a_site_that_is_not_there_is_a_404() {
    let panel = Panel::new().await;
    panel.active_node().await;
    for id in [SiteId::generate().to_string(), "x".into(), "%00".into(), "..%2f".into()] {
        let staging = json!({
            "name": "A", "slug": "a", "type": "staging", "source_environment_id": EnvironmentId::generate()
        });
        let staging = staging.to_string();
        for (method, path, body) in [
            ("GET", "", None),
            ("DELETE", "", Some(r#"{"confirm":"shop"}"#)),
            ("POST", "/reset", None),
            ("GET", "/environments", None),
            ("POST", "/environments", Some(staging.as_str())),
        ] {
            let mut ask = panel.ask(method, &format!("/api/sites/{id}{path}"));
            if let Some(body) = body {
                ask = ask.json(body);
            }
            let answer = ask.send().await;
            assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{method} {id}{path}");
        }
    }
}

#[actix_web::test]
async fn requests_about_sites_without_a_body_take_none() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let backup = panel.stored_backup(shop.environment).await;
    for (method, path) in [
        ("POST", format!("/api/sites/{}/reset", shop.site)),
        ("POST", format!("/api/environments/{}/reset", shop.environment)),
        (
            "POST",
            format!("/api/environments/{}/wordpress-login", shop.environment),
        ),
        ("DELETE", format!("/api/backups/{backup}")),
    ] {
        let answer = panel.ask(method, &path).json(r#"{"force":true}"#).send().await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{method} {path}");
        let answer = panel.ask(method, &path).body(vec![b' '; 70_000]).send().await;
        assert_eq!(
            refused(&answer),
            (413, "payload_too_large".to_owned()),
            "{method} {path}"
        );
    }
    assert!(panel.sites.audited().is_empty());
}

#[actix_web::test]
async fn what_an_operator_asks_of_a_site_is_asked_for_in_their_name() {
    let panel = Panel::new().await;
    let session = panel.get("/api/session").await.json();
    let by = session["account_id"].as_str().map(|id| id.parse().unwrap());
    let (_, shop) = panel.node_with_site().await;
    let staging = panel.active_staging(shop).await;
    panel.stored_backup(shop.environment).await;
    let delete = panel.ask("DELETE", &format!("/api/sites/{}", shop.site));
    let deletion = Accepted::of(&delete.json(r#"{"confirm":"shop"}"#).send().await);
    let jobs = panel.get(&format!("/api/jobs?site_id={}", shop.site)).await.ids();
    assert_eq!(jobs.len(), 4);
    for job in jobs {
        assert_eq!(panel.jobs.view(job.parse().unwrap()).job.requested_by, by, "{job}");
    }
    assert!(by.is_some() && staging.job != deletion.job);
}

#[actix_web::test]
async fn the_numbers_count_sites() {
    let panel = Panel::new().await;
    panel.node_with_site().await;
    panel.ask_site("another").await;
    let numbers = json!({"jobs_running": 0, "jobs_queued": 1, "nodes_active": 1, "sites_total": 2});
    assert_eq!(panel.get("/api/metrics").await.json(), numbers);
    assert!(panel.get("/metrics").await.body.contains("\npressluft_sites_total 2\n"));
}
