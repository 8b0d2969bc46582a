//! Every code of the registry can be met, and none says more than it should.

use std::collections::BTreeSet;

use domain_kernel::{ApiErrorCode, JobErrorCode};
use jobs::{Failure, Outcome};

use crate::panel::Panel;

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
    panel.jobs.set_failing(true);
    answers.push(panel.get("/api/nodes").await);
    let met: BTreeSet<_> = answers.iter().map(|answer| answer.code()).collect();
    let known: BTreeSet<_> = ApiErrorCode::ALL.iter().map(|code| code.to_string()).collect();
    assert_eq!(met, known);
}

#[actix_web::test]
async fn what_failed_inside_stays_inside() {
    let panel = Panel::new().await;
    let (id, _) = panel.create_node().await;
    panel.jobs.set_failing(true);
    for (method, path) in [
        ("GET", "/api/nodes".to_owned()),
        ("GET", format!("/api/nodes/{id}")),
        ("DELETE", format!("/api/nodes/{id}")),
        ("GET", "/api/metrics".to_owned()),
        ("GET", "/metrics".to_owned()),
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
