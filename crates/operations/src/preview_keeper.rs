//! Moves environments whose preview URL is not what it should be any more, again and again: a node may come back at another
//! address, and the operator may name another domain.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock, EnvironmentId};
use futures_util::future::select;
use jobs::{JobCatalog, JobFilter, JobKind, JobStatus, PageRequest};

use crate::{SitesService, UseCaseError};

/// The pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(60);

/// Keeps the preview URLs of all environments.
pub struct PreviewKeeper {
    sites: Arc<SitesService>,
    catalog: Arc<dyn JobCatalog>,
    clock: Arc<dyn Clock>,
}

impl PreviewKeeper {
    /// A keeper over these.
    pub fn new(sites: Arc<SitesService>, catalog: Arc<dyn JobCatalog>, clock: Arc<dyn Clock>) -> Self {
        Self { sites, catalog, clock }
    }

    /// Keeps them until told to stop. What fails is tried again the next time.
    pub async fn run(&self, stop: CancelToken) {
        let rounds = async {
            loop {
                if let Err(error) = self.round().await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "it could not be found out which previews have another address");
                }
                self.clock.sleep(INTERVAL).await;
            }
        };
        select(std::pin::pin!(rounds), std::pin::pin!(stop.cancelled())).await;
    }

    /// Asks for every environment to be moved that has to be and is not being moved yet. One whose move failed is `failed`,
    /// and waits for the operator.
    pub async fn round(&self) -> Result<(), UseCaseError> {
        let moving = self.being_moved().await?;
        let misaddressed = self.sites.misaddressed().await?;
        for environment in misaddressed.iter().filter(|known| !moving.contains(&known.id)) {
            let environment_id = environment.id;
            match self.sites.readdress_as_seen(environment, None).await {
                Ok(job) => tracing::info!(%environment_id, job_id = %job.job_id, "its preview gets another address"),
                // A request was faster; the next round looks again.
                Err(UseCaseError::Conflict(_) | UseCaseError::NotFound(_)) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%environment_id, error, "its preview could not be given another address");
                }
            }
        }
        Ok(())
    }

    async fn being_moved(&self) -> Result<HashSet<EnvironmentId>, UseCaseError> {
        let mut moving = HashSet::new();
        // In this order a job that begins meanwhile is seen twice rather than never.
        for status in [JobStatus::Queued, JobStatus::Running] {
            let filter = JobFilter {
                status: Some(status),
                kind: Some(JobKind::EnvReaddress),
                ..JobFilter::default()
            };
            let mut page = PageRequest {
                limit: 100,
                after: None,
            };
            loop {
                let found = self.catalog.jobs(&filter, &page).await?;
                moving.extend(found.items.iter().filter_map(|view| view.job.environment_id));
                match found.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
        }
        Ok(moving)
    }
}
