//! Migrations can be applied, undone and applied again without a difference.

use accounts_domain::{AuditAction, AuditLog};
use diesel::backend::Backend;
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use jobs::{JobFilter, JobKind, NewJob, PageRequest};
use nodes_domain::{CreatedNode, Idempotency, NodeStore};
use persistence_diesel::migrations::{POSTGRES, SQLITE};

use crate::site_support::{World, new_job};
use crate::support::{Raw, new_node, store_tests};

#[derive(Debug, PartialEq, Eq, QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Everything that SQLite knows of its tables and indexes.
const SQLITE_SHAPE: &str = "SELECT type || ' ' || name || ': ' || coalesce(sql, '') AS line FROM sqlite_master
    WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY line";

/// The same of PostgreSQL: columns in their order (a dropped one leaves a gap in its own count), indexes, constraints and
/// sequences.
const POSTGRES_SHAPE: &str = "
    SELECT 'column ' || table_name || '.' || column_name || ' '
        || row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position) || ' ' || data_type || ' '
        || is_nullable || ' ' || coalesce(collation_name, '') || ' ' || is_identity AS line
        FROM information_schema.columns WHERE table_schema = current_schema()
    UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = current_schema()
    UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
    UNION ALL SELECT 'sequence ' || sequencename FROM pg_sequences WHERE schemaname = current_schema()
    ORDER BY line";

/// Takes every migration up, down and up, each on top of those before it.
fn up_down_up<C, B>(connection: &mut C, source: fn() -> EmbeddedMigrations, shape: impl Fn(&mut C) -> Vec<Line>)
where
    B: Backend,
    C: MigrationHarness<B>,
    EmbeddedMigrations: MigrationSource<B>,
{
    connection.revert_all_migrations(source()).unwrap();
    let empty = shape(connection);
    let migrations = MigrationSource::<B>::migrations(&source()).unwrap();
    assert!(!migrations.is_empty());
    for migration in &migrations {
        let name = migration.name().to_string();
        let before = shape(connection);
        connection.run_migration(migration).unwrap();
        let after = shape(connection);
        assert_ne!(after, before, "{name} does nothing");
        connection.revert_migration(migration).unwrap();
        assert_eq!(shape(connection), before, "{name} is not undone whole");
        connection.run_migration(migration).unwrap();
        assert_eq!(shape(connection), after, "{name} is not the same the second time");
    }
    for migration in migrations.iter().rev() {
        connection.revert_migration(migration).unwrap();
    }
    assert_eq!(shape(connection), empty);
}

store_tests! {
    async fn a_key_from_before_there_were_sites_is_replayed_and_jobs_of_sites_do_not_go_back(db) {
        let world = World::of(db).await;
        let db = world.database.as_ref().unwrap();
        let made = world.active_site("shop").await;
        let node = new_node();
        let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3);
        let key = |key: &str| {
            Some(Idempotency { account_id: world.account, key: key.to_owned(), request_hash: "hash".to_owned() })
        };
        let first = NodeStore::create(&db.store, node.clone(), job.clone(), key("node")).await.unwrap();
        let of_site = new_job(JobKind::SiteDelete, &made);
        world.sites.enqueue(vec![], vec![], of_site, key("site")).await.unwrap();
        world.sites.record_login_shown(made.environment, world.account).await.unwrap();
        let page = PageRequest { limit: 9, after: None };
        let told = db.store.entries(&page).await.unwrap().items.len();
        let since = [
            "20261123000008_sites",
            "20261123000009_overview",
            "20261123000010_environments_proved",
            "20261123000011_jobs_of_a_choice",
        ];
        for _ in since {
            match db.raw() {
                Raw::Sqlite(mut connection) => drop(connection.revert_last_migration(SQLITE).unwrap()),
                Raw::Postgres(mut connection) => drop(connection.revert_last_migration(POSTGRES).unwrap()),
            }
        }
        assert_eq!(db.store.migrate().unwrap(), since);
        let again = NodeStore::create(&db.store, node, job, key("node")).await.unwrap();
        assert_eq!(again, CreatedNode { replayed: true, ..first });
        assert_eq!(world.sites.site_count().await.unwrap(), 0);
        let filter = JobFilter { site_id: Some(made.site), ..JobFilter::default() };
        let left = world.catalog.jobs(&filter, &page).await.unwrap();
        assert!(left.items.is_empty(), "older versions do not know their kinds");
        let lines = db.store.entries(&page).await.unwrap().items;
        assert!(lines.iter().all(|line| line.action != AuditAction::LoginShown), "nor what the audit log says of sites");
        assert_eq!(lines.len(), told - 1);
    }

    async fn every_migration_goes_up_down_and_up_without_a_difference(db) {
        match db.raw() {
            Raw::Sqlite(mut connection) => up_down_up(&mut connection, || SQLITE, |connection| {
                sql_query(SQLITE_SHAPE).load(connection).unwrap()
            }),
            Raw::Postgres(mut connection) => up_down_up(&mut connection, || POSTGRES, |connection| {
                sql_query(POSTGRES_SHAPE).load(connection).unwrap()
            }),
        }
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    fn names<B: Backend>(source: EmbeddedMigrations) -> Vec<String>
    where
        EmbeddedMigrations: MigrationSource<B>,
    {
        let migrations = MigrationSource::<B>::migrations(&source).unwrap();
        migrations
            .iter()
            .map(|migration| migration.name().to_string())
            .collect()
    }
    assert_eq!(
        names::<diesel::sqlite::Sqlite>(SQLITE),
        names::<diesel::pg::Pg>(POSTGRES)
    );
}
