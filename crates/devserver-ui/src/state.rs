//! What the handlers work with.

use std::sync::Arc;

use domain_kernel::Clock;
use operations::{Accounts, JobsService, NodesService, OverviewService, SitesService};

use crate::pages::Pages;
use crate::providers::Providers;

/// Why the pages cannot be served: a template that was compiled in is not valid.
#[derive(Debug)]
pub struct UiError(pub(crate) tera::Error);

impl std::fmt::Display for UiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a template is not valid")
    }
}

impl std::error::Error for UiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The use cases behind the pages, and the pages' templates.
#[derive(Clone)]
pub struct UiState {
    pub(crate) nodes: Arc<NodesService>,
    pub(crate) sites: Arc<SitesService>,
    pub(crate) jobs: Arc<JobsService>,
    pub(crate) overview: Arc<OverviewService>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pages: Arc<Pages>,
    pub(crate) providers: Providers,
}

impl UiState {
    /// The pages over these use cases.
    pub fn new(
        nodes: Arc<NodesService>,
        sites: Arc<SitesService>,
        jobs: Arc<JobsService>,
        overview: Arc<OverviewService>,
        accounts: Arc<Accounts>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, UiError> {
        Ok(Self {
            providers: Providers::new(Arc::clone(&nodes), Arc::clone(&clock)),
            nodes,
            sites,
            jobs,
            overview,
            accounts,
            clock,
            pages: Arc::new(Pages::new().map_err(UiError)?),
        })
    }
}
