//! The migrations, embedded: one series per database, with the same steps.

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::connection::AnyConnection;
use crate::transaction::WRITER_LOCK;

/// For SQLite.
pub const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
/// For PostgreSQL.
pub const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Why the migrations could not be listed or applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// There was no connection.
    #[error("no connection to the database could be had")]
    Pool(#[from] diesel::r2d2::PoolError),
    /// A statement outside a migration failed.
    #[error("the database failed")]
    Query(#[from] diesel::result::Error),
    /// A migration failed; those before it stay applied.
    #[error("a migration failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Applies what is missing; returns the names of what it applied, in order.
pub(crate) fn migrate(connection: &mut AnyConnection) -> Result<Vec<String>, MigrateError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => apply(sqlite, SQLITE),
        AnyConnection::Postgres(postgres) => {
            // Two processes that start together: the second finds everything applied.
            postgres.batch_execute(&format!("SELECT pg_advisory_lock({WRITER_LOCK})"))?;
            let applied = apply(postgres, POSTGRES);
            let unlocked = postgres.batch_execute(&format!("SELECT pg_advisory_unlock({WRITER_LOCK})"));
            let applied = applied?;
            unlocked?;
            Ok(applied)
        }
    }
}

/// The names of the migrations that are not applied, in order.
pub(crate) fn pending(connection: &mut AnyConnection) -> Result<Vec<String>, MigrateError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => list(sqlite, SQLITE),
        AnyConnection::Postgres(postgres) => list(postgres, POSTGRES),
    }
}

fn apply<C, B>(connection: &mut C, source: EmbeddedMigrations) -> Result<Vec<String>, MigrateError>
where
    B: diesel::backend::Backend,
    C: MigrationHarness<B>,
    EmbeddedMigrations: MigrationSource<B>,
{
    let mut applied = Vec::new();
    for migration in connection.pending_migrations(source).map_err(MigrateError::Migration)? {
        connection.run_migration(&migration).map_err(MigrateError::Migration)?;
        applied.push(migration.name().to_string());
    }
    Ok(applied)
}

fn list<C, B>(connection: &mut C, source: EmbeddedMigrations) -> Result<Vec<String>, MigrateError>
where
    B: diesel::backend::Backend,
    C: MigrationHarness<B>,
    EmbeddedMigrations: MigrationSource<B>,
{
    let pending = connection.pending_migrations(source).map_err(MigrateError::Migration)?;
    Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
}
