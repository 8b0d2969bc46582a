//! `/api/jobs` and `/api/events`.

use domain_kernel::{AccountId, JobErrorCode, JobId, NodeId};
use jobs::{Failure, JobStatus, JobStore, LogStream, NewEvent, Outcome, StepStatus};
use serde_json::{Value, json};

use crate::panel::Panel;

fn failed() -> Outcome {
    let detail = "`multipass` is not on the PATH";
    Outcome::Failed(Failure::new(JobErrorCode::LocalProviderUnavailable, detail))
}

#[actix_web::test]
async fn a_waiting_job_shows_no_worker_and_no_error() {
    let panel = Panel::new().await;
    let (node_id, job_id) = panel.create_node().await;
    let job = panel.get(&format!("/api/jobs/{job_id}")).await.json();
    assert_eq!(
        job,
        json!({
            "id": job_id, "job_type": "node_provision", "status": "queued", "node_id": node_id, "site_id": null,
            "environment_id": null, "backup_id": null, "attempt_count": 1, "max_attempts": 3, "run_after": "2030-01-01T00:00:00Z",
            "locked_at": null, "locked_by": null, "cancel_requested": false, "started_at": null, "finished_at": null,
            "error_code": null, "error_message": null, "steps": [], "created_at": "2030-01-01T00:00:00Z",
            "updated_at": "2030-01-01T00:00:00Z"
        })
    );
}

#[actix_web::test]
async fn a_failed_job_shows_its_steps_its_code_and_the_sentence_with_the_remedy() {
    let panel = Panel::new().await;
    let (_, job_id) = panel.create_node().await;
    let claim = panel.claim().await.claim;
    let running = panel.get(&format!("/api/jobs/{job_id}")).await.json();
    assert_eq!(
        (&running["status"], &running["locked_by"]),
        (&json!("running"), &json!("worker-1"))
    );
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel
        .jobs
        .step_finished(&claim, "acquire", StepStatus::Failed, Some("no multipass"))
        .await
        .unwrap();
    panel.jobs.finish(&claim, &failed()).await.unwrap();
    let job = panel.get(&format!("/api/jobs/{job_id}")).await.json();
    assert_eq!(
        (&job["status"], &job["error_code"]),
        (&json!("failed"), &json!("LOCAL_PROVIDER_UNAVAILABLE"))
    );
    assert_eq!(
        job["error_message"],
        json!(
            "The local provider cannot run on this host. `multipass` is not on the PATH. Run `pressluft doctor`: it \
             names what is missing and the command that installs it."
        )
    );
    let now = json!("2030-01-01T00:00:00Z");
    let step = json!({
        "name": "acquire", "status": "failed", "attempt": 1, "started_at": now, "finished_at": now, "detail": "no multipass"
    });
    assert_eq!((&job["steps"], &job["finished_at"]), (&json!([step]), &now));
}

#[actix_web::test]
async fn jobs_are_found_by_status_kind_and_node() {
    let panel = Panel::new().await;
    let (first_node, first) = panel.create_node().await;
    let (_, second) = panel.create_node().await;
    panel.end_job(failed()).await;
    let (first, second) = (first.to_string(), second.to_string());
    for (query, ids) in [
        (String::new(), vec![&second, &first]),
        ("status=failed".into(), vec![&first]),
        ("status=queued".into(), vec![&second]),
        ("kind=node_provision".into(), vec![&second, &first]),
        ("kind=node_decommission".into(), vec![]),
        (format!("node_id={first_node}"), vec![&first]),
        (format!("node_id={first_node}&status=queued"), vec![]),
        (format!("node_id={}", NodeId::generate()), vec![]),
        ("limit=1".into(), vec![&second]),
    ] {
        let answer = panel.get(&format!("/api/jobs?{query}")).await;
        assert_eq!(answer.ids().iter().collect::<Vec<_>>(), ids, "{query}");
    }
    let cursor = panel.get("/api/jobs?limit=1").await.json()["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let last = panel.get(&format!("/api/jobs?limit=1&cursor={cursor}")).await;
    assert_eq!((last.ids(), &last.json()["next_cursor"]), (vec![first], &Value::Null));
}

#[actix_web::test]
async fn a_query_that_is_not_valid_is_a_400() {
    let panel = Panel::new().await;
    let (node_id, job_id) = panel.create_node().await;
    for path in [
        "/api/jobs?status=done".to_owned(),
        "/api/jobs?kind=x".into(),
        "/api/jobs?node_id=x".into(),
        "/api/jobs?limit=0".into(),
        format!("/api/jobs?cursor=n1_{node_id}"),
        "/api/jobs?unknown=1".into(),
        "/api/events?after=-1".into(),
        "/api/events?after=x".into(),
        "/api/events?limit=101".into(),
        "/api/events?job_id=x".into(),
        "/api/events?cursor=x".into(),
        format!("/api/jobs/{job_id}/events?job_id={job_id}"),
        format!("/api/jobs/{job_id}/events?after=-1"),
    ] {
        let answer = panel.get(&path).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{path}");
    }
}

#[actix_web::test]
async fn a_job_that_is_not_there_is_a_404() {
    let panel = Panel::new().await;
    let id = JobId::generate();
    for (method, path) in [("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/events")] {
        let answer = panel.ask(method, &format!("/api/jobs/{id}{path}")).send().await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "not_found"),
            "{method} {path}"
        );
    }
}

#[actix_web::test]
async fn a_running_job_is_asked_to_end_and_an_ended_one_is_not() {
    let panel = Panel::new().await;
    let (_, job_id) = panel.create_node().await;
    let claim = panel.claim().await.claim;
    let answer = panel.post(&format!("/api/jobs/{job_id}/cancel")).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"job_id": job_id})));
    assert_eq!(panel.signal.cancelled(), [job_id]);
    assert_eq!(
        panel.get(&format!("/api/jobs/{job_id}")).await.json()["cancel_requested"],
        json!(true)
    );
    panel.jobs.finish(&claim, &Outcome::Cancelled).await.unwrap();
    let answer = panel.post(&format!("/api/jobs/{job_id}/cancel")).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "job_not_cancellable"));
}

#[actix_web::test]
async fn a_failed_job_is_asked_for_again_as_a_new_one() {
    let panel = Panel::new().await;
    let (node_id, job_id) = panel.create_node().await;
    let early = panel.post(&format!("/api/jobs/{job_id}/retry")).await;
    assert_eq!((early.status, early.code().as_str()), (409, "conflict"));
    panel.end_job(failed()).await;
    let answer = panel.post(&format!("/api/jobs/{job_id}/retry")).await;
    assert_eq!((answer.status, &answer.json()["node_id"]), (202, &json!(node_id)));
    let new: JobId = answer.json()["job_id"].as_str().unwrap().parse().unwrap();
    assert_ne!(new, job_id);
    assert_eq!(panel.jobs.view(new).job.status, JobStatus::Queued);
    assert_eq!(panel.jobs.view(job_id).job.status, JobStatus::Failed);
}

#[actix_web::test]
async fn events_are_read_on_from_the_last_one_seen() {
    let panel = Panel::new().await;
    let (node_id, job_id) = panel.create_node().await;
    let (_, other) = panel.create_node().await;
    let claim = panel.claim().await.claim;
    panel
        .jobs
        .append(&claim, NewEvent::log("acquire", LogStream::Stdout, "hello"))
        .await
        .unwrap();
    let all = panel.get("/api/events").await.json();
    let seqs: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert_eq!(all["next_after"], json!(4));
    assert_eq!(
        all["items"][3],
        json!({
            "seq": 4, "job_id": job_id, "node_id": node_id, "at": "2030-01-01T00:00:00Z", "kind": "log",
            "data": {"step": "acquire", "stream": "stdout", "line": "hello"}
        })
    );
    let first = panel.get("/api/events?limit=3").await.json();
    assert_eq!(first["next_after"], json!(3));
    assert_eq!(
        panel.get("/api/events?after=3").await.json()["items"],
        json!([all["items"][3]])
    );
    assert_eq!(
        panel.get("/api/events?after=4").await.json(),
        json!({"items": [], "next_after": 4})
    );
    let of_job = panel.get(&format!("/api/jobs/{job_id}/events")).await;
    assert_eq!(
        of_job.body,
        panel.get(&format!("/api/events?job_id={job_id}")).await.body
    );
    assert_eq!(of_job.json()["items"].as_array().unwrap().len(), 3);
    let of_other = panel.get(&format!("/api/jobs/{other}/events")).await.json();
    assert_eq!(of_other["items"], json!([all["items"][1]]));
}

#[actix_web::test]
async fn what_an_operator_asks_for_is_asked_for_in_their_name() {
    let panel = Panel::new().await;
    let session = panel.get("/api/session").await.json();
    let by = session["account_id"]
        .as_str()
        .map(|id| id.parse::<AccountId>().unwrap());
    let (node_id, first) = panel.create_node().await;
    assert_eq!(panel.post(&format!("/api/jobs/{first}/cancel")).await.status, 202);
    assert_eq!(panel.jobs.cancelled_by(first), by);
    panel.end_job(Outcome::Cancelled).await;

    let mut asked = vec![first];
    for (method, path) in [
        ("POST", format!("/api/jobs/{first}/retry")),
        ("POST", format!("/api/nodes/{node_id}/provision")),
        ("DELETE", format!("/api/nodes/{node_id}")),
    ] {
        let accepted = panel.ask(method, &path).send().await;
        assert_eq!(accepted.status, 202, "{path}: {}", accepted.body);
        let job_id: JobId = accepted.json()["job_id"].as_str().unwrap().parse().unwrap();
        asked.push(job_id);
        panel.end_job(failed()).await;
    }
    for job_id in asked {
        assert_eq!(panel.jobs.view(job_id).job.requested_by, by);
    }
    assert!(by.is_some());
}
