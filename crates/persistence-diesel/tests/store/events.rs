//! Events and their sequence.

use jobs::{Event, EventFilter, EventKind, JobCatalog, JobStore, LogStream, NewEvent, Outcome, Recover, StepStatus};
use serde_json::{Value, json};

use crate::support::{SECOND, TestDatabase, failure, store_tests};

async fn events(db: &TestDatabase, after: i64, limit: u32) -> Vec<Event> {
    db.store
        .events(&EventFilter {
            after,
            job_id: None,
            limit,
        })
        .await
        .unwrap()
}

fn told(events: &[Event]) -> Vec<(EventKind, Value)> {
    events.iter().map(|event| (event.kind, event.data.clone())).collect()
}

store_tests! {
    async fn a_job_tells_its_story_in_order(db) {
        let (node_id, claim) = db.running_job().await;
        db.store.step_started(&claim, 0, "acquire").await.unwrap();
        db.store.append(&claim, NewEvent::log("acquire", LogStream::Stdout, "hello")).await.unwrap();
        db.store.step_detail(&claim, "acquire", "waits").await.unwrap();
        db.store.step_finished(&claim, "acquire", StepStatus::Failed, Some("no answer")).await.unwrap();
        let run_after = db.now().plus(SECOND);
        db.store.finish(&claim, &Outcome::Retry { failure: failure("no answer"), run_after }).await.unwrap();
        let story = events(&db, 0, 100).await;
        assert_eq!(told(&story), [
            (EventKind::Status, json!({"status": "queued", "attempt": 1})),
            (EventKind::Status, json!({"node_status": "provisioning"})),
            (EventKind::Status, json!({"status": "running", "attempt": 1})),
            (EventKind::Step, json!({"step": "acquire", "status": "started", "attempt": 1})),
            (EventKind::Log, json!({"step": "acquire", "stream": "stdout", "line": "hello"})),
            (EventKind::Step, json!({"step": "acquire", "status": "started", "attempt": 1, "detail": "waits"})),
            (EventKind::Step, json!({"step": "acquire", "status": "failed", "attempt": 1, "detail": "no answer"})),
            (EventKind::Status, json!({
                "status": "queued", "attempt": 2, "error_code": "NODE_NOT_READY",
                "run_after": run_after.to_string(),
            })),
        ]);
        assert!(story.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        assert!(story.iter().all(|event| event.job_id == Some(claim.job_id) && event.node_id == Some(node_id)));
        assert!(story.iter().all(|event| event.at == db.now()));
    }

    async fn a_lost_worker_and_a_cancel_are_told(db) {
        let (_, claim) = db.running_job().await;
        let seen = events(&db, 0, 100).await.last().unwrap().seq;
        db.store.recover(Recover::All).await.unwrap();
        db.store.request_cancel(claim.job_id, None).await.unwrap();
        db.store.request_cancel(claim.job_id, None).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        db.store.finish(&claim, &Outcome::Cancelled).await.unwrap();
        assert_eq!(told(&events(&db, seen, 100).await), [
            (EventKind::Status, json!({"status": "queued", "attempt": 1, "lost_workers": 1})),
            (EventKind::Status, json!({"status": "queued", "attempt": 1, "cancel_requested": true})),
            (EventKind::Status, json!({"status": "running", "attempt": 1})),
            (EventKind::Status, json!({"status": "cancelled", "attempt": 1})),
        ]);
    }

    async fn a_reader_that_goes_on_after_the_last_event_misses_none_and_sees_none_twice(db) {
        let (_, first) = db.running_job().await;
        let (_, second) = db.running_job().await;
        for number in 0..10 {
            let claim = if number % 2 == 0 { &first } else { &second };
            db.store.append(claim, NewEvent::log("s", LogStream::Stdout, &number.to_string())).await.unwrap();
        }
        let whole = events(&db, 0, 100).await;
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let page = events(&db, after, 3).await;
            let Some(last) = page.last() else { break };
            after = last.seq;
            seen.extend(page);
        }
        assert_eq!(seen, whole);
        let filter = EventFilter { after: 0, job_id: Some(second.job_id), limit: 100 };
        let of_second = db.store.events(&filter).await.unwrap();
        let expected: Vec<_> = whole.into_iter().filter(|event| event.job_id == Some(second.job_id)).collect();
        assert_eq!(of_second, expected);
    }

    async fn a_number_of_the_sequence_is_never_given_twice(db) {
        let (_, claim) = db.running_job().await;
        db.store.append(&claim, NewEvent::log("s", LogStream::Stdout, "one")).await.unwrap();
        let last = events(&db, 0, 100).await.last().unwrap().seq;
        db.execute("DELETE FROM events");
        db.store.append(&claim, NewEvent::log("s", LogStream::Stdout, "two")).await.unwrap();
        let after = events(&db, last, 100).await;
        assert_eq!(after.len(), 1);
        assert!(after[0].seq > last);
    }

    async fn text_of_every_kind_is_kept_as_it_is(db) {
        let (_, claim) = db.running_job().await;
        let line = "it's \"ä\" \\ \u{1F600} $1 ? -- ;";
        db.store.append(&claim, NewEvent::log("s", LogStream::Stdout, line)).await.unwrap();
        assert_eq!(events(&db, 0, 100).await.last().unwrap().data["line"], line);
    }
}
