//! Asking for the work of a site's job once more.

use domain_kernel::{ApiErrorCode, JobErrorCode, JobId};
use jobs::{Failure, JobKind, JobStatus, Outcome, RunEnd};
use sites_domain::{BackupScope, BackupStatus, EnvironmentStatus, SiteStatus};
use test_support::{Fault, RuntimeMethod};

use crate::bench::Bench;
use crate::site_bench::staging_request;

const ACTIVE: (SiteStatus, EnvironmentStatus) = (SiteStatus::Active, EnvironmentStatus::Active);

fn fails_once(bench: &Bench, method: RuntimeMethod) {
    let failure = Failure::new(JobErrorCode::AnsibleTimeout, "too slow");
    let next = bench.sites.runtime.count(method) + 1;
    bench.sites.runtime.fail(method, next, Fault::Refuses(failure));
}

/// Runs the job, which fails, asks for it again, and runs that.
async fn again(bench: &Bench, job_id: JobId) -> JobKind {
    bench.run().await;
    assert_eq!(bench.job(job_id).status, JobStatus::Failed);
    let accepted = bench.jobs_service.retry(job_id, None).await.unwrap();
    let (old, new) = (bench.job(job_id), bench.job(accepted.job_id));
    assert_eq!(
        (new.kind, new.node_id, new.site_id),
        (old.kind, old.node_id, old.site_id)
    );
    assert_eq!((new.environment_id, new.backup_id), (old.environment_id, old.backup_id));
    assert_eq!(
        (accepted.site_id, accepted.environment_id),
        (old.site_id, old.environment_id)
    );
    assert_eq!(accepted.node_id, old.node_id);
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    new.kind
}

#[tokio::test]
async fn every_job_of_a_site_that_failed_can_be_asked_for_again() {
    let bench = Bench::new();
    bench.active_node().await;
    let service = &bench.sites.service;
    let site = bench.asked_site("shop").await;
    fails_once(&bench, RuntimeMethod::Create);
    assert_eq!(again(&bench, site.job_id).await, JobKind::SiteCreate);
    assert_eq!(bench.standing(&site), ACTIVE);

    let request = staging_request("staging", site.environment_id);
    let staging = service
        .create_environment(site.site_id, request, None, None)
        .await
        .unwrap();
    fails_once(&bench, RuntimeMethod::Create);
    assert_eq!(again(&bench, staging.job_id).await, JobKind::EnvCreate);
    assert_eq!(bench.standing(&staging), ACTIVE);

    let backup = service
        .create_backup(site.environment_id, BackupScope::Full, None, None, None)
        .await
        .unwrap();
    fails_once(&bench, RuntimeMethod::StageBackup);
    assert_eq!(again(&bench, backup.job_id).await, JobKind::BackupCreate);
    let id = backup.backup_id.unwrap();
    assert_eq!(bench.backup(id).status, BackupStatus::Completed);

    let restore = service.restore(site.environment_id, id, None).await.unwrap();
    fails_once(&bench, RuntimeMethod::Restore);
    assert_eq!(again(&bench, restore.job_id).await, JobKind::EnvRestore);
    assert_eq!(bench.standing(&site), ACTIVE);

    let delete = service
        .delete_environment(staging.environment_id, "staging", None)
        .await
        .unwrap();
    fails_once(&bench, RuntimeMethod::Delete);
    assert_eq!(again(&bench, delete.job_id).await, JobKind::EnvDelete);
    let delete = service.delete_site(site.site_id, "shop", None).await.unwrap();
    fails_once(&bench, RuntimeMethod::Delete);
    assert_eq!(again(&bench, delete.job_id).await, JobKind::SiteDelete);
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
    let refused = bench.jobs_service.retry(delete.job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::NotFound, "the site is gone");
}

#[tokio::test]
async fn only_the_newest_job_of_an_environment_can_be_asked_for_again() {
    let bench = Bench::new();
    bench.active_node().await;
    let site = bench.asked_site("shop").await;
    fails_once(&bench, RuntimeMethod::Create);
    bench.run().await;
    bench.sites.service.reset_site(site.site_id, None).await.unwrap_err();
    fails_once(&bench, RuntimeMethod::Delete);
    let delete = bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    bench.run().await;
    let refused = bench.jobs_service.retry(site.job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict);
    assert!(refused.to_string().contains(&delete.job_id.to_string()), "{refused}");
}

#[tokio::test]
async fn what_no_longer_fits_is_not_asked_for_again() {
    let bench = Bench::new();
    bench.active_node().await;
    let site = bench.asked_site("shop").await;
    let late = Fault::ActsThenFails(Failure::new(JobErrorCode::AnsibleTimeout, "too slow"));
    bench.sites.runtime.fail(RuntimeMethod::Create, 1, late);
    bench.run().await;
    bench.sites.service.reset_site(site.site_id, None).await.unwrap();
    let refused = bench.jobs_service.retry(site.job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict, "it was reset");
    let service = &bench.sites.service;
    let backup = service
        .create_backup(site.environment_id, BackupScope::Db, None, None, None)
        .await
        .unwrap();
    fails_once(&bench, RuntimeMethod::StageBackup);
    bench.run().await;
    service.expire_backup(backup.backup_id.unwrap(), None).await.unwrap();
    let refused = bench.jobs_service.retry(backup.job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict, "it was given up");
}

#[tokio::test]
async fn a_nodes_failed_job_can_be_asked_for_again_whatever_sites_did_on_it() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let node_id = bench.node_of(site.environment_id);
    let failure = Failure::new(JobErrorCode::AnsibleTimeout, "too slow");
    bench.provisioner.fail(2, Fault::Refuses(failure));
    let provision = bench.service.provision(node_id, None).await.unwrap();
    bench.run().await;
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    let again = bench.jobs_service.retry(provision.job_id, None).await.unwrap();
    assert_eq!(bench.job(again.job_id).kind, JobKind::NodeProvision);
}

#[tokio::test]
async fn a_later_backup_or_a_job_of_another_environment_stands_in_nobodys_way() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let request = staging_request("staging", site.environment_id);
    let staging = service
        .create_environment(site.site_id, request, None, None)
        .await
        .unwrap();
    fails_once(&bench, RuntimeMethod::Create);
    bench.run().await;
    bench.stored_backup(site.environment_id).await;
    let accepted = bench.jobs_service.retry(staging.job_id, None).await.unwrap();
    assert_eq!(accepted.environment_id, Some(staging.environment_id));
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.standing(&staging), ACTIVE);
}
