//! Reading jobs.

use domain_kernel::{JobId, NodeId};
use jobs::{ExclusionKey, JobCatalog, JobCounts, JobFilter, JobKind, JobStatus, JobStore, Outcome, PageRequest};

use crate::support::{SECOND, failure, store_tests};

fn page(limit: u32, after: Option<String>) -> PageRequest {
    PageRequest { limit, after }
}

store_tests! {
    async fn pages_are_newest_first_without_a_gap_or_a_repetition(db) {
        let mut expected = Vec::new();
        for _ in 0..5 {
            expected.insert(0, db.create_node().await.1);
        }
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let found = db.store.jobs(&JobFilter::default(), &page(2, after)).await.unwrap();
            seen.extend(found.items.into_iter().map(|view| view.job.id));
            pages += 1;
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (expected, 3));
    }

    async fn a_cursor_that_is_no_id_is_compared_as_text(db) {
        db.create_node().await;
        let filter = JobFilter::default();
        assert_eq!(db.store.jobs(&filter, &page(9, Some("~".to_owned()))).await.unwrap().items.len(), 1);
        assert_eq!(db.store.jobs(&filter, &page(9, Some(String::new()))).await.unwrap().items.len(), 0);
    }

    async fn jobs_are_found_by_status_kind_and_node(db) {
        let (first_node, first) = db.create_node().await;
        let (_, second) = db.create_node().await;
        db.claim().await.unwrap();
        let ids = async |filter: JobFilter| -> Vec<JobId> {
            let found = db.store.jobs(&filter, &page(9, None)).await.unwrap();
            found.items.into_iter().map(|view| view.job.id).collect()
        };
        assert_eq!(ids(JobFilter { status: Some(JobStatus::Running), ..JobFilter::default() }).await, [first]);
        assert_eq!(ids(JobFilter { status: Some(JobStatus::Queued), ..JobFilter::default() }).await, [second]);
        assert_eq!(ids(JobFilter { node_id: Some(first_node), ..JobFilter::default() }).await, [first]);
        let kind = |kind| JobFilter { kind: Some(kind), ..JobFilter::default() };
        assert_eq!(ids(kind(JobKind::NodeProvision)).await, [second, first]);
        assert_eq!(ids(kind(JobKind::NodeDecommission)).await, []);
    }

    async fn jobs_of_several_choices_have_all_of_them(db) {
        let (node, first) = db.running_job().await;
        let (other, second) = db.running_job().await;
        db.store.finish(&first, &Outcome::Succeeded).await.unwrap();
        db.store.finish(&second, &Outcome::Failed(failure("no"))).await.unwrap();
        let (status, kind) = (Some(JobStatus::Failed), Some(JobKind::NodeProvision));
        for (node_id, expected) in [(node, None), (other, Some(second.job_id))] {
            for (status, kind) in [(status, kind), (status, None)] {
                let filter = JobFilter { status, kind, node_id: Some(node_id), ..JobFilter::default() };
                let found = db.store.jobs(&filter, &page(9, None)).await.unwrap();
                assert_eq!(found.items.first().map(|view| view.job.id), expected);
            }
        }
    }

    async fn the_holder_is_the_running_job_that_has_a_key_of_the_one_that_waits(db) {
        let key = ExclusionKey::node(NodeId::generate());
        let shared = std::slice::from_ref(&key);
        let (_, first) = db.create_node_with_keys(shared).await;
        let (_, second) = db.create_node_with_keys(shared).await;
        let (_, apart) = db.create_node().await;
        let holder = async |id| db.store.holder(id).await.unwrap().map(|view| view.job.id);
        assert_eq!(holder(second).await, None, "nothing runs yet");
        let claim = db.store_claim().await;
        assert_eq!(claim.job_id, first);
        assert_eq!(holder(second).await, Some(first));
        assert_eq!(holder(apart).await, None);
        assert_eq!(holder(first).await, None, "nothing waits for itself");
        db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
        assert_eq!(holder(second).await, None);
        assert_eq!(holder(JobId::generate()).await, None);
    }

    async fn each_job_of_a_page_comes_with_its_own_steps_in_order(db) {
        let (_, first) = db.running_job().await;
        let (_, second) = db.running_job().await;
        db.store.step_started(&first, 1, "b").await.unwrap();
        db.store.step_started(&first, 0, "a").await.unwrap();
        db.store.step_started(&second, 0, "a").await.unwrap();
        let found = db.store.jobs(&JobFilter::default(), &page(9, None)).await.unwrap();
        let names: Vec<Vec<_>> = found
            .items
            .iter()
            .map(|view| view.steps.iter().map(|step| step.name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["a"], vec!["a", "b"]]);
    }

    async fn the_counts_are_of_jobs_that_have_not_ended(db) {
        let (_, ended) = db.running_job().await;
        db.store.finish(&ended, &Outcome::Succeeded).await.unwrap();
        db.running_job().await;
        db.create_node().await;
        db.clock.advance(SECOND);
        db.create_node().await;
        assert_eq!(JobCatalog::counts(&db.store).await.unwrap(), JobCounts { queued: 2, running: 1 });
    }

    async fn a_job_that_does_not_exist_is_none(db) {
        assert!(JobCatalog::job(&db.store, JobId::generate()).await.unwrap().is_none());
    }
}
