//! The handle on the database that all stores are implemented on.

use std::sync::Arc;

use domain_kernel::{Clock, Timestamp};

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::migrations::{self, MigrateError};
use crate::pool::{OpenError, Place, Pools};
use crate::transaction;

/// The database. Cheap to clone; implements [`jobs::JobStore`], [`jobs::JobCatalog`], [`nodes_domain::NodeStore`] and
/// [`accounts_domain::AccountStore`] on one set of connections.
#[derive(Clone)]
pub struct Database {
    pools: Pools,
    clock: Arc<dyn Clock>,
}

impl Database {
    /// Connects to `sqlite:<path>`, a plain path (the file is made where it is missing, its folder is not) or
    /// `postgres://...`. Applies no migration. Blocks for up to 30 s: call it at the start.
    pub fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let pools = Pools::open(Place::parse(url)?)?;
        Ok(Self { pools, clock })
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
        let Self { pools, clock } = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = pools.writers.get()?;
            transaction::write(&mut connection, |connection| work(connection, clock.now()))
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
