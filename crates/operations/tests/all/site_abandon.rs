//! Giving up what lives on a node that is gone for good: when it is allowed, and what it touches.

use domain_kernel::{ApiErrorCode, JobErrorCode};
use jobs::{JobKind, JobStatus, Outcome, RunEnd};
use nodes_domain::{NodeStatus, SshError};
use sites_domain::{CreatedInSite, EnvironmentStatus, SiteStatus, StorageError, StorageId};

use crate::bench::Bench;

const LOST: [NodeStatus; 2] = [NodeStatus::Unreachable, NodeStatus::Failed];

/// A site with a staging environment and a backup of each.
async fn site_with_backups(bench: &Bench) -> (CreatedInSite, CreatedInSite) {
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    bench.stored_backup(site.environment_id).await;
    bench.stored_backup(staging.environment_id).await;
    (site, staging)
}

#[tokio::test]
async fn what_is_on_a_node_that_is_not_known_to_be_gone_is_not_given_up() {
    let bench = Bench::new();
    let (site, staging) = site_with_backups(&bench).await;
    let node_id = bench.node_of(site.environment_id);
    let service = &bench.sites.service;
    for status in NodeStatus::ALL.iter().filter(|status| !LOST.contains(status)) {
        bench.set_node_status(node_id, *status);
        let of_site = service.abandon_site(site.site_id, "shop", None).await.unwrap_err();
        let of_staging = service.abandon_environment(staging.environment_id, "staging", None);
        for refused in [of_site, of_staging.await.unwrap_err()] {
            assert_eq!(refused.code(), ApiErrorCode::Conflict, "{status}");
            assert!(refused.to_string().contains("gone for good"), "{refused}");
        }
    }
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
}

#[tokio::test]
async fn giving_up_keeps_every_other_rule_of_a_deletion() {
    let bench = Bench::new();
    let (site, staging) = site_with_backups(&bench).await;
    bench.set_node_status(bench.node_of(site.environment_id), NodeStatus::Unreachable);
    let service = &bench.sites.service;
    let refused = service.abandon_site(site.site_id, "staging", None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::BadRequest);
    let refused = service.abandon_environment(staging.environment_id, "shop", None);
    assert_eq!(refused.await.unwrap_err().code(), ApiErrorCode::BadRequest);
    let refused = service.abandon_environment(site.environment_id, "production", None);
    assert_eq!(refused.await.unwrap_err().code(), ApiErrorCode::Conflict);
    service.delete_site(site.site_id, "shop", None).await.unwrap();
    let refused = service.abandon_site(site.site_id, "shop", None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict, "a job is at work on it");
}

#[tokio::test]
async fn an_abandoned_site_is_gone_with_its_backups_its_node_is_not_asked_and_can_be_given_back() {
    for status in LOST {
        let bench = Bench::new();
        let (site, _) = site_with_backups(&bench).await;
        let node_id = bench.node_of(site.environment_id);
        bench.set_node_status(node_id, status);
        bench.probe.always(Some(SshError::Refused));
        let (calls, held) = (bench.sites.runtime.calls(), bench.sites.environments.all());
        let (files, commands) = (bench.sites.files.paths(node_id), bench.ssh.commands().len());
        let refused = bench.service.delete(node_id, None).await.unwrap_err();
        assert_eq!(refused.code(), ApiErrorCode::NodeInUse);
        let abandoned = bench.sites.service.abandon_site(site.site_id, "shop", None);
        let abandoned = abandoned.await.unwrap();
        assert_eq!(bench.job(abandoned.job_id).kind, JobKind::SiteAbandon);
        assert_eq!(
            bench.standing(&site),
            (SiteStatus::Deleting, EnvironmentStatus::Deleting)
        );
        assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{status}");
        assert!(bench.sites.rows.find_site(site.site_id).is_none());
        assert!(bench.sites.rows.all_backups().is_empty());
        assert!(bench.sites.storage.objects().is_empty());
        assert_eq!(bench.sites.runtime.calls(), calls, "nothing was done on the node");
        assert_eq!(bench.sites.environments.all(), held);
        assert_eq!(bench.sites.files.paths(node_id), files);
        assert_eq!(bench.ssh.commands().len(), commands);
        bench.service.delete(node_id, None).await.unwrap();
        assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{status}");
        assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
    }
}

#[tokio::test]
async fn an_abandoned_environment_is_gone_with_its_backups_alone() {
    let bench = Bench::new();
    let (site, staging) = site_with_backups(&bench).await;
    bench.set_node_status(bench.node_of(site.environment_id), NodeStatus::Unreachable);
    let calls = bench.sites.runtime.calls();
    let abandoned = bench
        .sites
        .service
        .abandon_environment(staging.environment_id, "staging", None);
    let abandoned = abandoned.await.unwrap();
    assert_eq!(bench.job(abandoned.job_id).kind, JobKind::EnvAbandon);
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.sites.rows.find_environment(staging.environment_id).is_none());
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    assert_eq!(bench.sites.rows.all_backups().len(), 1);
    assert_eq!(bench.sites.storage.objects().len(), 1);
    assert_eq!(bench.sites.runtime.calls(), calls);
}

#[tokio::test]
async fn what_could_not_be_given_up_can_be_asked_for_again_while_the_node_is_gone() {
    let bench = Bench::new();
    let (site, staging) = site_with_backups(&bench).await;
    let node_id = bench.node_of(site.environment_id);
    bench.set_node_status(node_id, NodeStatus::Unreachable);
    let service = &bench.sites.service;
    let full = || {
        bench.sites.storage.fail(Some(StorageError::Failed {
            storage: StorageId::new("local"),
            reason: "no route".to_owned(),
        }));
    };
    let again = async |job| {
        bench.run_all(job).await;
        assert_eq!(bench.error_code(job), Some(JobErrorCode::BackupStorageFailed));
        bench.set_node_status(node_id, NodeStatus::Active);
        let refused = bench.jobs_service.retry(job, None).await.unwrap_err();
        assert_eq!(refused.code(), ApiErrorCode::Conflict, "the node is back");
        bench.set_node_status(node_id, NodeStatus::Unreachable);
        bench.sites.storage.fail(None);
        let again = bench.jobs_service.retry(job, None).await.unwrap();
        assert_eq!(bench.job(again.job_id).kind, bench.job(job).kind);
        bench.run_all(again.job_id).await;
        assert_eq!(bench.job(again.job_id).status, JobStatus::Succeeded);
    };
    full();
    let abandoned = service.abandon_environment(staging.environment_id, "staging", None);
    again(abandoned.await.unwrap().job_id).await;
    assert!(bench.sites.rows.find_environment(staging.environment_id).is_none());
    full();
    let abandoned = service.abandon_site(site.site_id, "shop", None).await.unwrap();
    again(abandoned.job_id).await;
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
    assert!(bench.sites.storage.objects().is_empty());
}

#[tokio::test]
async fn a_deletion_that_the_lost_node_failed_is_followed_by_giving_up() {
    let bench = Bench::new();
    let (site, _) = site_with_backups(&bench).await;
    let node_id = bench.node_of(site.environment_id);
    let service = &bench.sites.service;
    let gone = jobs::Failure::new(JobErrorCode::AnsibleHostUnreachable, "no route to host");
    let delete = test_support::RuntimeMethod::Delete;
    bench
        .sites
        .runtime
        .fail_always(delete, test_support::Fault::Refuses(gone));
    let deleted = service.delete_site(site.site_id, "shop", None).await.unwrap();
    bench.run_all(deleted.job_id).await;
    assert_eq!(
        bench.error_code(deleted.job_id),
        Some(JobErrorCode::AnsibleHostUnreachable)
    );
    bench.set_node_status(node_id, NodeStatus::Unreachable);
    let abandoned = service.abandon_site(site.site_id, "shop", None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.job(abandoned.job_id).status, JobStatus::Succeeded);
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
}
