//! Every code of the registry can be met, and none says more than it should.

use std::collections::BTreeSet;
use std::time::Duration;

use domain_kernel::{ApiErrorCode, BackupId, EnvironmentId, JobErrorCode, SiteId};
use jobs::{Failure, Outcome};

use crate::panel::{Answer, Panel};

#[actix_web::test]
async fn every_code_of_the_registry_is_met_by_some_request() {
    let panel = Panel::new().await;
    let (node_id, job_id) = panel.create_node().await;
    panel.end_job(Outcome::Cancelled).await;
    let wrong_login = r#"{"email":"a@example.test","password":"wrong"}"#;
    for _ in 0..5 {
        panel.stranger("POST", "/api/login").json(wrong_login).send().await;
    }
    let mut answers = vec![
        panel.ask("POST", "/api/nodes").json("{}").send().await,
        panel.stranger("GET", "/api/nodes").send().await,
        panel.ask("GET", "/api/nodes").host(Some("evil.test")).send().await,
        panel.get("/api/nope").await,
        panel.ask("PUT", "/api/nodes").send().await,
        panel.post(&format!("/api/jobs/{job_id}/cancel")).await,
        panel.ask("POST", "/api/nodes").json(&" ".repeat(70_000)).send().await,
        panel.ask("POST", "/api/nodes").body("{}").send().await,
        panel.stranger("POST", "/api/login").json(wrong_login).send().await,
    ];
    panel.post(&format!("/api/nodes/{node_id}/provision")).await;
    answers.push(panel.post(&format!("/api/nodes/{node_id}/provision")).await);
    let remote = r#"{"acquisition_source":"remote","hostname":"web.example.test","ssh_user":"root"}"#;
    let silent = panel.ask("POST", "/api/nodes").json(remote).send().await;
    let silent = silent.json()["node_id"].as_str().unwrap().to_owned();
    let pin = format!(r#"{{"fingerprint":"SHA256:{}"}}"#, "a".repeat(43));
    answers.push(
        panel
            .ask("POST", &format!("/api/nodes/{silent}/host-key"))
            .json(&pin)
            .send()
            .await,
    );
    answers.extend(refusals_of_sites(&panel).await);
    panel.jobs.set_failing(true);
    answers.push(panel.get("/api/nodes").await);
    let met: BTreeSet<_> = answers.iter().map(|answer| answer.code()).collect();
    let known: BTreeSet<_> = ApiErrorCode::ALL.iter().map(|code| code.to_string()).collect();
    assert_eq!(met, known);
}

/// A refusal with each code that requests for sites alone can meet.
async fn refusals_of_sites(panel: &Panel) -> Vec<Answer> {
    let mut answers = vec![panel.ask_site("early").await];
    for _ in panel.get("/api/jobs?status=queued").await.ids() {
        panel.end_job(Outcome::Cancelled).await;
    }
    let (node, shop) = panel.node_with_site().await;
    answers.push(panel.ask("DELETE", &format!("/api/nodes/{node}")).send().await);
    answers.push(panel.post(&format!("/api/sites/{}/reset", shop.site)).await);
    let version = format!("/api/environments/{}/wordpress-version", shop.environment);
    answers.push(panel.get(&version).await);
    let broken = panel.failed_site("broken").await;
    answers.push(panel.post(&format!("/api/sites/{}/reset", broken.site)).await);
    let backups = format!("/api/environments/{}/backups", broken.environment);
    answers.push(
        panel
            .ask("POST", &backups)
            .json(r#"{"backup_scope":"db"}"#)
            .send()
            .await,
    );
    panel
        .provider
        .machines()
        .change(node, |machine| machine.running = false);
    panel.clock.advance(Duration::from_secs(60));
    answers.push(panel.ask_staging(shop.site, shop.environment, "try-out").await);
    answers
}

#[actix_web::test]
async fn what_failed_inside_stays_inside() {
    let panel = Panel::new().await;
    let (id, _) = panel.create_node().await;
    panel.jobs.set_failing(true);
    let (site, environment) = (SiteId::generate(), EnvironmentId::generate());
    for (method, path) in [
        ("GET", "/api/nodes".to_owned()),
        ("GET", format!("/api/nodes/{id}")),
        ("DELETE", format!("/api/nodes/{id}")),
        ("GET", "/api/metrics".to_owned()),
        ("GET", "/metrics".to_owned()),
        ("GET", "/api/sites".to_owned()),
        ("GET", format!("/api/sites/{site}/environments")),
        ("POST", format!("/api/sites/{site}/reset")),
        ("GET", format!("/api/environments/{environment}/wordpress-version")),
        ("POST", format!("/api/environments/{environment}/wordpress-login")),
        ("GET", format!("/api/backups/{}", BackupId::generate())),
    ] {
        let answer = panel.ask(method, &path).send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (500, "internal"),
            "{method} {path}"
        );
        assert_eq!(
            answer.message(),
            "Pressluft met an error of its own. The server's log says more."
        );
    }
    let panel = Panel::new().await;
    panel.keys.fail(Failure::new(
        JobErrorCode::SshKeyGenerationFailed,
        "/var/lib/pressluft/keys is not writable",
    ));
    assert_eq!(panel.get("/api/ssh-key").await.code(), "internal");
}
