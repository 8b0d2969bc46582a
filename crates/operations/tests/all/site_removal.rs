//! Giving up sites and environments: confirmation, refusals, and what the jobs remove.

use domain_kernel::{ApiErrorCode, EnvironmentId, JobErrorCode, SiteId};
use jobs::{Failure, JobKind, JobStatus, Outcome, RunEnd};
use nodes_domain::NodeStatus;
use sites_domain::{EnvironmentStatus, SiteStatus, StorageError, StorageId};
use test_support::{Fault, RuntimeMethod};

use crate::bench::Bench;
use crate::site_bench::staging_request;

#[tokio::test]
async fn a_deletion_has_to_be_confirmed_by_the_slug() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let service = &bench.sites.service;
    for wrong in ["", "Shop", "shop ", "production"] {
        let refused = service.delete_site(site.site_id, wrong, None).await.unwrap_err();
        assert_eq!(refused.code(), ApiErrorCode::BadRequest);
        assert!(refused.to_string().contains("type `shop`"), "{refused}");
    }
    let refused = service
        .delete_environment(staging.environment_id, "shop", None)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("type `staging`"), "{refused}");
    let unknown = service.delete_site(SiteId::generate(), "shop", None).await.unwrap_err();
    assert_eq!(unknown.code(), ApiErrorCode::NotFound);
    let unknown = service
        .delete_environment(EnvironmentId::generate(), "x", None)
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), ApiErrorCode::NotFound);
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
}

#[tokio::test]
async fn the_production_environment_goes_with_its_site_only() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let refused = bench
        .sites
        .service
        .delete_environment(site.environment_id, "production", None)
        .await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::Conflict);
}

#[tokio::test]
async fn nothing_is_deleted_while_a_job_is_at_work_on_the_site() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let request = staging_request("third", site.environment_id);
    bench
        .sites
        .service
        .create_environment(site.site_id, request, None, None)
        .await
        .unwrap();
    let refused = bench.sites.service.delete_site(site.site_id, "shop", None).await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::Conflict);
    let refused = bench
        .sites
        .service
        .delete_environment(staging.environment_id, "staging", None)
        .await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::Conflict);
}

#[tokio::test]
async fn a_deleted_environment_is_gone_with_its_backups_and_the_rest_of_the_site_is_as_it_was() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    bench.stored_backup(site.environment_id).await;
    bench.stored_backup(staging.environment_id).await;
    let kept = bench.held(site.environment_id);
    let deleted = bench
        .sites
        .service
        .delete_environment(staging.environment_id, "staging", None)
        .await
        .unwrap();
    assert_eq!(bench.job(deleted.job_id).kind, JobKind::EnvDelete);
    assert_eq!(
        bench.standing(&staging),
        (SiteStatus::Deleting, EnvironmentStatus::Deleting)
    );
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.sites.rows.find_environment(staging.environment_id).is_none());
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    assert_eq!(bench.sites.environments.all().len(), 1);
    assert_eq!(bench.held(site.environment_id), kept);
    assert_eq!(bench.sites.storage.objects().len(), 1);
    assert_eq!(bench.sites.rows.all_backups().len(), 1);
    assert!(bench.sites.runtime.whole_sites().is_empty());
}

#[tokio::test]
async fn a_deleted_site_leaves_nothing_and_its_node_can_be_given_back() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let node_id = bench.node_of(site.environment_id);
    bench.active_staging(&site).await;
    bench.stored_backup(site.environment_id).await;
    let refused = bench.service.delete(node_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::NodeInUse);
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
    assert!(bench.sites.environments.all().is_empty());
    assert!(bench.sites.storage.objects().is_empty());
    let deleted: Vec<_> = bench.sites.runtime.calls().into_iter().map(|(_, id)| id).collect();
    assert_eq!(
        deleted.last(),
        Some(&site.environment_id.short()),
        "the folder goes last"
    );
    assert_eq!(bench.sites.runtime.whole_sites(), [site.site_id.short()]);
    bench.service.delete(node_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
}

#[tokio::test]
async fn what_was_left_of_a_broken_off_backup_is_removed_too() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let backup = bench
        .sites
        .service
        .create_backup(site.environment_id, sites_domain::BackupScope::Db, None, None, None)
        .await
        .unwrap();
    bench.run_until_unfinished().await;
    bench.jobs_service.cancel(backup.job_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    assert_eq!(bench.sites.storage.unfinished().len(), 1);
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    bench.run().await;
    assert!(bench.sites.storage.unfinished().is_empty());
}

#[tokio::test]
async fn a_site_on_a_node_that_was_given_back_can_be_deleted() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let mut node = bench.node(bench.node_of(site.environment_id));
    node.status = NodeStatus::Decommissioned;
    node.target = None;
    bench.nodes.put(node);
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
    assert_eq!(bench.sites.runtime.count(RuntimeMethod::Delete), 0);
}

#[tokio::test]
async fn a_deletion_that_fails_leaves_everything_failed_and_can_be_asked_for_again() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let failure = Failure::new(JobErrorCode::AnsibleTimeout, "too slow");
    bench
        .sites
        .runtime
        .fail(RuntimeMethod::Delete, 1, Fault::Refuses(failure.clone()));
    bench
        .sites
        .runtime
        .fail(RuntimeMethod::Delete, 2, Fault::Refuses(failure));
    let first = bench
        .sites
        .service
        .delete_environment(staging.environment_id, "staging", None)
        .await
        .unwrap();
    bench.run().await;
    assert_eq!(bench.error_code(first.job_id), Some(JobErrorCode::AnsibleTimeout));
    assert_eq!(
        bench.standing(&staging),
        (SiteStatus::Active, EnvironmentStatus::Failed)
    );
    let second = bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    bench.run().await;
    assert_eq!(bench.job(second.job_id).status, JobStatus::Failed);
    assert_eq!(bench.standing(&site), (SiteStatus::Failed, EnvironmentStatus::Failed));
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
}

#[tokio::test]
async fn a_storage_that_does_not_answer_fails_the_deletion_and_one_that_is_not_configured_any_more_does_not() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let id = bench.stored_backup(site.environment_id).await;
    bench.sites.storage.fail(Some(StorageError::Failed {
        storage: StorageId::new("local"),
        reason: "no route".to_owned(),
    }));
    let first = bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    bench.run_all(first.job_id).await;
    assert_eq!(bench.error_code(first.job_id), Some(JobErrorCode::BackupStorageFailed));
    assert_eq!(bench.standing(&site).0, SiteStatus::Failed);
    let mut backup = bench.backup(id);
    backup.storage = Some(StorageId::new("gone"));
    bench.sites.rows.put_backup(backup);
    let second = bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    bench.run_all(second.job_id).await;
    assert_eq!(bench.job(second.job_id).status, JobStatus::Succeeded);
    let events = bench.jobs.all_events();
    assert!(
        events
            .iter()
            .any(|event| event.data.to_string().contains("is left there"))
    );
}
