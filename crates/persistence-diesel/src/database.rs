//! The handle on the database that all stores are implemented on.

use std::sync::Arc;

use domain_kernel::{Clock, Timestamp};

use ::jobs::{EventFeed, EventWatch, LogLimit};
use async_trait::async_trait;
use tokio::sync::watch;

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::migrations::{self, MigrateError};
use crate::pool::{OpenError, Place, Pools};
use crate::transaction;

/// The database. Cheap to clone; implements every store on one set of connections.
#[derive(Clone)]
pub struct Database {
    pools: Pools,
    clock: Arc<dyn Clock>,
    commits: watch::Sender<()>,
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
            commits: watch::Sender::new(()),
            log_limit: LogLimit::default(),
        })
    }

    /// The same database with another limit of the log of one job.
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
            pools, clock, commits, ..
        } = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = pools.writers.get()?;
            let written = transaction::write(&mut connection, |connection| work(connection, clock.now()))?;
            commits.send_replace(());
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

/// Every commit counts: which of them wrote an event is cheaper to find out by a look than to keep track of.
impl EventFeed for Database {
    fn watch(&self) -> Box<dyn EventWatch> {
        Box::new(CommitWatch(self.commits.subscribe()))
    }
}

struct CommitWatch(watch::Receiver<()>);

#[async_trait]
impl EventWatch for CommitWatch {
    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
