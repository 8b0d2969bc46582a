//! Of sites, what only a database has: the audit log, retention, what fails with a table, what the tables refuse.

use std::time::Duration;

use accounts_domain::{AuditAction, AuditEntry, AuditLog, AuditSubjectKind};
use domain_kernel::{BackupId, EnvironmentId};
use jobs::{Housekeeping, JobKind, JobStatus, Outcome, PageRequest, PruneCut, StoreError};
use nodes_domain::Idempotency;
use serde_json::json;
use sites_domain::{
    BackupChange, BackupSchedule, BackupScope, BackupStatus, BackupTrigger, Change, EnvironmentStatus, SiteStatus,
    StorageId, StoredObject,
};

use crate::site_support::{Made, World, new_backup, new_job, new_site};
use crate::support::{SECOND, TestDatabase, store_tests};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn database(world: &World) -> &TestDatabase {
    world.database.as_ref().unwrap()
}

/// The lines of the audit log, oldest first, but for that of the account itself.
async fn lines(world: &World) -> Vec<AuditEntry> {
    let page = PageRequest {
        limit: 100,
        after: None,
    };
    let mut lines = database(world).store.entries(&page).await.unwrap().items;
    lines.reverse();
    lines
        .into_iter()
        .filter(|line| line.action != AuditAction::AccountCreated)
        .collect()
}

async fn complete_backup(world: &World, made: &Made) -> BackupId {
    let backup = new_backup(made, BackupTrigger::Manual);
    let object = StoredObject {
        size_bytes: 1,
        sha256: "ab".repeat(32),
    };
    let completed = BackupChange::Completed {
        storage: StorageId::new("local"),
        path: "a".to_owned(),
        object,
    };
    let id = backup.id;
    let running = BackupChange::Status(BackupStatus::Running);
    world
        .apply(vec![
            Change::AddBackup(backup),
            Change::Backup(id, running),
            Change::Backup(id, completed),
        ])
        .await
        .unwrap();
    id
}

async fn fail(world: &World, made: &Made) {
    let changes = [EnvironmentStatus::Restoring, EnvironmentStatus::Failed];
    let changes = changes.map(|status| Change::EnvironmentStatus(made.environment, status));
    world.apply(changes.to_vec()).await.unwrap();
}

fn is_backend<T: std::fmt::Debug>(result: Result<T, StoreError>, table: &str) {
    let Err(StoreError::Backend(source)) = result else {
        panic!("{result:?}")
    };
    assert!(source.to_string().contains(table), "the cause is told: {source}");
}

store_tests! {
    async fn what_an_account_does_to_a_site_is_told(db) {
        let world = World::of(db).await;
        let made = world.active_site("shop").await;
        let backup = complete_backup(&world, &made).await;
        fail(&world, &made).await;
        assert_eq!(lines(&world).await, [], "what the system does by itself is no line");
        let by = Some(world.account);
        let schedule = BackupSchedule { every_hours: 24, keep_days: 7, backup_scope: BackupScope::Db };
        let reset = vec![
            Change::SiteStatus(made.site, SiteStatus::Active),
            Change::EnvironmentStatus(made.environment, EnvironmentStatus::Active),
        ];
        world.sites.apply(vec![], reset, by).await.unwrap();
        let site_alone = vec![Change::SiteStatus(made.site, SiteStatus::Active)];
        world.sites.apply(vec![], site_alone, by).await.unwrap();
        for wanted in [Some(schedule), None] {
            world.sites.apply(vec![], vec![Change::Schedule(made.environment, wanted)], by).await.unwrap();
        }
        let expire = Change::Backup(backup, BackupChange::Status(BackupStatus::Expired));
        world.sites.apply(vec![], vec![expire], by).await.unwrap();
        let version = Change::WordPressVersion(made.environment, "7.1.1".to_owned());
        let elsewhere = Change::PreviewUrl(made.environment, "http://elsewhere.test".to_owned());
        world.sites.apply(vec![], vec![version, elsewhere], by).await.unwrap();
        world.sites.record_login_shown(made.environment, world.account).await.unwrap();
        let log = lines(&world).await;
        let told: Vec<_> = log
            .iter()
            .map(|line| {
                let subject = line.subject.as_ref().unwrap();
                (line.action, subject.kind, subject.id.clone(), line.detail.clone().unwrap())
            })
            .collect();
        let of_environment = |action, detail| {
            (action, AuditSubjectKind::Environment, made.environment.to_string(), detail)
        };
        let scheduled = |schedule| json!({"site_id": made.site, "backup_schedule": schedule});
        assert_eq!(told, [
            of_environment(AuditAction::Reset, json!({"site_id": made.site})),
            of_environment(AuditAction::Reset, json!({"site_id": made.site})),
            of_environment(AuditAction::BackupScheduled,
                scheduled(json!({"every_hours": 24, "keep_days": 7, "backup_scope": "db"}))),
            of_environment(AuditAction::BackupScheduled, scheduled(json!(null))),
            (AuditAction::BackupExpired, AuditSubjectKind::Backup, backup.to_string(),
                json!({"site_id": made.site, "environment_id": made.environment})),
            of_environment(AuditAction::LoginShown, json!({"site_id": made.site})),
        ]);
        assert!(log.iter().all(|line| line.account_id == Some(world.account)));
        let missing = world.sites.record_login_shown(EnvironmentId::generate(), world.account).await;
        assert!(matches!(missing, Err(StoreError::NotFound("environment"))), "{missing:?}");
    }

    async fn a_job_of_a_site_that_an_account_asks_for_is_told_once_with_what_it_is_of(db) {
        let world = World::of(db).await;
        let made = world.active_site("shop").await;
        let job = new_job(JobKind::SiteDelete, &made).requested_by(Some(world.account));
        let idempotency = Idempotency { account_id: world.account, key: "key".to_owned(), request_hash: "h".to_owned() };
        for _ in 0..2 {
            world.sites.enqueue(vec![], vec![], job.clone(), Some(idempotency.clone())).await.unwrap();
        }
        let log = lines(&world).await;
        assert_eq!((log.len(), log[0].action), (1, AuditAction::JobRequested));
        assert_eq!(log[0].detail, Some(json!({"kind": "site_delete", "node_id": made.node, "site_id": made.site,
            "environment_id": made.environment})));
    }

    async fn what_cannot_be_told_is_not_done(db) {
        let world = World::of(db).await;
        let made = world.active_site("shop").await;
        let before = (world.site(made.site).await, world.environment(made.environment).await);
        let by = Some(world.account);
        let restoring = || vec![
            Change::SiteStatus(made.site, SiteStatus::Restoring),
            Change::EnvironmentStatus(made.environment, EnvironmentStatus::Restoring),
        ];
        world.sites.enqueue(vec![], vec![], new_job(JobKind::EnvRestore, &made), None).await.unwrap();
        let claim = world.claim().await;
        let (changes, job) = new_site("new", made.node);
        database(&world).execute("ALTER TABLE events RENAME TO events_away");
        is_backend(world.sites.enqueue(vec![], changes, job.clone(), None).await, "events");
        is_backend(world.apply(restoring()).await, "events");
        is_backend(world.sites.change_in_job(&claim, restoring()).await, "events");
        is_backend(world.sites.settle_job(&claim, &Outcome::Succeeded, restoring()).await, "events");
        database(&world).execute("ALTER TABLE events_away RENAME TO events");
        database(&world).execute("ALTER TABLE audit RENAME TO audit_away");
        is_backend(world.sites.apply(vec![], restoring(), by).await, "audit");
        is_backend(world.sites.record_login_shown(made.environment, world.account).await, "audit");
        database(&world).execute("ALTER TABLE audit_away RENAME TO audit");
        assert_eq!((world.site(made.site).await, world.environment(made.environment).await), before);
        assert_eq!(world.sites.site_count().await.unwrap(), 1);
        assert!(world.catalog.job(job.id).await.unwrap().is_none());
        assert_eq!(world.catalog.job(claim.job_id).await.unwrap().unwrap().job.status, JobStatus::Running);
    }

    async fn old_jobs_of_a_site_go_but_its_newest_and_its_backups_stay_while_it_is_there(db) {
        let world = World::of(db).await;
        let made = world.active_site("shop").await;
        let backup = new_backup(&made, BackupTrigger::Scheduled);
        let mut ended = Vec::new();
        for _ in 0..2 {
            let job = new_job(JobKind::BackupCreate, &made).with_backup(backup.id);
            ended.push(world.sites.enqueue(vec![], vec![], job, None).await.unwrap().job_id);
            let claim = world.claim().await;
            world.sites.settle_job(&claim, &Outcome::Succeeded, vec![]).await.unwrap();
        }
        let named = sites_domain::NewBackup { job_id: ended[0], ..backup };
        world.apply(vec![Change::AddBackup(named.clone())]).await.unwrap();
        let node_job = world.catalog.latest_jobs(&[made.node]).await.unwrap()[0].job.id;
        let prune = async || {
            world.clock.advance(DAY + SECOND);
            let now = world.now();
            let cut = PruneCut {
                now,
                finished_before: now.minus(DAY),
                audit_before: now.minus(DAY),
                max_events: 1_000_000,
                batch: 500,
            };
            database(&world).store.prune(&cut).await.unwrap().jobs
        };
        let there = async || {
            let mut there = Vec::new();
            for id in [node_job, made.job, ended[0], ended[1]] {
                there.push(world.catalog.job(id).await.unwrap().is_some());
            }
            there
        };
        assert_eq!(prune().await, 2);
        assert_eq!(there().await, [true, false, false, true], "the node's own and the site's newest");
        assert_eq!(world.backup(named.id).await.id, named.id);
        world.apply(vec![Change::RemoveSite(made.site)]).await.unwrap();
        assert_eq!(prune().await, 1);
        assert_eq!(there().await, [true, false, false, false]);
    }

    async fn the_database_itself_refuses_what_must_be_unique_and_what_hangs_on_nothing(db) {
        let world = World::of(db).await;
        let made = world.active_site("shop").await;
        world.active_site("other").await;
        let foreign_keys = match database(&world).raw() {
            crate::support::Raw::Sqlite(_) => "PRAGMA foreign_keys = ON;",
            crate::support::Raw::Postgres(_) => "",
        };
        let other = format!("WHERE id <> '{}'", made.environment);
        for (statement, word) in [
            ("UPDATE sites SET slug = 'same'".to_owned(), "unique"),
            ("UPDATE sites SET short_id = 'same'".to_owned(), "unique"),
            ("UPDATE environments SET short_id = 'same'".to_owned(), "unique"),
            (format!("UPDATE environments SET site_id = '{}' {other}", made.site), "unique"),
            (format!("UPDATE environments SET site_id = 'gone' {other}"), "foreign key"),
            ("UPDATE environments SET node_id = 'gone'".to_owned(), "foreign key"),
            (format!("DELETE FROM nodes WHERE id = '{}'", made.node), "foreign key"),
        ] {
            let refused = database(&world).try_execute(&format!("{foreign_keys}{statement}")).unwrap_err();
            let text = refused.to_string().to_lowercase();
            assert!(text.contains(word), "{statement}: {text}");
        }
    }

    async fn a_row_that_this_version_does_not_know_is_an_error_that_names_the_column(db) {
        let world = World::of(db).await;
        let made = world.active_site("shop").await;
        let backup = complete_backup(&world, &made).await;
        database(&world).execute("UPDATE sites SET status = 'dancing'");
        database(&world).execute("UPDATE environments SET backup_schedule = '{'");
        database(&world).execute("UPDATE backups SET size_bytes = -1");
        let failures = [
            (world.sites.site(made.site).await.map(drop), "sites.status"),
            (world.sites.environment(made.environment).await.map(drop), "environments.backup_schedule"),
            (world.sites.backup(backup).await.map(drop), "backups.size_bytes"),
            (world.sites.due_backups(world.now(), None).await.map(drop), "environments.backup_schedule"),
        ];
        for (failure, column) in failures {
            is_backend(failure, column);
        }
    }
}
