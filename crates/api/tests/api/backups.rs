//! Backups, their schedules, and restores.

use domain_kernel::{BackupId, EnvironmentId};
use jobs::Outcome;
use serde_json::{Value, json};
use sites_domain::BackupStatus;
use test_support::RuntimeMethod;

use crate::panel::{Answer, Panel};
use crate::site_parts::Accepted;

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

async fn ask_backup(panel: &Panel, id: EnvironmentId, body: &str) -> Answer {
    let path = format!("/api/environments/{id}/backups");
    panel.ask("POST", &path).json(body).send().await
}

async fn restore(panel: &Panel, id: EnvironmentId, backup: BackupId) -> Answer {
    let body = json!({ "backup_id": backup }).to_string();
    let path = format!("/api/environments/{id}/restore");
    panel.ask("POST", &path).json(&body).send().await
}

async fn schedule(panel: &Panel, id: EnvironmentId, body: &str) -> Answer {
    let path = format!("/api/environments/{id}/backup-schedule");
    panel.ask("PUT", &path).json(body).send().await
}

#[actix_web::test]
async fn a_backup_is_pending_until_its_job_has_stored_it_and_says_then_what_is_stored() {
    let panel = Panel::new().await;
    let (node, shop) = panel.node_with_site().await;
    let answer = ask_backup(&panel, shop.environment, r#"{"backup_scope":"db","retention_days":30}"#).await;
    let accepted = Accepted::of(&answer);
    let id = accepted.backup.unwrap();
    assert_eq!((accepted.site, accepted.environment), (shop.site, shop.environment));
    let path = format!("/api/backups/{id}");
    let pending = panel.get(&path).await.json();
    assert_eq!(
        pending,
        json!({
            "id": id, "environment_id": shop.environment, "backup_scope": "db", "status": "pending", "trigger": "manual",
            "storage_type": null, "storage_path": null, "checksum": null, "size_bytes": null,
            "retention_until": "2030-01-31T00:00:00Z", "created_at": "2030-01-01T00:00:00Z", "completed_at": null
        })
    );
    let job = panel.get(&format!("/api/jobs/{}", accepted.job)).await.json();
    assert_eq!(
        (&job["job_type"], &job["backup_id"], &job["node_id"], &job["site_id"]),
        (&json!("backup_create"), &json!(id), &json!(node), &json!(shop.site))
    );
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    let stored = panel.get(&path).await.json();
    assert_eq!(
        (&stored["status"], &stored["storage_type"], &stored["completed_at"]),
        (&json!("completed"), &json!("local"), &json!("2030-01-01T00:00:00Z"))
    );
    assert_eq!(stored["checksum"].as_str().unwrap().len(), 64);
    assert!(stored["size_bytes"].as_u64().unwrap() > 0);
    assert!(!stored["storage_path"].as_str().unwrap().starts_with('/'));
    // A backup leaves its environment and its site as they are.
    let environment = panel
        .get(&format!("/api/environments/{}", shop.environment))
        .await
        .json();
    assert_eq!(environment["status"], json!("active"));
}

#[actix_web::test]
async fn a_body_that_is_no_request_for_a_backup_writes_nothing() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let events = panel.jobs.all_events().len();
    for body in [
        "",
        "{}",
        "null",
        r#"{"backup_scope":"all"}"#,
        r#"{"backup_scope":"DB"}"#,
        r#"{"backup_scope":""}"#,
        r#"{"backup_scope":null}"#,
        r#"{"backup_scope":["db"]}"#,
        r#"{"backup_scope":"db","retention_days":0}"#,
        r#"{"backup_scope":"db","retention_days":3651}"#,
        r#"{"backup_scope":"db","retention_days":-1}"#,
        r#"{"backup_scope":"db","retention_days":1.5}"#,
        r#"{"backup_scope":"db","retention_days":"7"}"#,
        r#"{"backup_scope":"db","retention_days":4294967296}"#,
        r#"{"backup_scope":"db","trigger":"scheduled"}"#,
        r#"{"scope":"db"}"#,
    ] {
        let answer = ask_backup(&panel, shop.environment, body).await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{body}");
    }
    assert_eq!(panel.jobs.all_events().len(), events);
    assert!(panel.sites.all_backups().is_empty());
    for days in ["1", "3650", "null"] {
        let body = format!(r#"{{"backup_scope":"files","retention_days":{days}}}"#);
        assert_eq!(ask_backup(&panel, shop.environment, &body).await.status, 202, "{days}");
    }
}

#[actix_web::test]
async fn only_an_active_environment_is_backed_up() {
    let panel = Panel::new().await;
    panel.active_node().await;
    let shop = Accepted::of(&panel.ask_site("shop").await);
    let answer = ask_backup(&panel, shop.environment, r#"{"backup_scope":"full"}"#).await;
    assert_eq!(refused(&answer), (409, "environment_not_active".to_owned()));
    assert!(answer.message().contains("creating"), "{}", answer.message());
    assert!(panel.sites.all_backups().is_empty());
}

#[actix_web::test]
async fn the_same_request_for_a_backup_with_the_same_key_is_accepted_once() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let path = format!("/api/environments/{}/backups", shop.environment);
    let ask = |body: &str| {
        let ask = panel.ask("POST", &path).header("Idempotency-Key", "k-1");
        ask.json(body)
    };
    let body = r#"{"backup_scope":"full"}"#;
    let first = ask(body).send().await;
    let again = ask(body).send().await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    // The deletion that was asked for meanwhile refuses new backups, not the old answer.
    let delete = panel.ask("DELETE", &format!("/api/sites/{}", shop.site));
    Accepted::of(&delete.json(r#"{"confirm":"shop"}"#).send().await);
    assert_eq!(ask(body).send().await.body, first.body);
    let other = ask(r#"{"backup_scope":"db"}"#).send().await;
    assert_eq!(refused(&other), (409, "conflict".to_owned()));
    assert!(other.message().contains("Idempotency-Key"), "{}", other.message());
    assert_eq!(panel.sites.all_backups().len(), 1);
}

#[actix_web::test]
async fn backups_are_listed_from_the_newest_and_of_their_own_environment_alone() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let other = panel.active_site("other").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, panel.stored_backup(shop.environment).await.to_string());
    }
    let of_other = panel.stored_backup(other.environment).await.to_string();
    let path = format!("/api/environments/{}/backups", shop.environment);
    assert_eq!(panel.get(&path).await.ids(), ids);
    let first = panel.get(&format!("{path}?limit=2")).await;
    assert_eq!(first.ids(), ids[..2]);
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let last = panel.get(&format!("{path}?limit=2&cursor={cursor}")).await;
    assert_eq!(
        (last.ids(), &last.json()["next_cursor"]),
        (ids[2..].to_vec(), &Value::Null)
    );
    let list = panel
        .get(&format!("/api/environments/{}/backups", other.environment))
        .await;
    assert_eq!(list.ids(), [of_other]);
    for query in ["limit=0".to_owned(), "x=1".into(), format!("cursor=s1_{}", ids[0])] {
        let answer = panel.get(&format!("{path}?{query}")).await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{query}");
    }
}

#[actix_web::test]
async fn a_backup_is_given_up_once_and_never_before_its_job_has_ended() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let asked = Accepted::of(&ask_backup(&panel, shop.environment, r#"{"backup_scope":"db"}"#).await);
    let path = format!("/api/backups/{}", asked.backup.unwrap());
    let early = panel.ask("DELETE", &path).send().await;
    assert_eq!(refused(&early), (409, "conflict".to_owned()));
    assert!(early.message().contains("pending"), "{}", early.message());
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    let with_body = panel.ask("DELETE", &path).json(r#"{"confirm":"shop"}"#).send().await;
    assert_eq!(refused(&with_body), (400, "bad_request".to_owned()));
    let expired = panel.ask("DELETE", &path).send().await;
    assert_eq!((expired.status, &expired.json()["status"]), (200, &json!("expired")));
    assert_eq!(panel.get(&path).await.body, expired.body);
    assert_eq!(
        refused(&panel.ask("DELETE", &path).send().await),
        (409, "conflict".to_owned())
    );
    let audited = panel.sites.audited();
    assert_eq!(audited.len(), 1);
    assert_eq!(audited[0].0.as_str(), "backup.expired");
    let gone = restore(&panel, shop.environment, asked.backup.unwrap()).await;
    assert_eq!(refused(&gone), (409, "conflict".to_owned()));
}

#[actix_web::test]
async fn a_backup_that_is_not_there_is_a_404() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    for id in [BackupId::generate().to_string(), "x".into(), "%00".into()] {
        for method in ["GET", "DELETE"] {
            let answer = panel.ask(method, &format!("/api/backups/{id}")).send().await;
            assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{method} {id}");
            assert!(answer.message().contains("backup"), "{}", answer.message());
        }
    }
    let answer = restore(&panel, shop.environment, BackupId::generate()).await;
    assert_eq!(refused(&answer), (404, "not_found".to_owned()));
}

#[actix_web::test]
async fn a_schedule_is_set_shown_and_ended() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let wanted = json!({"every_hours": 24, "keep_days": 14, "backup_scope": "full"});
    let set = schedule(&panel, shop.environment, &json!({ "schedule": wanted }).to_string()).await;
    assert_eq!((set.status, &set.json()["backup_schedule"]), (200, &wanted));
    let shown = panel.get(&format!("/api/environments/{}", shop.environment)).await;
    assert_eq!(shown.body, set.body);
    let ended = schedule(&panel, shop.environment, r#"{"schedule":null}"#).await;
    assert_eq!((ended.status, &ended.json()["backup_schedule"]), (200, &Value::Null));
    let actions: Vec<_> = panel
        .sites
        .audited()
        .iter()
        .map(|(action, ..)| action.as_str())
        .collect();
    assert_eq!(actions, ["environment.backup_scheduled"; 2]);
}

#[actix_web::test]
async fn what_is_no_schedule_changes_nothing() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let path = format!("/api/environments/{}", shop.environment);
    let before = panel.get(&path).await.body;
    let with = |every: i64, keep: i64, scope: &str| {
        json!({"schedule": {"every_hours": every, "keep_days": keep, "backup_scope": scope}}).to_string()
    };
    for body in [
        "{}".to_owned(),
        "null".into(),
        r#"{"schedule":{}}"#.into(),
        r#"{"schedule":"daily"}"#.into(),
        r#"{"schedule":{"every_hours":24,"keep_days":14}}"#.into(),
        r#"{"schedule":{"every_hours":24,"keep_days":14,"backup_scope":"full","at":"03:00"}}"#.into(),
        r#"{"schedule":null,"now":true}"#.into(),
        with(0, 14, "full"),
        with(721, 14, "full"),
        with(-1, 14, "full"),
        with(24, 0, "full"),
        with(24, 3651, "full"),
        with(24, 14, "everything"),
    ] {
        let answer = schedule(&panel, shop.environment, &body).await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{body}");
    }
    assert_eq!(panel.get(&path).await.body, before);
    for (every, keep) in [(1, 1), (720, 3650)] {
        let answer = schedule(&panel, shop.environment, &with(every, keep, "db")).await;
        assert_eq!(answer.status, 200, "{every} {keep}");
    }
}

#[actix_web::test]
async fn a_restore_is_accepted_for_a_completed_backup_and_keeps_what_was_there_as_a_checkpoint() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let backup = panel.stored_backup(shop.environment).await;
    let accepted = Accepted::of(&restore(&panel, shop.environment, backup).await);
    assert_eq!(accepted.backup, Some(backup));
    let environment = format!("/api/environments/{}", shop.environment);
    assert_eq!(panel.get(&environment).await.json()["status"], json!("restoring"));
    let job = panel.get(&format!("/api/jobs/{}", accepted.job)).await.json();
    assert_eq!(
        (&job["job_type"], &job["backup_id"]),
        (&json!("env_restore"), &json!(backup))
    );
    // While it goes on, nothing else is begun, and its backup is not given up.
    assert_eq!(
        refused(&restore(&panel, shop.environment, backup).await),
        (409, "conflict".to_owned())
    );
    let given_up = panel.ask("DELETE", &format!("/api/backups/{backup}")).send().await;
    assert_eq!(refused(&given_up), (409, "conflict".to_owned()));
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    assert_eq!(panel.get(&environment).await.json()["status"], json!("active"));
    let list = panel.get(&format!("{environment}/backups")).await.json();
    let newest = &list["items"][0];
    assert_eq!(
        (&newest["trigger"], &newest["backup_scope"], &newest["status"]),
        (&json!("checkpoint"), &json!("full"), &json!("completed"))
    );
}

#[actix_web::test]
async fn only_a_completed_backup_of_the_environment_itself_is_restored() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let other = panel.active_site("other").await;
    let of_other = panel.stored_backup(other.environment).await;
    let foreign = restore(&panel, shop.environment, of_other).await;
    assert_eq!(refused(&foreign), (400, "bad_request".to_owned()));
    assert!(
        foreign.message().contains("another environment"),
        "{}",
        foreign.message()
    );
    let asked = Accepted::of(&ask_backup(&panel, shop.environment, r#"{"backup_scope":"db"}"#).await);
    let backup = asked.backup.unwrap();
    let pending = restore(&panel, shop.environment, backup).await;
    assert_eq!(refused(&pending), (409, "conflict".to_owned()));
    assert!(pending.message().contains("pending"), "{}", pending.message());
    panel.parts.break_runtime(RuntimeMethod::StageBackup);
    assert!(matches!(panel.run_job().await, Outcome::Failed(_)));
    assert_eq!(panel.sites.all_backups()[1].status, BackupStatus::Failed);
    assert_eq!(
        refused(&restore(&panel, shop.environment, backup).await),
        (409, "conflict".to_owned())
    );
    let path = format!("/api/environments/{}/restore", shop.environment);
    for body in [
        "{}",
        r#"{"backup_id":"x"}"#,
        r#"{"backup_id":null}"#,
        r#"{"backup_id":7}"#,
        r#"{"backup_id":"01970000-0000-7000-8000-0000000000ba","force":true}"#,
    ] {
        let answer = panel.ask("POST", &path).json(body).send().await;
        assert_eq!(refused(&answer), (400, "bad_request".to_owned()), "{body}");
    }
    assert_eq!(panel.get("/api/jobs?kind=env_restore").await.ids().len(), 0);
}
