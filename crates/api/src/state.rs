//! What the handlers work with.

use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::Clock;
use operations::{Accounts, JobsService, NodesService, SitesService};

use crate::stream::Streams;

/// Tells whether the server can do its work.
#[async_trait]
pub trait Health: Send + Sync {
    /// Whether it can; otherwise why not, for the log.
    async fn ready(&self) -> Result<(), String>;
}

/// The use cases behind the handlers.
#[derive(Clone)]
pub struct ApiState {
    /// Nodes.
    pub nodes: Arc<NodesService>,
    /// Sites.
    pub sites: Arc<SitesService>,
    /// Jobs.
    pub jobs: Arc<JobsService>,
    /// Accounts and sessions.
    pub accounts: Arc<Accounts>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The open event streams.
    pub streams: Streams,
    /// Tells whether the server is ready.
    pub health: Arc<dyn Health>,
}
