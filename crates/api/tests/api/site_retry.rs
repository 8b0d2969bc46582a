//! `POST /api/jobs/{id}/retry` and `/cancel` for jobs of sites.

use domain_kernel::SiteId;
use jobs::Outcome;
use serde_json::{Value, json};
use sites_domain::{Environment, EnvironmentStatus};
use test_support::RuntimeMethod;

use crate::panel::{Answer, Panel};
use crate::site_parts::Accepted;

async fn retry(panel: &Panel, of: Accepted) -> Answer {
    panel.post(&format!("/api/jobs/{}/retry", of.job)).await
}

async fn status(panel: &Panel, path: &str) -> Value {
    panel.get(path).await.json()["status"].clone()
}

#[actix_web::test]
async fn a_site_whose_job_failed_is_made_by_the_next_one() {
    let panel = Panel::new().await;
    let node = panel.active_node().await;
    let shop = panel.failed_site("shop").await;
    let (site, environment) = (
        format!("/api/sites/{}", shop.site),
        format!("/api/environments/{}", shop.environment),
    );
    assert_eq!(status(&panel, &site).await, json!("failed"));
    assert_eq!(status(&panel, &environment).await, json!("failed"));
    let answer = retry(&panel, shop).await;
    let again = Accepted::of(&answer);
    assert_ne!(again.job, shop.job);
    assert_eq!((again.site, again.environment), (shop.site, shop.environment));
    assert_eq!(answer.json()["node_id"], json!(node));
    assert_eq!(status(&panel, &site).await, json!("creating"));
    // The old one is not the newest any more, and not again to be asked for.
    let twice = retry(&panel, shop).await;
    assert_eq!((twice.status, twice.code().as_str()), (409, "conflict"));
    assert!(twice.message().contains(&again.job.to_string()), "{}", twice.message());
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    assert_eq!(status(&panel, &site).await, json!("active"));
    let done = retry(&panel, again).await;
    assert_eq!((done.status, done.code().as_str()), (409, "conflict"));
}

#[actix_web::test]
async fn a_failed_backup_asked_for_again_is_the_same_backup() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let path = format!("/api/environments/{}/backups", shop.environment);
    let ask = panel.ask("POST", &path).json(r#"{"backup_scope":"full"}"#);
    let asked = Accepted::of(&ask.send().await);
    panel.parts.break_runtime(RuntimeMethod::StageBackup);
    assert!(matches!(panel.run_job().await, Outcome::Failed(_)));
    panel.parts.runtime.heal();
    let backup = format!("/api/backups/{}", asked.backup.unwrap());
    assert_eq!(status(&panel, &backup).await, json!("failed"));
    let again = Accepted::of(&retry(&panel, asked).await);
    assert_eq!(again.backup, asked.backup);
    assert_eq!(status(&panel, &backup).await, json!("pending"));
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    assert_eq!(status(&panel, &backup).await, json!("completed"));
}

#[actix_web::test]
async fn a_copy_is_not_made_again_while_its_source_is_not_active() {
    let panel = Panel::new().await;
    let (_, shop) = panel.node_with_site().await;
    let copy = Accepted::of(&panel.ask_staging(shop.site, shop.environment, "try-out").await);
    panel.parts.break_runtime(RuntimeMethod::Create);
    assert!(matches!(panel.run_job().await, Outcome::Failed(_)));
    panel.parts.runtime.heal();
    let source = panel.sites.find_environment(shop.environment).unwrap();
    let failed = Environment {
        status: EnvironmentStatus::Failed,
        ..source.clone()
    };
    panel.sites.put_environment(failed, "");
    let answer = retry(&panel, copy).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "environment_not_active"));
    panel.sites.put_environment(source, "");
    Accepted::of(&retry(&panel, copy).await);
}

#[actix_web::test]
async fn a_job_that_waits_is_cancelled_and_leaves_a_site_that_can_be_deleted() {
    let panel = Panel::new().await;
    panel.active_node().await;
    let shop = Accepted::of(&panel.ask_site("shop").await);
    let cancelled = panel.post(&format!("/api/jobs/{}/cancel", shop.job)).await;
    assert_eq!(cancelled.status, 202);
    assert_eq!(panel.run_job().await, Outcome::Cancelled);
    let site = format!("/api/sites/{}", shop.site);
    assert_eq!(status(&panel, &site).await, json!("failed"));
    let delete = panel.ask("DELETE", &site).json(r#"{"confirm":"shop"}"#);
    Accepted::of(&delete.send().await);
    // The creation is not asked for again once the deletion is.
    assert_eq!(retry(&panel, shop).await.code(), "conflict");
    assert_eq!(panel.run_job().await, Outcome::Succeeded);
    assert_eq!(panel.get(&site).await.status, 404);
    // Nor when there is nothing any more.
    assert_eq!(retry(&panel, shop).await.code(), "not_found");
}

#[actix_web::test]
async fn jobs_are_found_by_their_site() {
    let panel = Panel::new().await;
    let (node, shop) = panel.node_with_site().await;
    let other = panel.active_site("other").await;
    let staging = panel.active_staging(shop).await;
    let (shop_job, staging_job, other_job) = (shop.job.to_string(), staging.job.to_string(), other.job.to_string());
    for (query, ids) in [
        (format!("site_id={}", shop.site), vec![&staging_job, &shop_job]),
        (format!("site_id={}&kind=site_create", shop.site), vec![&shop_job]),
        (format!("site_id={}&node_id={node}", other.site), vec![&other_job]),
        (format!("site_id={}&status=failed", shop.site), vec![]),
        (format!("site_id={}", SiteId::generate()), vec![]),
        ("kind=env_create".into(), vec![&staging_job]),
    ] {
        let answer = panel.get(&format!("/api/jobs?{query}")).await;
        assert_eq!(answer.ids().iter().collect::<Vec<_>>(), ids, "{query}");
    }
    for query in ["site_id=x", "site_id=", "environment_id=x"] {
        assert_eq!(
            panel.get(&format!("/api/jobs?{query}")).await.code(),
            "bad_request",
            "{query}"
        );
    }
}
