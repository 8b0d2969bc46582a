//! What a page that follows events asks for.

use std::time::Duration;

use domain_kernel::NodeId;
use futures_util::FutureExt;
use jobs::{
    EventFeed, EventKind, EventWatch, JobCatalog, JobKind, JobStore, LogStream, NewEvent, NewJob, Outcome,
    TaskProgress, TaskStatus,
};
use nodes_domain::{NodeStatus, NodeStore};

use crate::support::{TestDatabase, store_tests};

async fn tell(db: &TestDatabase, claim: &jobs::Claim, line: &str) {
    let event = NewEvent::log("provision", LogStream::Stdout, line);
    db.store.append(claim, event).await.unwrap();
}

/// Whether something was committed since the last look.
fn is_told(watch: &mut dyn EventWatch) -> bool {
    watch.changed().now_or_never().is_some()
}

store_tests! {
    async fn the_newest_job_of_each_node_is_found_at_once(db) {
        let (first, claim) = db.running_job().await;
        db.store.finish(&claim, &Outcome::Cancelled).await.unwrap();
        let (second, other) = db.running_job().await;
        db.store.step_started(&other, 0, "acquire").await.unwrap();
        let found = db.store.latest_jobs(&[first, second, NodeId::generate()]).await.unwrap();
        let ids: Vec<_> = found.iter().map(|view| view.job.id).collect();
        assert_eq!(ids.len(), 2);
        assert!(ids.contains(&claim.job_id) && ids.contains(&other.job_id));
        let view = found.iter().find(|view| view.job.id == other.job_id).unwrap();
        assert_eq!(view.steps.len(), 1);
        assert!(db.store.latest_jobs(&[]).await.unwrap().is_empty());

        let node = db.node(first).await;
        let job = NewJob::on_node(JobKind::NodeProvision, first, 3);
        let again = job.id;
        let status = NodeStatus::Provisioning;
        db.store.enqueue(first, node.state_version, status, job, false).await.unwrap();
        let found = db.store.latest_jobs(&[first]).await.unwrap();
        assert_eq!(found.iter().map(|view| view.job.id).collect::<Vec<_>>(), [again]);
    }

    async fn the_newest_events_of_a_job_come_in_their_order(db) {
        assert_eq!(db.store.last_seq().await.unwrap(), 0);
        let (_, claim) = db.running_job().await;
        for line in ["a", "b", "c"] {
            tell(&db, &claim, line).await;
        }
        db.running_job().await;
        let newest = db.store.latest_events(claim.job_id, 2).await.unwrap();
        let lines: Vec<_> = newest.iter().map(|event| event.data["line"].as_str().unwrap()).collect();
        assert_eq!(lines, ["b", "c"]);
        assert!(db.store.last_seq().await.unwrap() > newest[1].seq);
    }

    async fn the_course_of_a_job_is_all_but_its_log(db) {
        let (_, claim) = db.running_job().await;
        tell(&db, &claim, "a").await;
        db.store.step_started(&claim, 0, "acquire").await.unwrap();
        let task = TaskProgress {
            name: "Unpack".to_owned(),
            status: TaskStatus::Ok,
            duration_ms: Some(5),
            message: None,
        };
        db.store.append(&claim, NewEvent::task("acquire", &task)).await.unwrap();
        tell(&db, &claim, "b").await;
        db.running_job().await;
        let kinds = async |limit| -> Vec<EventKind> {
            let course = db.store.course(claim.job_id, limit).await.unwrap();
            course.iter().map(|event| event.kind).collect()
        };
        let all = kinds(100).await;
        assert!(all.len() > 2 && !all.contains(&EventKind::Log), "{all:?}");
        assert_eq!(all[all.len() - 2..], [EventKind::Step, EventKind::Task]);
        // The newest ones, where there are more.
        assert_eq!(kinds(1).await, [EventKind::Task]);
    }

    async fn who_watches_is_told_of_every_commit_of_events_and_of_nothing_else(db) {
        let (_, claim) = db.running_job().await;
        let mut watch = db.store.watch();
        assert!(!is_told(watch.as_mut()));
        db.store.last_seq().await.unwrap();
        assert!(!is_told(watch.as_mut()), "a look is no news");
        db.store.heartbeat(&claim, Duration::from_secs(30)).await.unwrap();
        assert!(!is_told(watch.as_mut()), "a heartbeat is no news");
        tell(&db, &claim, "one").await;
        tell(&db, &claim, "two").await;
        assert!(is_told(watch.as_mut()));
        assert!(!is_told(watch.as_mut()), "what was told is told once");
        tell(&db, &claim, "three").await;
        db.store.heartbeat(&claim, Duration::from_secs(30)).await.unwrap();
        assert!(is_told(watch.as_mut()), "a heartbeat takes no news away");
        db.store.step_started(&claim, 0, "acquire").await.unwrap();
        assert!(is_told(watch.as_mut()), "a step is news");
        db.store.finish(&claim, &Outcome::Cancelled).await.unwrap();
        assert!(is_told(watch.as_mut()), "an end is news");
    }
}
