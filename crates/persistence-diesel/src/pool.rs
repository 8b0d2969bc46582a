//! Where the database is, and how connections to it are opened and kept.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::r2d2::{HandleError, ManageConnection, Pool, R2D2Connection};
use diesel::{Connection, PgConnection, SqliteConnection};

use crate::connection::AnyConnection;

/// Readers of SQLite beside its one writer.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 8;
/// How long work waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(30);

/// Why the database could not be opened. The URL is never told: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither a path nor a URL of a known kind.
    #[error("the database URL must be `sqlite:<path>`, a path, or `postgres://...`")]
    Url,
    /// A database in memory is gone with its connection.
    #[error("the database must be a file")]
    InMemory,
    /// The first connection failed.
    #[error("the database cannot be opened")]
    Connect(#[source] diesel::r2d2::Error),
    /// The pool of connections could not be filled.
    #[error("the database cannot be opened")]
    Pool(#[from] diesel::r2d2::PoolError),
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Sqlite { path: String },
    Postgres { url: String },
}

impl Place {
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres { url: url.to_owned() });
        }
        let path = match url.strip_prefix("sqlite:") {
            Some(path) => path.strip_prefix("//").unwrap_or(path),
            None if url.contains("://") => return Err(OpenError::Url),
            None => url,
        };
        match path {
            "" => Err(OpenError::Url),
            // SQLite reads names that begin with `file:` as URLs with options of their own.
            _ if path.starts_with("file:") => Err(OpenError::Url),
            ":memory:" => Err(OpenError::InMemory),
            _ => Ok(Self::Sqlite { path: path.to_owned() }),
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

/// Opens connections of one kind.
pub(crate) struct Manager {
    place: Place,
    access: Access,
}

impl ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, Self::Error> {
        match &self.place {
            Place::Sqlite { path } => open_sqlite(path, self.access).map(AnyConnection::Sqlite),
            Place::Postgres { url } => open_postgres(url).map(AnyConnection::Postgres),
        }
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), Self::Error> {
        connection.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        std::thread::panicking() || connection.is_broken()
    }
}

fn open_sqlite(path: &str, access: Access) -> Result<SqliteConnection, diesel::r2d2::Error> {
    let mut connection = SqliteConnection::establish(path).map_err(diesel::r2d2::Error::ConnectionError)?;
    // busy_timeout comes first: the change to WAL needs a lock, too.
    let settings = match access {
        Access::Write => {
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
        }
        Access::Read => "PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON; PRAGMA query_only = ON;",
    };
    connection
        .batch_execute(settings)
        .map_err(diesel::r2d2::Error::QueryError)?;
    Ok(connection)
}

fn open_postgres(url: &str) -> Result<PgConnection, diesel::r2d2::Error> {
    let mut connection = PgConnection::establish(url).map_err(diesel::r2d2::Error::ConnectionError)?;
    // Writers wait for each other (see `transaction`): nobody may keep the others waiting without end.
    let settings = "SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s';";
    connection
        .batch_execute(settings)
        .map_err(diesel::r2d2::Error::QueryError)?;
    Ok(connection)
}

/// The connections: for SQLite one that writes and a few that read, for PostgreSQL one pool for both.
#[derive(Clone)]
pub(crate) struct Pools {
    pub(crate) writers: Pool<Manager>,
    pub(crate) readers: Pool<Manager>,
}

impl Pools {
    pub(crate) fn open(place: Place) -> Result<Self, OpenError> {
        let writer = Manager {
            place: place.clone(),
            access: Access::Write,
        };
        // A pool repeats a failing attempt until its time is over; this one tells at once what is wrong.
        writer.connect().map_err(OpenError::Connect)?;
        match place {
            Place::Sqlite { .. } => {
                let reader = Manager {
                    place,
                    access: Access::Read,
                };
                let sqlite = |size| {
                    pool(size)
                        .test_on_check_out(false)
                        .idle_timeout(None)
                        .max_lifetime(None)
                };
                let writers = sqlite(1).build(writer)?;
                let readers = sqlite(SQLITE_READERS).build(reader)?;
                Ok(Self { writers, readers })
            }
            Place::Postgres { .. } => {
                let writers = pool(POSTGRES_CONNECTIONS).min_idle(Some(1)).build(writer)?;
                Ok(Self {
                    readers: writers.clone(),
                    writers,
                })
            }
        }
    }
}

fn pool(size: u32) -> diesel::r2d2::Builder<Manager> {
    Pool::builder()
        .max_size(size)
        .connection_timeout(CONNECTION_WAIT)
        .error_handler(Box::new(ConnectionTrouble))
}

/// Tells of connections that fail in the background, while the pool goes on trying.
#[derive(Debug)]
struct ConnectionTrouble;

impl HandleError<diesel::r2d2::Error> for ConnectionTrouble {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a connection to the database failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(path: &str) -> Place {
        Place::Sqlite { path: path.to_owned() }
    }

    #[test]
    fn paths_and_urls_name_the_database_and_other_text_is_refused() {
        for (url, path) in [
            ("/var/lib/pressluft/db.sqlite", "/var/lib/pressluft/db.sqlite"),
            ("sqlite:data/db.sqlite", "data/db.sqlite"),
            ("sqlite:/a b.sqlite", "/a b.sqlite"),
            ("sqlite:///a.sqlite", "/a.sqlite"),
        ] {
            assert_eq!(Place::parse(url).unwrap(), sqlite(path), "{url}");
        }
        let url = "postgres://user@127.0.0.1/pressluft";
        assert_eq!(Place::parse(url).unwrap(), Place::Postgres { url: url.to_owned() });
        for url in ["", "sqlite:", "mysql://host/db", "file:x?mode=ro"] {
            assert!(matches!(Place::parse(url), Err(OpenError::Url)), "{url}");
        }
        assert!(matches!(Place::parse("sqlite::memory:"), Err(OpenError::InMemory)));
    }
}
