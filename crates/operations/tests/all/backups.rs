//! Asking for backups, schedules and restores, and giving backups up.

use std::time::Duration;

use accounts_domain::AuditAction;
use domain_kernel::{AccountId, ApiErrorCode, BackupId, EnvironmentId};
use jobs::{JobKind, PageRequest};
use operations::UseCaseError;
use sites_domain::{BackupSchedule, BackupScope, BackupStatus, BackupTrigger, EnvironmentStatus, SiteStatus};

use crate::bench::Bench;
use crate::site_bench::staging_request;

fn code<T: std::fmt::Debug>(asked: Result<T, UseCaseError>) -> ApiErrorCode {
    asked.unwrap_err().code()
}

#[tokio::test]
async fn a_backup_is_written_with_its_job_and_its_retention() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let by = Some(AccountId::generate());
    let asked = service
        .create_backup(site.environment_id, BackupScope::Db, Some(7), None, by)
        .await
        .unwrap();
    let backup = bench.backup(asked.backup_id.unwrap());
    assert_eq!((backup.scope, backup.status), (BackupScope::Db, BackupStatus::Pending));
    assert_eq!((backup.trigger, backup.site_id), (BackupTrigger::Manual, site.site_id));
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    assert_eq!(backup.retention_until, Some(backup.created_at.plus(week)));
    let job = bench.job(asked.job_id);
    assert_eq!(
        (job.kind, job.backup_id, job.requested_by),
        (JobKind::BackupCreate, asked.backup_id, by)
    );
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    let page = PageRequest { limit: 10, after: None };
    assert_eq!(
        service.backups(site.environment_id, &page).await.unwrap().items,
        std::slice::from_ref(&backup)
    );
    assert_eq!(service.backup(backup.id).await.unwrap(), backup);
    assert_eq!(
        code(service.backups(EnvironmentId::generate(), &page).await),
        ApiErrorCode::NotFound
    );
    assert_eq!(code(service.backup(BackupId::generate()).await), ApiErrorCode::NotFound);
}

#[tokio::test]
async fn a_backup_that_cannot_be_taken_is_refused() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let other = bench.asked_site("other").await;
    let ask = async |environment, days| {
        let asked = bench
            .sites
            .service
            .create_backup(environment, BackupScope::Full, days, None, None)
            .await;
        code(asked)
    };
    for days in [0, 3651] {
        assert_eq!(ask(site.environment_id, Some(days)).await, ApiErrorCode::BadRequest);
    }
    assert_eq!(
        ask(other.environment_id, None).await,
        ApiErrorCode::EnvironmentNotActive
    );
    assert_eq!(ask(EnvironmentId::generate(), None).await, ApiErrorCode::NotFound);
}

#[tokio::test]
async fn a_backup_is_given_up_when_it_is_complete_or_failed_and_no_restore_is_under_way() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let id = bench.stored_backup(site.environment_id).await;
    let pending = service
        .create_backup(site.environment_id, BackupScope::Db, None, None, None)
        .await
        .unwrap();
    let pending_id = pending.backup_id.unwrap();
    assert_eq!(
        code(service.expire_backup(pending_id, None).await),
        ApiErrorCode::Conflict
    );
    bench.jobs_service.cancel(pending.job_id, None).await.unwrap();
    bench.run().await;
    let failed = service.expire_backup(pending_id, None).await.unwrap();
    assert_eq!(failed.status, BackupStatus::Expired);
    service.restore(site.environment_id, id, None).await.unwrap();
    assert_eq!(
        code(service.expire_backup(id, None).await),
        ApiErrorCode::Conflict,
        "a restore needs it"
    );
    bench.run().await;
    let by = AccountId::generate();
    let expired = service.expire_backup(id, Some(by)).await.unwrap();
    assert_eq!(expired.status, BackupStatus::Expired);
    let noted = (AuditAction::BackupExpired, id.to_string(), by);
    assert!(bench.sites.rows.audited().contains(&noted));
    assert_eq!(
        code(service.expire_backup(id, None).await),
        ApiErrorCode::Conflict,
        "it is already"
    );
    assert_eq!(
        code(service.restore(site.environment_id, id, None).await),
        ApiErrorCode::Conflict
    );
}

#[tokio::test]
async fn a_schedule_is_set_and_ended_and_a_bad_one_is_refused() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let schedule = |every_hours| BackupSchedule {
        every_hours,
        keep_days: 7,
        backup_scope: BackupScope::Full,
    };
    let by = AccountId::generate();
    let set = service
        .set_schedule(site.environment_id, Some(schedule(24)), Some(by))
        .await
        .unwrap();
    assert_eq!(set.backup_schedule, Some(schedule(24)));
    let noted = (AuditAction::BackupScheduled, site.environment_id.to_string(), by);
    assert_eq!(bench.sites.rows.audited(), [noted]);
    let refused = service.set_schedule(site.environment_id, Some(schedule(0)), None).await;
    assert_eq!(code(refused), ApiErrorCode::BadRequest);
    let ended = service.set_schedule(site.environment_id, None, None).await.unwrap();
    assert_eq!(ended.backup_schedule, None);
    let unknown = service.set_schedule(EnvironmentId::generate(), None, None).await;
    assert_eq!(code(unknown), ApiErrorCode::NotFound);
}

#[tokio::test]
async fn a_restore_is_accepted_for_a_complete_backup_of_the_environment_itself() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let service = &bench.sites.service;
    let foreign = bench.stored_backup(staging.environment_id).await;
    let own = bench.stored_backup(site.environment_id).await;
    let ask = async |environment, backup| code(service.restore(environment, backup, None).await);
    assert_eq!(ask(site.environment_id, foreign).await, ApiErrorCode::BadRequest);
    assert_eq!(
        ask(site.environment_id, BackupId::generate()).await,
        ApiErrorCode::NotFound
    );
    assert_eq!(ask(EnvironmentId::generate(), own).await, ApiErrorCode::NotFound);
    let pending = service
        .create_backup(site.environment_id, BackupScope::Db, None, None, None)
        .await
        .unwrap();
    assert_eq!(
        ask(site.environment_id, pending.backup_id.unwrap()).await,
        ApiErrorCode::Conflict
    );
    bench.run().await;
    let accepted = service.restore(site.environment_id, own, None).await.unwrap();
    assert_eq!(accepted.backup_id, Some(own));
    assert_eq!(
        bench.standing(&site),
        (SiteStatus::Restoring, EnvironmentStatus::Restoring)
    );
    assert_eq!(bench.job(accepted.job_id).kind, JobKind::EnvRestore);
    assert_eq!(
        ask(site.environment_id, own).await,
        ApiErrorCode::Conflict,
        "one is under way"
    );
    assert_eq!(
        ask(staging.environment_id, foreign).await,
        ApiErrorCode::Conflict,
        "in the site"
    );
    bench.run().await;
    let request = staging_request("third", site.environment_id);
    service
        .create_environment(site.site_id, request, None, None)
        .await
        .unwrap();
    assert_eq!(
        ask(site.environment_id, own).await,
        ApiErrorCode::Conflict,
        "the site is cloning"
    );
}
