//! Units of work. Writers never run at the same time, on either database: SQLite has one writer anyway, and on
//! PostgreSQL a lock that ends with the transaction does the same. So what a writer has read stays true until it
//! commits, and events become visible in the order of their sequence.

use diesel::Connection;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::result::{Error, QueryResult};

use crate::connection::AnyConnection;
use crate::error::DbError;

/// Any number that no other program takes in the same database: "pressluf" as bytes.
pub(crate) const WRITER_LOCK: i64 = i64::from_be_bytes(*b"pressluf");

type Manager = <AnyConnection as Connection>::TransactionManager;

/// Runs `work` as the only writer; what it wrote is undone where it fails.
pub(crate) fn write<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, DbError>,
) -> Result<T, DbError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE")?,
        AnyConnection::Postgres(postgres) => AnsiTransactionManager::begin_transaction_sql(postgres, "BEGIN")?,
    }
    end(connection, |connection| {
        if let AnyConnection::Postgres(postgres) = connection {
            postgres.batch_execute(&format!("SELECT pg_advisory_xact_lock({WRITER_LOCK})"))?;
        }
        work(connection)
    })
}

/// Runs `work`, which only reads, on one state of the database.
pub(crate) fn read<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, DbError>,
) -> Result<T, DbError> {
    match connection {
        AnyConnection::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN DEFERRED")?,
        AnyConnection::Postgres(postgres) => {
            AnsiTransactionManager::begin_transaction_sql(postgres, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")?
        }
    }
    end(connection, work)
}

fn end<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, DbError>,
) -> Result<T, DbError> {
    match work(connection) {
        Ok(value) => {
            Manager::commit_transaction(connection)?;
            Ok(value)
        }
        Err(error) => match rollback(connection) {
            Ok(()) => Err(error),
            Err(rollback_error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a transaction failed, and so did its end"
                );
                Err(rollback_error.into())
            }
        },
    }
}

fn rollback(connection: &mut AnyConnection) -> QueryResult<()> {
    match Manager::rollback_transaction(connection) {
        // The connection is dead and is thrown away: the server undoes the transaction by itself.
        Ok(()) | Err(Error::BrokenTransactionManager) => Ok(()),
        Err(error) => Err(error),
    }
}
