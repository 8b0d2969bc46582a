//! One connection type over both databases.

use diesel::{PgConnection, SqliteConnection};

/// A connection to SQLite or to PostgreSQL. Queries are written once against it; where the two differ, a named
/// function has an arm for each.
#[derive(diesel::MultiConnection)]
pub(crate) enum AnyConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The backend that boxed queries are built for.
pub(crate) type AnyBackend = <AnyConnection as diesel::Connection>::Backend;
