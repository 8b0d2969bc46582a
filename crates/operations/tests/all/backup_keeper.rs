//! The keeper: schedules, retention, and trouble with one that keeps none of the others.

use std::pin::pin;
use std::time::Duration;

use domain_kernel::{CancelToken, StopReason};
use futures_util::poll;
use jobs::{JobKind, Outcome, RunEnd};
use sites_domain::{BackupSchedule, BackupScope, BackupStatus, BackupTrigger, StorageError, StorageId};

use crate::bench::Bench;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn daily() -> BackupSchedule {
    BackupSchedule {
        every_hours: 24,
        keep_days: 7,
        backup_scope: BackupScope::Db,
    }
}

#[tokio::test]
async fn a_scheduled_backup_is_taken_at_once_and_then_at_every_interval() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let keeper = bench.sites.keeper(bench.clock.clone());
    keeper.round().await.unwrap();
    assert!(bench.sites.rows.all_backups().is_empty(), "no schedule, no backup");
    bench
        .sites
        .service
        .set_schedule(site.environment_id, Some(daily()), None)
        .await
        .unwrap();
    keeper.round().await.unwrap();
    keeper.round().await.unwrap();
    let all = bench.sites.rows.all_backups();
    assert_eq!(all.len(), 1, "one waits");
    assert_eq!(
        (all[0].trigger, all[0].scope),
        (BackupTrigger::Scheduled, BackupScope::Db)
    );
    assert_eq!(all[0].retention_until, Some(all[0].created_at.plus(HOUR * 24 * 7)));
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    bench.clock.advance(HOUR * 23);
    keeper.round().await.unwrap();
    assert_eq!(bench.sites.rows.all_backups().len(), 1);
    bench.clock.advance(HOUR);
    keeper.round().await.unwrap();
    assert_eq!(bench.sites.rows.all_backups().len(), 2);
    assert_eq!(bench.claim().await.job.kind, JobKind::BackupCreate);
}

#[tokio::test]
async fn a_backup_past_its_retention_expires_and_what_is_stored_of_it_is_removed() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let asked = service
        .create_backup(site.environment_id, BackupScope::Db, Some(1), None, None)
        .await
        .unwrap();
    bench.run().await;
    let kept = bench.stored_backup(site.environment_id).await;
    let keeper = bench.sites.keeper(bench.clock.clone());
    bench.clock.advance(HOUR * 24 - Duration::from_secs(1));
    keeper.round().await.unwrap();
    assert_eq!(bench.sites.storage.objects().len(), 2);
    bench.clock.advance(Duration::from_secs(1));
    keeper.round().await.unwrap();
    let backup = bench.backup(asked.backup_id.unwrap());
    assert_eq!((backup.status, backup.storage_path), (BackupStatus::Expired, None));
    assert_eq!(bench.backup(kept).status, BackupStatus::Completed);
    assert_eq!(bench.sites.storage.objects().len(), 1);
    service.expire_backup(kept, None).await.unwrap();
    keeper.round().await.unwrap();
    assert!(bench.sites.storage.objects().is_empty(), "given up by hand");
}

#[tokio::test]
async fn trouble_with_one_backup_keeps_none_of_the_others_and_is_tried_again() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let first = bench.stored_backup(site.environment_id).await;
    let second = bench.stored_backup(site.environment_id).await;
    for id in [first, second] {
        bench.sites.service.expire_backup(id, None).await.unwrap();
    }
    let mut elsewhere = bench.backup(first);
    elsewhere.storage = Some(StorageId::new("gone"));
    bench.sites.rows.put_backup(elsewhere);
    let keeper = bench.sites.keeper(bench.clock.clone());
    keeper.round().await.unwrap();
    assert_eq!(bench.backup(second).storage_path, None);
    assert!(bench.backup(first).storage_path.is_some());
    let mut back = bench.backup(first);
    back.storage = Some(StorageId::new("local"));
    bench.sites.rows.put_backup(back);
    bench.sites.storage.fail(Some(StorageError::Full {
        storage: StorageId::new("local"),
    }));
    keeper.round().await.unwrap();
    assert!(bench.backup(first).storage_path.is_some());
    bench.sites.storage.fail(None);
    keeper.round().await.unwrap();
    assert_eq!(bench.backup(first).storage_path, None);
    assert!(bench.sites.storage.objects().is_empty());
}

#[tokio::test]
async fn backups_that_cannot_be_removed_hide_no_others_however_many_they_are() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let stored = bench.stored_backup(site.environment_id).await;
    bench.sites.service.expire_backup(stored, None).await.unwrap();
    // The lowest ids come first, and these are lower than any of this time.
    for number in 0..100_u128 {
        let mut elsewhere = bench.backup(stored);
        elsewhere.id = format!("00000000-0000-7000-8000-{number:012x}").parse().unwrap();
        elsewhere.storage = Some(StorageId::new("gone"));
        bench.sites.rows.put_backup(elsewhere);
    }
    bench.sites.keeper(bench.clock.clone()).round().await.unwrap();
    assert_eq!(bench.backup(stored).storage_path, None);
    assert!(bench.sites.storage.objects().is_empty());
}

#[tokio::test]
async fn a_backup_does_not_expire_while_its_environment_is_restored() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let asked = service
        .create_backup(site.environment_id, BackupScope::Full, Some(1), None, None)
        .await
        .unwrap();
    bench.run().await;
    let id = asked.backup_id.unwrap();
    service.restore(site.environment_id, id, None).await.unwrap();
    bench.clock.advance(HOUR * 48);
    let keeper = bench.sites.keeper(bench.clock.clone());
    keeper.round().await.unwrap();
    assert_eq!(bench.backup(id).status, BackupStatus::Completed);
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    keeper.round().await.unwrap();
    assert_eq!(bench.backup(id).status, BackupStatus::Expired);
}

#[tokio::test]
async fn the_keeper_looks_every_minute_goes_on_after_trouble_and_stops_when_told() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    bench
        .sites
        .service
        .set_schedule(site.environment_id, Some(daily()), None)
        .await
        .unwrap();
    let stop = CancelToken::new();
    let keeper = bench.sites.keeper(bench.clock.clone());
    let mut run = pin!(keeper.run(stop.clone()));
    bench.jobs.set_failing(true);
    for _ in 0..20 {
        assert!(poll!(&mut run).is_pending());
    }
    bench.jobs.set_failing(false);
    assert!(bench.sites.rows.all_backups().is_empty());
    bench.clock.advance(Duration::from_secs(60));
    for _ in 0..50 {
        assert!(poll!(&mut run).is_pending());
    }
    assert_eq!(bench.sites.rows.all_backups().len(), 1);
    stop.cancel(StopReason::Shutdown);
    assert!(poll!(&mut run).is_ready());
}
