//! `backup_create`: what is stored, and what each failure means.

use domain_kernel::{BackupId, JobErrorCode};
use jobs::{Failure, JobStatus, Outcome, RunEnd};
use nodes_domain::SshError;
use sites_domain::{BackupScope, BackupStatus, CreatedInSite, EnvironmentStatus, SiteStatus, StorageError, StorageId};
use test_support::{Fault, RuntimeMethod, TransferFault, sha256_of};

use crate::bench::Bench;

async fn asked(bench: &Bench, site: &CreatedInSite) -> (CreatedInSite, BackupId) {
    let service = &bench.sites.service;
    let asked = service
        .create_backup(site.environment_id, BackupScope::Full, None, None, None)
        .await
        .unwrap();
    (asked, asked.backup_id.unwrap())
}

#[tokio::test]
async fn a_complete_backup_is_stored_under_its_key_with_size_and_checksum_and_nothing_stays_on_the_node() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let node_id = bench.node_of(site.environment_id);
    let files = bench.sites.files.paths(node_id);
    let (asked, id) = asked(&bench, &site).await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    let backup = bench.backup(id);
    let bytes = b"full\nnew WordPress `A shop`".to_vec();
    assert_eq!(backup.status, BackupStatus::Completed);
    assert_eq!(backup.size_bytes, Some(bytes.len() as u64));
    assert_eq!(backup.checksum, Some(sha256_of(&bytes)));
    assert_eq!(backup.storage, Some(StorageId::new("local")));
    let key = format!(
        "{}/{}/{}.tar.zst",
        site.site_id.short(),
        site.environment_id.short(),
        id.short()
    );
    assert_eq!(backup.storage_path, Some(key.clone()));
    assert_eq!(bench.sites.storage.objects().get(&key), Some(&bytes));
    assert_eq!(bench.sites.files.paths(node_id), files);
    assert_eq!(bench.sites.runtime.count(RuntimeMethod::StageBackup), 1, "staged once");
    assert_eq!(bench.detail(asked.job_id, "store"), "27 bytes in `local`, read back");
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
}

/// Runs a backup to its end with something wrong, which has to end it in a code with nothing left anywhere.
async fn failing(wrong: impl Fn(&Bench), code: JobErrorCode) {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let node_id = bench.node_of(site.environment_id);
    let files = bench.sites.files.paths(node_id);
    let (asked, id) = asked(&bench, &site).await;
    let job = loop {
        wrong(&bench);
        let wait = bench
            .job(asked.job_id)
            .run_after
            .since(domain_kernel::Clock::now(bench.clock.as_ref()));
        bench.clock.advance(wait);
        bench.run().await;
        let job = bench.job(asked.job_id);
        if job.status.is_terminal() {
            break job;
        }
        assert_eq!(bench.backup(id).status, BackupStatus::Running, "{code}");
    };
    assert_eq!(bench.error_code(asked.job_id), Some(code));
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(bench.backup(id).status, BackupStatus::Failed, "{code}");
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    assert!(bench.sites.storage.objects().is_empty(), "{code}");
    assert!(bench.sites.storage.unfinished().is_empty(), "{code}");
    assert_eq!(bench.sites.files.paths(node_id), files, "{code}");
}

#[tokio::test]
async fn each_failure_of_a_backup_ends_in_its_code_with_nothing_left() {
    for code in [JobErrorCode::AnsibleHostFailed, JobErrorCode::AnsibleTimeout] {
        let fault = Fault::ActsThenFails(Failure::new(code, "so it is"));
        failing(
            |bench| {
                bench
                    .sites
                    .runtime
                    .fail_always(RuntimeMethod::StageBackup, fault.clone())
            },
            code,
        )
        .await;
    }
    let broken = |bench: &Bench| bench.sites.transfer.next(TransferFault::Breaks(SshError::Refused));
    failing(broken, JobErrorCode::AnsibleHostUnreachable).await;
    let ended = |bench: &Bench| bench.sites.transfer.next(TransferFault::Ends(1));
    failing(ended, JobErrorCode::AnsibleHostFailed).await;
    let flipped = |bench: &Bench| bench.sites.transfer.next(TransferFault::Flips);
    failing(flipped, JobErrorCode::BackupStorageFailed).await;
    failing(
        |bench| bench.sites.storage.flip(true),
        JobErrorCode::BackupStorageFailed,
    )
    .await;
    failing(|bench| bench.sites.storage.fill(true), JobErrorCode::HostDiskFull).await;
    let silent = StorageError::Failed {
        storage: StorageId::new("local"),
        reason: "no route".to_owned(),
    };
    failing(
        |bench| bench.sites.storage.fail(Some(silent.clone())),
        JobErrorCode::BackupStorageFailed,
    )
    .await;
}

#[tokio::test]
async fn a_storage_that_fails_for_a_moment_is_recovered_by_the_second_attempt() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let (asked, id) = asked(&bench, &site).await;
    bench.sites.transfer.next(TransferFault::Flips);
    let job = bench.run_all(asked.job_id).await;
    assert_eq!((job.status, job.attempt_count), (JobStatus::Succeeded, 2));
    assert_eq!(bench.backup(id).status, BackupStatus::Completed);
}

#[tokio::test]
async fn a_backup_cancelled_while_it_waits_is_failed() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let (asked, id) = asked(&bench, &site).await;
    bench.jobs_service.cancel(asked.job_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    assert_eq!(bench.backup(id).status, BackupStatus::Failed);
}

#[tokio::test]
async fn a_backup_whose_node_is_not_ready_fails_before_anything_is_staged() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let (asked, id) = asked(&bench, &site).await;
    bench.clock.advance(std::time::Duration::from_secs(60));
    bench.probe.always(Some(SshError::Refused));
    bench.run_all(asked.job_id).await;
    assert_eq!(bench.error_code(asked.job_id), Some(JobErrorCode::NodeNotReady));
    assert_eq!(bench.backup(id).status, BackupStatus::Failed);
    assert_eq!(bench.sites.runtime.count(RuntimeMethod::StageBackup), 0);
}

#[tokio::test]
async fn a_backup_that_waits_while_its_site_is_deleted_ends_by_itself() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let (asked, _) = asked(&bench, &site).await;
    bench.sites.transfer.next(TransferFault::Flips);
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    let job = bench.run_all(asked.job_id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert!(job.error.unwrap().detail.contains("deleted while the job waited"));
    assert!(bench.sites.storage.objects().is_empty());
}

#[tokio::test]
async fn a_backup_waits_while_a_restore_is_between_two_attempts() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let old = bench.stored_backup(site.environment_id).await;
    let (waiting, id) = asked(&bench, &site).await;
    let restore = bench
        .sites
        .service
        .restore(site.environment_id, old, None)
        .await
        .unwrap();
    // The backup was asked for first, but has to wait for its next attempt.
    let failure = Failure::new(JobErrorCode::AnsibleHostUnreachable, "gone for a moment");
    let next = bench.sites.runtime.count(RuntimeMethod::StageBackup) + 1;
    bench
        .sites
        .runtime
        .fail(RuntimeMethod::StageBackup, next, Fault::Refuses(failure.clone()));
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    let next = bench.sites.runtime.count(RuntimeMethod::Restore) + 1;
    bench
        .sites
        .runtime
        .fail(RuntimeMethod::Restore, next, Fault::Refuses(failure));
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    assert_eq!(
        bench.environment(site.environment_id).status,
        EnvironmentStatus::Restoring
    );
    let staged = bench.sites.runtime.count(RuntimeMethod::StageBackup);
    let now = domain_kernel::Clock::now(bench.clock.as_ref());
    bench.clock.advance(bench.job(waiting.job_id).run_after.since(now));
    let end = bench.run().await;
    assert!(matches!(end, RunEnd::Settled(Outcome::Parked { .. })), "{end:?}");
    assert_eq!(bench.sites.runtime.count(RuntimeMethod::StageBackup), staged);
    assert_eq!(bench.run_all(restore.job_id).await.status, JobStatus::Succeeded);
    assert_eq!(bench.run_all(waiting.job_id).await.status, JobStatus::Succeeded);
    assert_eq!(bench.backup(id).status, BackupStatus::Completed);
}

#[tokio::test]
async fn a_backup_whose_time_is_over_is_not_taken_again() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let asked = service
        .create_backup(site.environment_id, BackupScope::Db, Some(1), None, None)
        .await
        .unwrap();
    let failure = Failure::new(JobErrorCode::AnsibleTimeout, "too slow");
    let next = bench.sites.runtime.count(RuntimeMethod::StageBackup) + 1;
    bench
        .sites
        .runtime
        .fail(RuntimeMethod::StageBackup, next, Fault::Refuses(failure));
    bench.run().await;
    assert_eq!(bench.backup(asked.backup_id.unwrap()).status, BackupStatus::Failed);
    bench.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    let refused = bench.jobs_service.retry(asked.job_id, None).await.unwrap_err();
    assert_eq!(refused.code(), domain_kernel::ApiErrorCode::Conflict);
    assert!(refused.to_string().contains("is over"), "{refused}");
}
