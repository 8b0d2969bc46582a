//! Backups, and what the clock asks for.

use std::time::Duration;

use domain_kernel::{EnvironmentId, JobId};
use jobs::{JobKind, Page, PageRequest, StoreError};
use serde_json::json;
use sites_domain::{
    Backup, BackupChange, BackupFilter, BackupSchedule, BackupScope, BackupStatus, BackupTrigger, Change,
    EnvironmentStatus, NewBackup, StorageId, StoredObject,
};

use crate::site_support::{Made, World, new_backup, new_job, site_tests};
use crate::support::SECOND;

const HOUR: Duration = Duration::from_secs(3600);

fn status(backup: &NewBackup, status: BackupStatus) -> Change {
    Change::Backup(backup.id, BackupChange::Status(status))
}

fn completed(backup: &NewBackup) -> Change {
    let object = StoredObject {
        size_bytes: 5_000_000_000,
        sha256: "ab".repeat(32),
    };
    let path = format!("{}.tar.zst", backup.id);
    let storage = StorageId::new("local");
    Change::Backup(backup.id, BackupChange::Completed { storage, path, object })
}

async fn put(world: &World, backup: &NewBackup) {
    world.apply(vec![Change::AddBackup(backup.clone())]).await.unwrap();
}

async fn complete(world: &World, backup: &NewBackup) {
    world
        .apply(vec![status(backup, BackupStatus::Running), completed(backup)])
        .await
        .unwrap();
}

async fn found(world: &World, filter: BackupFilter, limit: u32, after: Option<String>) -> Page<Backup> {
    world
        .sites
        .backups(&filter, &PageRequest { limit, after })
        .await
        .unwrap()
}

async fn schedule(world: &World, made: &Made, every_hours: u32) {
    let schedule = BackupSchedule {
        every_hours,
        keep_days: 1,
        backup_scope: BackupScope::Full,
    };
    world
        .apply(vec![Change::Schedule(made.environment, Some(schedule))])
        .await
        .unwrap();
}

async fn scheduled(world: &World) -> Vec<EnvironmentId> {
    let due = world.sites.due_backups(world.now(), None).await.unwrap();
    due.scheduled.into_iter().map(|environment| environment.id).collect()
}

async fn expired(world: &World) -> Vec<domain_kernel::BackupId> {
    let due = world.sites.due_backups(world.now(), None).await.unwrap();
    due.expired.into_iter().map(|backup| backup.id).collect()
}

site_tests! {
    async fn a_backup_is_pending_then_complete_with_what_is_stored_then_gone(world) {
        let made = world.active_site("shop").await;
        let new = NewBackup { retention_until: Some(world.now()), ..new_backup(&made, BackupTrigger::Manual) };
        let job = new_job(JobKind::BackupCreate, &made).with_backup(new.id);
        world.sites.enqueue(vec![], vec![Change::AddBackup(new.clone())], job, None).await.unwrap();
        let asked_at = world.now();
        let pending = world.backup(new.id).await;
        assert_eq!((pending.status, pending.trigger, pending.scope),
            (BackupStatus::Pending, BackupTrigger::Manual, BackupScope::Full));
        assert_eq!((pending.environment_id, pending.site_id), (made.environment, made.site));
        assert_eq!((pending.storage, pending.storage_path, pending.checksum, pending.size_bytes, pending.completed_at),
            (None, None, None, None, None));
        assert_eq!((pending.created_at, pending.retention_until), (asked_at, Some(asked_at)));
        let claim = world.claim().await;
        world.clock.advance(SECOND);
        world.sites.change_in_job(&claim, vec![status(&new, BackupStatus::Running)]).await.unwrap();
        world.sites.settle_job(&claim, &jobs::Outcome::Succeeded, vec![completed(&new)]).await.unwrap();
        let done = world.backup(new.id).await;
        assert_eq!((done.status, done.completed_at), (BackupStatus::Completed, Some(world.now())));
        assert_eq!((done.size_bytes, done.checksum), (Some(5_000_000_000), Some("ab".repeat(32))));
        assert_eq!((done.storage, done.storage_path), (Some(StorageId::new("local")), Some(format!("{}.tar.zst", new.id))));
        world.apply(vec![status(&new, BackupStatus::Expired)]).await.unwrap();
        assert!(world.backup(new.id).await.storage_path.is_some(), "expired, but there still");
        let remove = Change::Backup(new.id, BackupChange::Removed);
        world.apply(vec![remove.clone(), remove]).await.unwrap();
        let gone = world.backup(new.id).await;
        assert_eq!((gone.status, gone.storage, gone.storage_path),
            (BackupStatus::Expired, Some(StorageId::new("local")), None));
        let told: Vec<_> = world.told().await.into_iter().filter(|(_, _, data)| !data["backup_status"].is_null()).collect();
        let data = |status: &str| json!({"backup_status": status, "backup_id": new.id, "site_id": made.site});
        let by_job = |status: &str| (Some(claim.job_id), Some(made.node), data(status));
        assert_eq!(told, [by_job("pending"), by_job("running"), by_job("completed"),
            (None, Some(made.node), data("expired"))]);
    }

    async fn a_backup_takes_no_way_that_it_does_not_have(world) {
        let made = world.active_site("shop").await;
        let new = new_backup(&made, BackupTrigger::Manual);
        put(&world, &new).await;
        let removed = Change::Backup(new.id, BackupChange::Removed);
        for change in [completed(&new), removed, status(&new, BackupStatus::Expired)] {
            let refused = world.apply(vec![change]).await;
            assert!(matches!(refused, Err(StoreError::VersionConflict("backup"))), "{refused:?}");
        }
        assert_eq!(world.backup(new.id).await.status, BackupStatus::Pending);
        let nowhere = new_backup(&made, BackupTrigger::Manual);
        let missing = world.apply(vec![status(&nowhere, BackupStatus::Running)]).await;
        assert!(matches!(missing, Err(StoreError::NotFound("backup"))), "{missing:?}");
        let lost = NewBackup { environment_id: EnvironmentId::generate(), ..nowhere.clone() };
        let elsewhere = NewBackup { site_id: world.active_site("other").await.site, ..nowhere };
        for backup in [lost, elsewhere] {
            let missing = world.apply(vec![Change::AddBackup(backup)]).await;
            assert!(matches!(missing, Err(StoreError::NotFound("environment"))), "{missing:?}");
        }
    }

    async fn backups_are_found_newest_first_by_what_they_are_of(world) {
        let made = world.active_site("shop").await;
        let other = world.active_site("other").await;
        let all = [&made, &made, &other, &made].map(|made| new_backup(made, BackupTrigger::Manual));
        for backup in &all {
            put(&world, backup).await;
        }
        complete(&world, &all[1]).await;
        let ids = async |filter| -> Vec<_> {
            found(&world, filter, 9, None).await.items.into_iter().map(|backup| backup.id).collect()
        };
        let none = BackupFilter::default();
        assert_eq!(ids(none.clone()).await, [all[3].id, all[2].id, all[1].id, all[0].id]);
        let of_environment = BackupFilter { environment_id: Some(made.environment), ..none.clone() };
        assert_eq!(ids(of_environment.clone()).await, [all[3].id, all[1].id, all[0].id]);
        assert_eq!(ids(BackupFilter { site_id: Some(other.site), ..none.clone() }).await, [all[2].id]);
        assert_eq!(ids(BackupFilter { status: Some(BackupStatus::Completed), ..none.clone() }).await, [all[1].id]);
        assert_eq!(ids(BackupFilter { job_id: Some(all[3].job_id), ..none.clone() }).await, [all[3].id]);
        assert_eq!(ids(BackupFilter { job_id: Some(JobId::generate()), ..none }).await, []);
        let first = found(&world, of_environment.clone(), 2, None).await;
        let second = found(&world, of_environment, 2, first.next.clone()).await;
        assert_eq!((first.items.len(), second.items.len(), second.items[0].id), (2, 1, all[0].id));
        assert_eq!(second.next, None);
    }

    async fn a_scheduled_backup_is_due_when_the_newest_is_an_interval_old(world) {
        let made = world.active_site("shop").await;
        assert_eq!(scheduled(&world).await, [], "no schedule");
        schedule(&world, &made, 2).await;
        assert_eq!(scheduled(&world).await, [made.environment], "there was none");
        put(&world, &new_backup(&made, BackupTrigger::Manual)).await;
        assert_eq!(scheduled(&world).await, [made.environment], "one that an operator wanted is another matter");
        let first = new_backup(&made, BackupTrigger::Scheduled);
        put(&world, &first).await;
        assert_eq!(scheduled(&world).await, []);
        world.clock.advance(3 * HOUR);
        assert_eq!(scheduled(&world).await, [], "it waits");
        world.apply(vec![status(&first, BackupStatus::Running)]).await.unwrap();
        assert_eq!(scheduled(&world).await, [], "it runs");
        world.apply(vec![status(&first, BackupStatus::Failed)]).await.unwrap();
        assert_eq!(scheduled(&world).await, [made.environment]);
        let second = new_backup(&made, BackupTrigger::Scheduled);
        put(&world, &second).await;
        world.apply(vec![status(&second, BackupStatus::Failed)]).await.unwrap();
        assert_eq!(scheduled(&world).await, [], "one that failed is not tried again at once");
        world.clock.advance(2 * HOUR - SECOND);
        assert_eq!(scheduled(&world).await, []);
        world.clock.advance(SECOND);
        assert_eq!(scheduled(&world).await, [made.environment]);
        world.apply(vec![Change::EnvironmentStatus(made.environment, EnvironmentStatus::Restoring)]).await.unwrap();
        assert_eq!(scheduled(&world).await, [], "only active ones");
    }

    async fn one_backup_of_a_schedule_waits_or_runs_at_a_time(world) {
        let made = world.active_site("shop").await;
        let [first, second] = [(); 2].map(|()| new_backup(&made, BackupTrigger::Scheduled));
        put(&world, &first).await;
        let refused = async || world.apply(vec![Change::AddBackup(second.clone())]).await;
        assert!(matches!(refused().await, Err(StoreError::VersionConflict("backup"))), "it waits");
        world.apply(vec![status(&first, BackupStatus::Running)]).await.unwrap();
        assert!(matches!(refused().await, Err(StoreError::VersionConflict("backup"))), "it runs");
        put(&world, &new_backup(&made, BackupTrigger::Manual)).await;
        put(&world, &new_backup(&world.active_site("other").await, BackupTrigger::Scheduled)).await;
        world.apply(vec![completed(&first)]).await.unwrap();
        put(&world, &second).await;
    }

    async fn a_backup_that_was_asked_for_again_is_not_asked_for_twice(world) {
        let made = world.active_site("shop").await;
        let new = new_backup(&made, BackupTrigger::Manual);
        put(&world, &new).await;
        world.apply(vec![status(&new, BackupStatus::Failed), status(&new, BackupStatus::Pending)]).await.unwrap();
        let again = world.apply(vec![status(&new, BackupStatus::Pending)]).await;
        assert!(matches!(again, Err(StoreError::VersionConflict("backup"))), "{again:?}");
    }

    async fn a_clock_that_was_ahead_for_a_while_does_not_stop_a_schedule(world) {
        let made = world.active_site("shop").await;
        schedule(&world, &made, 1).await;
        let right = world.now();
        world.clock.advance(1000 * HOUR);
        let ahead = new_backup(&made, BackupTrigger::Scheduled);
        put(&world, &ahead).await;
        complete(&world, &ahead).await;
        let due = world.sites.due_backups(right, None).await.unwrap().scheduled;
        assert_eq!(due.into_iter().map(|environment| environment.id).collect::<Vec<_>>(), [made.environment]);
    }

    async fn who_waited_longest_for_a_backup_comes_first(world) {
        let one = world.active_site("one").await;
        let two = world.active_site("two").await;
        let three = world.active_site("three").await;
        for made in [&two, &one] {
            schedule(&world, made, 1).await;
            let backup = new_backup(made, BackupTrigger::Scheduled);
            put(&world, &backup).await;
            complete(&world, &backup).await;
            world.clock.advance(SECOND);
        }
        schedule(&world, &three, 1).await;
        world.clock.advance(HOUR);
        assert_eq!(scheduled(&world).await, [three.environment, two.environment, one.environment]);
    }

    async fn a_backup_is_to_be_removed_past_its_retention_and_until_nothing_of_it_is_stored(world) {
        let made = world.active_site("shop").await;
        let until = world.now().plus(HOUR);
        let kept = new_backup(&made, BackupTrigger::Manual);
        let [limited, given_up, failed] =
            [(); 3].map(|()| NewBackup { retention_until: Some(until), ..new_backup(&made, BackupTrigger::Manual) });
        for backup in [&kept, &limited, &given_up] {
            put(&world, backup).await;
            complete(&world, backup).await;
        }
        put(&world, &failed).await;
        world.apply(vec![status(&failed, BackupStatus::Failed)]).await.unwrap();
        assert_eq!(expired(&world).await, []);
        world.apply(vec![status(&given_up, BackupStatus::Expired)]).await.unwrap();
        assert_eq!(expired(&world).await, [given_up.id]);
        world.clock.advance(HOUR - SECOND);
        assert_eq!(expired(&world).await, [given_up.id]);
        world.clock.advance(SECOND);
        assert_eq!(expired(&world).await, [limited.id, given_up.id]);
        for backup in [&limited, &given_up] {
            world.apply(vec![Change::Backup(backup.id, BackupChange::Removed)]).await.unwrap();
        }
        world.clock.advance(1000 * HOUR);
        assert_eq!(expired(&world).await, [], "what has no retention is kept");
    }

    async fn at_most_a_hundred_are_due_at_once(world) {
        let made = world.active_site("shop").await;
        let until = Some(world.now());
        let mut ids = Vec::new();
        for _ in 0..101 {
            let backup = NewBackup { retention_until: until, ..new_backup(&made, BackupTrigger::Manual) };
            ids.push(backup.id);
            let changes = vec![Change::AddBackup(backup.clone()), status(&backup, BackupStatus::Running), completed(&backup)];
            world.apply(changes).await.unwrap();
        }
        assert_eq!(expired(&world).await, ids[..100]);
        let rest = world.sites.due_backups(world.now(), Some(ids[99])).await.unwrap().expired;
        assert_eq!(rest.into_iter().map(|backup| backup.id).collect::<Vec<_>>(), ids[100..]);
    }
}
