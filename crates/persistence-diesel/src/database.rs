//! The handle on the database that all stores are implemented on.

use std::sync::Arc;

use domain_kernel::{Clock, Timestamp};

use ::jobs::{EventFeed, EventWatch, LogLimit};
use async_trait::async_trait;
use tokio::sync::watch;

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::event_log;
use crate::migrations::{self, MigrateError};
use crate::pool::{OpenError, Place, Pools};
use crate::transaction;

/// The database. Cheap to clone; implements every store on one set of connections.
#[derive(Clone)]
pub struct Database {
    pools: Pools,
    clock: Arc<dyn Clock>,
    /// The newest event that a commit of this process is known to have had behind it.
    newest_event: watch::Sender<i64>,
    log_limit: LogLimit,
}

impl Database {
    /// Connects to `sqlite:<path>`, a plain path (the file is made where it is missing, its folder is not) or
    /// `postgres://...`. Applies no migration. Blocks for up to 30 s: call it at the start.
    pub fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let pools = Pools::open(Place::parse(url)?)?;
        Ok(Self {
            pools,
            clock,
            newest_event: watch::Sender::new(0),
            log_limit: LogLimit::default(),
        })
    }

    /// The same database with another limit of the log of one attempt.
    pub fn with_log_limit(self, log_limit: LogLimit) -> Self {
        Self { log_limit, ..self }
    }

    pub(crate) fn log_limit(&self) -> LogLimit {
        self.log_limit
    }

    /// Applies the migrations that are missing and returns their names. Blocks.
    pub fn migrate(&self) -> Result<Vec<String>, MigrateError> {
        migrations::migrate(&mut *self.pools.writers.get()?)
    }

    /// The names of the migrations that are missing. Blocks. (Asked on the writer: it makes the table that keeps count.)
    pub fn pending(&self) -> Result<Vec<String>, MigrateError> {
        migrations::pending(&mut *self.pools.writers.get()?)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs `work` as the only writer, off the async threads. The moment given to it is taken when its turn has come,
    /// so later writers have later moments.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection, Timestamp) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let Self {
            pools,
            clock,
            newest_event,
            ..
        } = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = pools.writers.get()?;
            let (written, newest) = transaction::write(&mut connection, |connection| {
                let written = work(connection, clock.now())?;
                Ok((written, event_log::newest(connection)?))
            })?;
            // After the commit, so that whoever is told finds the events. Most commits (heartbeats) write none.
            newest_event.send_if_modified(|known| {
                let is_news = newest > *known;
                *known = newest.max(*known);
                is_news
            });
            Ok(written)
        })
        .await?
    }

    /// Runs `work`, which only reads, off the async threads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let pools = self.pools.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = pools.readers.get()?;
            transaction::read(&mut connection, work)
        })
        .await?
    }
}

/// A commit is news where it has events behind it that none before had. Writers run one after another and a number is never
/// given twice, so none is missed.
impl EventFeed for Database {
    fn watch(&self) -> Box<dyn EventWatch> {
        Box::new(NewestEvent(self.newest_event.subscribe()))
    }
}

struct NewestEvent(watch::Receiver<i64>);

#[async_trait]
impl EventWatch for NewestEvent {
    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
