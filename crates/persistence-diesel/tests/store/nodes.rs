//! Nodes and the jobs that change them.

use std::time::Duration;

use domain_kernel::NodeId;
use jobs::{EventFilter, EventKind, JobCatalog, JobKind, JobStatus, NewJob, Outcome, PageRequest, StoreError};
use nodes_domain::{NodeChange, NodeCounts, NodeFilter, NodeStatus, NodeStore, ProbeRecord};
use serde_json::json;

use crate::support::{SECOND, TestDatabase, failure, new_node, ready, store_tests, target};

fn decommission(id: NodeId) -> NewJob {
    NewJob::on_node(JobKind::NodeDecommission, id, 3)
}

fn provision(id: NodeId) -> NewJob {
    NewJob::on_node(JobKind::NodeProvision, id, 3)
}

/// A node without a job, active.
async fn active_node(db: &TestDatabase) -> NodeId {
    let (id, claim) = db.running_job().await;
    let change = NodeChange {
        status: Some(NodeStatus::Active),
        target: Some(target()),
        ..NodeChange::default()
    };
    db.store
        .settle_job(&claim, &Outcome::Succeeded, id, change)
        .await
        .unwrap();
    id
}

fn probe(db: &TestDatabase, status: NodeStatus, probe_failures: u32) -> ProbeRecord {
    ProbeRecord {
        status,
        readiness: ready(db.now()),
        probe_failures,
        seen_at: None,
    }
}

async fn node_statuses(db: &TestDatabase, id: NodeId) -> Vec<String> {
    let filter = EventFilter {
        after: 0,
        job_id: None,
        limit: 1000,
    };
    let events = db.store.events(&filter).await.unwrap();
    let of_node = events
        .iter()
        .filter(|event| event.node_id == Some(id) && event.kind == EventKind::Status);
    of_node
        .filter_map(|event| event.data["node_status"].as_str().map(str::to_owned))
        .collect()
}

store_tests! {
    async fn names_are_those_of_the_newest_nodes_and_of_those_that_are_asked_for(db) {
        let first = active_node(&db).await;
        let second = active_node(&db).await;
        let third = active_node(&db).await;
        let version = db.node(third).await.state_version;
        let leaves = NodeStatus::Decommissioning;
        db.store.enqueue(third, version, leaves, decommission(third), false).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        let change = NodeChange::status(NodeStatus::Decommissioned);
        db.store.settle_job(&claim, &Outcome::Succeeded, third, change).await.unwrap();
        let named = async |ids: &[NodeId], newest| -> Vec<NodeId> {
            let names = db.store.node_names(ids, newest).await.unwrap();
            names.into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(named(&[], 10).await, [second, first]);
        assert_eq!(named(&[], 1).await, [second]);
        assert_eq!(named(&[first, second, NodeId::generate()], 1).await, [second, first]);
        assert_eq!(named(&[third, third], 0).await, [third], "one that is gone has a name still");
        let node = db.node(first).await;
        assert_eq!(db.store.node_names(&[first], 0).await.unwrap(), [(first, node.name)]);
    }

    async fn a_new_node_is_provisioning_with_a_job_that_waits(db) {
        let (id, job_id) = db.create_node().await;
        let node = db.node(id).await;
        assert_eq!((node.status, node.state_version), (NodeStatus::Provisioning, 1));
        assert_eq!(node.short_id, id.short());
        assert_eq!((node.target, node.readiness, node.last_seen_at), (None, None, None));
        assert_eq!((node.created_at, node.host_id.as_str(), node.provider.as_str()), (db.now(), "host-1", "nspawn"));
        let job = db.job(job_id).await;
        assert_eq!((job.kind, job.status, job.node_id), (JobKind::NodeProvision, JobStatus::Queued, Some(id)));
        assert!(NodeStore::node(&db.store, NodeId::generate()).await.unwrap().is_none());
    }

    async fn a_node_that_exists_is_not_written_again(db) {
        let node = new_node();
        db.store.create(node.clone(), provision(node.id), None).await.unwrap();
        let again = db.store.create(node.clone(), provision(node.id), None).await;
        assert!(matches!(again, Err(StoreError::Duplicate(_))), "{again:?}");
        assert_eq!(JobCatalog::counts(&db.store).await.unwrap().queued, 1);
    }

    async fn a_job_changes_its_node_part_by_part(db) {
        let (id, claim) = db.running_job().await;
        db.clock.advance(SECOND);
        let part = NodeChange { target: Some(target()), ..NodeChange::default() };
        let node = db.store.change_in_job(&claim, id, part).await.unwrap();
        assert_eq!((node.target, node.state_version, node.updated_at), (Some(target()), 2, db.now()));
        let part = NodeChange { readiness: Some(ready(db.now())), seen_at: Some(db.now()), ..NodeChange::default() };
        db.store.change_in_job(&claim, id, part).await.unwrap();
        let node = db.node(id).await;
        assert_eq!((node.status, node.target), (NodeStatus::Provisioning, Some(target())));
        assert_eq!((node.readiness, node.last_seen_at), (Some(ready(db.now())), Some(db.now())));
        let node = db.store.change_in_job(&claim, id, NodeChange::default()).await.unwrap();
        assert_eq!(node.state_version, 3, "no change is no new version");
    }

    async fn the_end_of_a_job_and_its_meaning_for_the_node_are_written_together(db) {
        let (id, claim) = db.running_job().await;
        let change = NodeChange {
            status: Some(NodeStatus::Active),
            readiness: Some(ready(db.now())),
            ..NodeChange::default()
        };
        db.store.settle_job(&claim, &Outcome::Succeeded, id, change).await.unwrap();
        assert_eq!(db.job(claim.job_id).await.status, JobStatus::Succeeded);
        let node = db.node(id).await;
        assert_eq!((node.status, node.state_version), (NodeStatus::Active, 2));
        assert_eq!(node_statuses(&db, id).await, ["provisioning", "active"]);
    }

    async fn a_retry_that_changes_nothing_leaves_the_node_as_it_is(db) {
        let (id, claim) = db.running_job().await;
        let retry = Outcome::Retry { failure: failure("x"), run_after: db.now() };
        db.store.settle_job(&claim, &retry, id, NodeChange::default()).await.unwrap();
        assert_eq!(db.node(id).await.state_version, 1);
        assert_eq!(db.job(claim.job_id).await.attempt_count, 2);
    }

    async fn a_status_that_the_state_machine_does_not_lead_to_is_refused_whole(db) {
        let (id, claim) = db.running_job().await;
        let change = NodeChange::status(NodeStatus::Decommissioned);
        let settled = db.store.settle_job(&claim, &Outcome::Succeeded, id, change.clone()).await;
        assert!(matches!(settled, Err(StoreError::VersionConflict("node"))), "{settled:?}");
        assert_eq!(db.job(claim.job_id).await.status, JobStatus::Running);
        let changed = db.store.change_in_job(&claim, id, change).await;
        assert!(matches!(changed, Err(StoreError::VersionConflict("node"))), "{changed:?}");
        assert_eq!(db.node(id).await.status, NodeStatus::Provisioning);
    }

    async fn a_delete_cancels_the_job_that_waits(db) {
        let (id, waiting) = db.create_node().await;
        let job = decommission(id);
        let job_id = job.id;
        let node = db.store.enqueue(id, 1, NodeStatus::Decommissioning, job, true).await.unwrap();
        assert_eq!((node.status, node.state_version), (NodeStatus::Decommissioning, 2));
        let cancelled = db.job(waiting).await;
        assert_eq!((cancelled.status, cancelled.finished_at), (JobStatus::Cancelled, Some(db.now())));
        let filter = EventFilter { after: 0, job_id: Some(waiting), limit: 100 };
        let events = db.store.events(&filter).await.unwrap();
        assert_eq!(events.last().unwrap().data, json!({"status": "cancelled", "attempt": 1}));
        assert_eq!(db.claim().await.unwrap().job.id, job_id);
        assert!(db.claim().await.is_none());
        assert_eq!(node_statuses(&db, id).await, ["provisioning", "decommissioning"]);
    }

    async fn a_delete_is_refused_while_a_job_runs(db) {
        let (id, claim) = db.running_job().await;
        let refused = db.store.enqueue(id, 1, NodeStatus::Decommissioning, decommission(id), true).await;
        let Err(StoreError::NodeBusy { job_id }) = refused else { panic!("{refused:?}") };
        assert_eq!(job_id, claim.job_id);
        assert_eq!(db.node(id).await.status, NodeStatus::Provisioning);
    }

    async fn another_request_is_refused_while_a_job_waits(db) {
        let (id, waiting) = db.create_node().await;
        let refused = db.store.enqueue(id, 1, NodeStatus::Provisioning, provision(id), false).await;
        let Err(StoreError::NodeBusy { job_id }) = refused else { panic!("{refused:?}") };
        assert_eq!(job_id, waiting);
        assert_eq!(db.job(waiting).await.status, JobStatus::Queued);
    }

    async fn a_request_on_another_version_changes_nothing(db) {
        let (id, waiting) = db.create_node().await;
        let refused = db.store.enqueue(id, 7, NodeStatus::Decommissioning, decommission(id), true).await;
        assert!(matches!(refused, Err(StoreError::VersionConflict("node"))), "{refused:?}");
        assert_eq!(db.job(waiting).await.status, JobStatus::Queued);
        let missing = NodeId::generate();
        let refused = db.store.enqueue(missing, 1, NodeStatus::Provisioning, provision(missing), false).await;
        assert!(matches!(refused, Err(StoreError::NotFound("node"))), "{refused:?}");
    }

    async fn a_decommissioned_node_is_kept_but_not_listed(db) {
        let id = active_node(&db).await;
        let other = active_node(&db).await;
        db.store.enqueue(id, 2, NodeStatus::Decommissioning, decommission(id), true).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        let change = NodeChange::status(NodeStatus::Decommissioned);
        db.store.settle_job(&claim, &Outcome::Succeeded, id, change).await.unwrap();
        let page = PageRequest { limit: 10, after: None };
        let ids = async |include_decommissioned| -> Vec<NodeId> {
            let all = NodeFilter { include_decommissioned, ..NodeFilter::default() };
            db.store.nodes(&all, &page).await.unwrap().items.into_iter().map(|node| node.id).collect()
        };
        assert_eq!(ids(false).await, [other]);
        assert_eq!(ids(true).await, [other, id]);
        assert_eq!(NodeStore::counts(&db.store).await.unwrap(), NodeCounts { active: 1, live: 1 });
        let refused = db.store.enqueue(id, 4, NodeStatus::Provisioning, provision(id), false).await;
        assert!(matches!(refused, Err(StoreError::VersionConflict("node"))), "{refused:?}");
    }

    async fn node_pages_follow_each_other(db) {
        let mut expected = Vec::new();
        for _ in 0..3 {
            expected.insert(0, db.create_node().await.0);
        }
        let first = db.store.nodes(&NodeFilter::default(), &PageRequest { limit: 2, after: None }).await.unwrap();
        let second = db.store.nodes(&NodeFilter::default(), &PageRequest { limit: 2, after: first.next.clone() }).await.unwrap();
        let seen: Vec<_> = first.items.iter().chain(&second.items).map(|node| node.id).collect();
        assert_eq!(seen, expected);
        assert_eq!((first.next, second.next), (Some(expected[1].to_string()), None));
    }

    async fn a_probe_is_recorded_on_the_version_that_it_was_made_for(db) {
        let id = active_node(&db).await;
        db.clock.advance(SECOND);
        let seen = ProbeRecord { seen_at: Some(db.now()), ..probe(&db, NodeStatus::Active, 0) };
        let node = db.store.record_probe(id, 2, seen).await.unwrap();
        assert_eq!((node.state_version, node.last_seen_at), (3, Some(db.now())));
        let stale = db.store.record_probe(id, 2, probe(&db, NodeStatus::Unreachable, 3)).await;
        assert!(matches!(stale, Err(StoreError::VersionConflict("node"))), "{stale:?}");
        let seen_at = db.now();
        db.clock.advance(Duration::from_secs(60));
        let node = db.store.record_probe(id, 3, probe(&db, NodeStatus::Unreachable, 3)).await.unwrap();
        assert_eq!((node.status, node.probe_failures, node.last_seen_at), (NodeStatus::Unreachable, 3, Some(seen_at)));
        assert_eq!(node_statuses(&db, id).await, ["provisioning", "active", "unreachable"]);
    }

    async fn a_probe_is_not_recorded_beside_a_job(db) {
        let id = active_node(&db).await;
        let job = provision(id);
        let job_id = job.id;
        db.store.enqueue(id, 2, NodeStatus::Provisioning, job, false).await.unwrap();
        let refused = db.store.record_probe(id, 3, probe(&db, NodeStatus::Active, 0)).await;
        assert!(matches!(refused, Err(StoreError::NodeBusy { job_id: busy }) if busy == job_id), "{refused:?}");
    }

    async fn idle_nodes_are_those_of_the_host_without_a_job(db) {
        let idle = active_node(&db).await;
        let busy = active_node(&db).await;
        db.store.enqueue(busy, 2, NodeStatus::Provisioning, provision(busy), false).await.unwrap();
        let ids = async |host: &str, statuses: &[NodeStatus]| -> Vec<NodeId> {
            db.store.idle_nodes(host, statuses).await.unwrap().into_iter().map(|node| node.id).collect()
        };
        assert_eq!(ids("host-1", NodeStatus::ALL).await, [idle]);
        assert_eq!(ids("host-1", NodeStatus::PROBED).await, [idle]);
        assert_eq!(ids("host-1", &[NodeStatus::Failed]).await, []);
        assert_eq!(ids("host-1", &[]).await, []);
        assert_eq!(ids("host-2", NodeStatus::ALL).await, []);
    }
}
