//! `/api/sites/{id}/environments` and `/api/environments`.

use accounts_domain::{SealedSecret, SecretBox};
use domain_kernel::EnvironmentId;
use jobs::Outcome;
use nodes_domain::RemoteOutput;
use serde_json::{Value, json};
use sites_domain::{EnvironmentSecrets, PreviewError, SiteStore};
use test_support::{FakeSecretBox, RuntimeMethod};

use crate::panel::{Answer, Panel};
use crate::site_parts::Accepted;

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

/// From now on WP-CLI ends so where a script holds `part`.
fn wp_cli_answers(panel: &Panel, part: &'static str, exit_status: i32, stdout: &'static str, stderr: &'static str) {
    panel.ssh.answer(move |_, command| {
        command.script.contains(part).then(|| RemoteOutput {
            exit_status: Some(exit_status),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        })
    });
}

async fn environment(panel: &Panel, id: EnvironmentId) -> Value {
    panel.get(&format!("/api/environments/{id}")).await.json()
}

#[actix_web::test]
async fn a_copy_is_accepted_on_the_node_of_its_source_and_made_by_a_job() {
    let panel = Panel::new().await;
    let (node, shop) = panel.node_with_site().await;
    let body = json!({
        "name": "Try-out", "slug": "try-out", "type": "staging", "source_environment_id": shop.environment,
        "promotion_preset": "commerce-protect"
    });
    let path = format!("/api/sites/{}/environments", shop.site);
    let answer = panel.ask("POST", &path).json(&body.to_string()).send().await;
    let accepted = Accepted::of(&answer);
    assert_eq!((accepted.site, accepted.backup), (shop.site, None));
    let copy = environment(&panel, accepted.environment).await;
    for (field, value) in [
        ("name", json!("Try-out")),
        ("slug", json!("try-out")),
        ("environment_type", json!("staging")),
        ("status", json!("cloning")),
        ("node_id", json!(node)),
        ("source_environment_id", json!(shop.environment)),
        ("promotion_preset", json!("commerce-protect")),
    ] {
        assert_eq!(copy[field], value, "{field}");
    }
    assert_eq!(
        panel.get(&format!("/api/sites/{}", shop.site)).await.json()["status"],
        json!("cloning")
    );
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    assert_eq!(
        environment(&panel, accepted.environment).await["status"],
        json!("active")
    );
    // The production environment first; all on one page.
    let list = panel.get(&path).await;
    assert_eq!(
        list.ids(),
        [shop.environment.to_string(), accepted.environment.to_string()]
    );
    assert_eq!(list.json()["next_cursor"], Value::Null);
    let job = panel.get(&format!("/api/jobs/{}", accepted.job)).await.json();
    assert_eq!(
        (&job["job_type"], &job["environment_id"]),
        (&json!("env_create"), &json!(accepted.environment))
    );
}

#[actix_web::test]
async fn a_body_that_is_no_request_for_a_copy_writes_nothing() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let other = panel.active_site("other").await;
    let path = format!("/api/sites/{}/environments", shop.site);
    let events = panel.jobs.all_events().len();
    let good = json!({"name": "A", "slug": "a", "type": "clone", "source_environment_id": shop.environment});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body.to_string()
    };
    let bodies = [
        "{}".to_owned(),
        without("name"),
        without("slug"),
        without("type"),
        without("source_environment_id"),
        with("name", json!("")),
        with("name", json!("a\u{7}")),
        with("slug", json!("A")),
        with("slug", json!("a--b")),
        with("type", json!("production")),
        with("type", json!("Staging")),
        with("type", json!("")),
        with("type", Value::Null),
        with("source_environment_id", json!("x")),
        with("source_environment_id", json!(other.environment)),
        with("source_environment_id", json!(EnvironmentId::generate())),
        with("promotion_preset", json!("everything")),
        with("promotion_preset", json!(["content-protect"])),
        with("environment_type", json!("clone")),
        with("node_id", json!(shop.site)),
    ];
    for body in bodies {
        let answer = panel.ask("POST", &path).json(&body).send().await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{body}");
    }
    assert_eq!(panel.jobs.all_events().len(), events);
    assert_eq!(panel.get(&path).await.ids(), [shop.environment.to_string()]);
    let answer = panel.ask("POST", &path).json(&good.to_string()).send().await;
    assert_eq!(answer.status, 202);
}

#[actix_web::test]
async fn a_copy_of_what_is_not_there_yet_or_on_a_node_that_is_not_ready_is_refused() {
    let panel = Panel::new().await;
    let node = panel.active_node().await;
    let shop = Accepted::of(&panel.ask_site("shop").await);
    let ask = || panel.ask_staging(shop.site, shop.environment, "try-out");
    let early = ask().await;
    assert_eq!(refused(&early), (409, "environment_not_active".to_owned()));
    assert!(early.message().contains("creating"), "{}", early.message());
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    panel.clock.advance(std::time::Duration::from_secs(60));
    panel
        .provider
        .machines()
        .change(node, |machine| machine.provisioned = false);
    let answer = ask().await;
    assert_eq!(refused(&answer), (409, "node_not_ready".to_owned()));
    assert_eq!(
        answer.json()["details"]["reasons"][0]["reason_code"],
        json!("runtime_missing")
    );
    panel
        .provider
        .machines()
        .change(node, |machine| machine.provisioned = true);
    assert_eq!(ask().await.status, 202);
    // While the first copy is made, the site is busy.
    let busy = panel.ask_staging(shop.site, shop.environment, "second").await;
    assert_eq!(refused(&busy), (409, "conflict".to_owned()));
    assert!(busy.message().contains("cloning"), "{}", busy.message());
}

#[actix_web::test]
async fn a_slug_is_free_once_in_a_site_and_again_in_another() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let other = panel.active_site("other").await;
    panel.active_staging(shop).await;
    for slug in ["try-out", "production"] {
        let answer = panel.ask_staging(shop.site, shop.environment, slug).await;
        assert_eq!(refused(&answer), (409, "conflict".to_owned()), "{slug}");
        assert!(answer.message().contains(slug), "{}", answer.message());
    }
    assert_eq!(
        panel.ask_staging(other.site, other.environment, "try-out").await.status,
        202
    );
}

#[actix_web::test]
async fn the_same_request_for_a_copy_with_the_same_key_is_accepted_once() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let path = format!("/api/sites/{}/environments", shop.site);
    let ask = |slug: &str| {
        let body = json!({"name": "A", "slug": slug, "type": "clone", "source_environment_id": shop.environment});
        let ask = panel.ask("POST", &path).header("Idempotency-Key", "k-1");
        ask.json(&body.to_string())
    };
    let first = ask("a").send().await;
    // The site is cloning, which refuses every new copy.
    let again = ask("a").send().await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("Idempotency-Replayed"), None);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    let other = ask("b").send().await;
    assert_eq!(refused(&other), (409, "conflict".to_owned()));
    assert!(other.message().contains("Idempotency-Key"), "{}", other.message());
    assert_eq!(panel.get(&path).await.ids().len(), 2);
}

#[actix_web::test]
async fn a_copy_is_deleted_by_its_slug_and_production_goes_with_its_site_alone() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let staging = panel.active_staging(shop).await;
    let delete = |id: EnvironmentId, confirm: &str| {
        let body = json!({ "confirm": confirm }).to_string();
        panel
            .ask("DELETE", &format!("/api/environments/{id}"))
            .json(&body)
            .send()
    };
    for confirm in ["", "shop", "TRY-OUT", "production"] {
        let answer = delete(staging.environment, confirm).await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{confirm}");
    }
    let production = delete(shop.environment, "production").await;
    assert_eq!(refused(&production), (409, "conflict".to_owned()));
    assert!(production.message().contains("site"), "{}", production.message());
    let accepted = Accepted::of(&delete(staging.environment, "try-out").await);
    assert_eq!((accepted.site, accepted.environment), (shop.site, staging.environment));
    assert_eq!(
        refused(&delete(staging.environment, "try-out").await),
        (409, "conflict".to_owned())
    );
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    let path = format!("/api/environments/{}", staging.environment);
    assert_eq!(panel.get(&path).await.status, 404);
    assert_eq!(environment(&panel, shop.environment).await["status"], json!("active"));
}

#[actix_web::test]
async fn only_a_failed_environment_that_works_is_reset() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let reset = async |id: EnvironmentId| panel.post(&format!("/api/environments/{id}/reset")).await;
    assert_eq!(
        refused(&reset(shop.environment).await),
        (409, "resource_not_failed".to_owned())
    );
    let staging = panel.active_staging(shop).await;
    let failed = staging.environment;
    let delete = panel.ask("DELETE", &format!("/api/environments/{failed}"));
    Accepted::of(&delete.json(r#"{"confirm":"try-out"}"#).send().await);
    panel.parts.break_runtime(RuntimeMethod::Delete);
    assert!(matches!(panel.run_job().await, Outcome::Failed(_)));

    // What does not work is found by one check after the other.
    panel.parts.preview.always(Some(PreviewError::NoProof));
    let silent = reset(failed).await;
    assert_eq!(refused(&silent), (409, "reset_validation_failed".to_owned()));
    assert!(silent.message().contains("`try-out`") && silent.message().contains("proof"));
    panel.parts.preview.always(None);
    wp_cli_answers(&panel, "core is-installed", 10, "", "Error: not installed");
    let answer = reset(failed).await;
    assert_eq!(refused(&answer), (409, "reset_validation_failed".to_owned()));
    assert!(answer.message().contains("is-installed"), "{}", answer.message());
    wp_cli_answers(&panel, "core is-installed", 11, "", "");
    assert!(reset(failed).await.message().contains("query"));
    wp_cli_answers(&panel, "core is-installed", 0, "", "");
    let works = reset(failed).await;
    assert_eq!((works.status, &works.json()["status"]), (200, &json!("active")));
    assert_eq!(refused(&reset(failed).await), (409, "resource_not_failed".to_owned()));
}

#[actix_web::test]
async fn the_version_is_what_wordpress_says_now() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let path = format!("/api/environments/{}/wordpress-version", shop.environment);
    wp_cli_answers(&panel, "core version", 0, "6.9.2\n", "");
    assert_eq!(panel.get(&path).await.json(), json!({"wordpress_version": "6.9.2"}));
    assert_eq!(
        environment(&panel, shop.environment).await["wordpress_version"],
        json!("6.9.2")
    );
    for (exit_status, stdout, stderr) in [
        (1, "", "Error: the database does not answer\nat /var/www"),
        (124, "", ""),
        (0, "<b>6.9.2</b>", ""),
        (0, "", ""),
    ] {
        wp_cli_answers(&panel, "core version", exit_status, stdout, stderr);
        let answer = panel.get(&path).await;
        assert_eq!(
            refused(&answer),
            (502, "wp_cli_error".to_owned()),
            "{exit_status} {stdout}"
        );
        assert!(!answer.message().contains("<b>"), "{}", answer.message());
    }
    assert_eq!(
        environment(&panel, shop.environment).await["wordpress_version"],
        json!("6.9.2")
    );
}

#[actix_web::test]
async fn a_machine_that_does_not_answer_is_a_502_that_says_so() {
    let panel = Panel::new().await;
    let (node, shop) = panel.node_with_site().await;
    let path = format!("/api/environments/{}/wordpress-version", shop.environment);
    panel
        .provider
        .machines()
        .change(node, |machine| machine.running = false);
    let answer = panel.get(&path).await;
    assert_eq!(refused(&answer), (502, "node_unreachable".to_owned()));
    assert!(answer.message().contains("does not answer"), "{}", answer.message());
}

#[actix_web::test]
async fn the_wordpress_login_is_shown_on_request_alone_and_noted() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let staging = panel.active_staging(shop).await;
    let session = panel.get("/api/session").await.json();
    let path = format!("/api/environments/{}/wordpress-login", shop.environment);
    assert_eq!(panel.ask("GET", &path).send().await.status, 405);
    assert!(panel.sites.audited().is_empty());
    let answer = panel.post(&path).await;
    let login = answer.json();
    let cache: Vec<_> = answer.headers.get_all("Cache-Control").collect();
    assert_eq!(cache, ["no-store"]);
    let preview = environment(&panel, shop.environment).await["preview_url"].clone();
    assert_eq!(
        login["url"],
        json!(format!("{}/wp-login.php", preview.as_str().unwrap()))
    );
    assert_eq!(login["user"], json!("admin"));
    let audited = panel.sites.audited();
    let (action, id, by) = &audited[0];
    assert_eq!(audited.len(), 1);
    assert_eq!(
        (action.as_str(), id),
        ("environment.login_shown", &shop.environment.to_string())
    );
    assert_eq!(json!(by), session["account_id"]);
    // A copy's users are its source's.
    let of_copy = format!("/api/environments/{}/wordpress-login", staging.environment);
    assert_eq!(panel.post(&of_copy).await.json()["password"], login["password"]);
    assert_eq!(panel.stranger("POST", &path).send().await.status, 401);
    assert_eq!(panel.sites.audited().len(), 2);
}

#[actix_web::test]
async fn no_other_answer_holds_a_secret() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    panel.active_staging(shop).await;
    let backup = panel.stored_backup(shop.environment).await;
    let sealed = panel.sites.sealed_secrets(shop.environment).await.unwrap().unwrap();
    let sealed = SealedSecret::from_stored(sealed);
    let plain = FakeSecretBox
        .open(&sealed, &EnvironmentSecrets::row(shop.environment))
        .unwrap();
    let secrets: Value = serde_json::from_str(plain.expose()).unwrap();
    let mut texts = Vec::new();
    for (name, value) in secrets.as_object().unwrap() {
        match value {
            Value::Object(salts) => texts.extend(salts.values().filter_map(Value::as_str)),
            Value::String(text) if !name.starts_with("admin_") || name == "admin_password" => texts.push(text),
            _ => {}
        }
    }
    assert_eq!(texts.len(), 12);
    let mut told = String::new();
    for path in [
        "/api/sites".to_owned(),
        format!("/api/sites/{}", shop.site),
        format!("/api/sites/{}/environments", shop.site),
        format!("/api/environments/{}", shop.environment),
        format!("/api/environments/{}/backups", shop.environment),
        format!("/api/backups/{backup}"),
        "/api/jobs".to_owned(),
        format!("/api/jobs/{}", shop.job),
        "/api/events?limit=100".to_owned(),
        "/api/nodes".to_owned(),
    ] {
        let answer = panel.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        told += &answer.body;
    }
    for text in texts {
        assert!(!told.contains(text), "{text} is told");
    }
    let login = panel
        .post(&format!("/api/environments/{}/wordpress-login", shop.environment))
        .await;
    assert_eq!(login.json()["password"], secrets["admin_password"]);
    for name in ["database_password", "redis_password", "proof_secret"] {
        assert!(!login.body.contains(secrets[name].as_str().unwrap()), "{name}");
    }
}

#[actix_web::test]
async fn an_environment_that_is_not_there_is_a_404() {
    let panel = Panel::new().await;
    for id in [EnvironmentId::generate().to_string(), "x".into(), "%ff".into()] {
        for (method, path, body) in [
            ("GET", "", None),
            ("DELETE", "", Some(r#"{"confirm":"a"}"#)),
            ("POST", "/reset", None),
            ("GET", "/wordpress-version", None),
            ("POST", "/wordpress-login", None),
            ("GET", "/backups", None),
            ("POST", "/backups", Some(r#"{"backup_scope":"db"}"#)),
            ("PUT", "/backup-schedule", Some(r#"{"schedule":null}"#)),
            (
                "POST",
                "/restore",
                Some(r#"{"backup_id":"01970000-0000-7000-8000-0000000000ba"}"#),
            ),
        ] {
            let mut ask = panel.ask(method, &format!("/api/environments/{id}{path}"));
            if let Some(body) = body {
                ask = ask.json(body);
            }
            let answer = ask.send().await;
            assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{method} {id}{path}");
            assert!(answer.message().contains("environment"), "{}", answer.message());
        }
    }
}
