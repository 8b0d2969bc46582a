//! What the handlers work with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain_kernel::{Clock, Timestamp};
use operations::{Accounts, JobsService, NodesService, ProviderStatus, UseCaseError};

use crate::pages::Pages;

/// For how long it is good to know what providers can do. To find out starts programs of the host, which takes far longer
/// than to show a page.
const PROVIDERS_KNOWN: Duration = Duration::from_secs(5);

/// When providers were looked at, and what was seen.
type Looked = (Timestamp, Vec<ProviderStatus>);

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
    pub(crate) jobs: Arc<JobsService>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pages: Arc<Pages>,
    providers: Arc<Mutex<Option<Looked>>>,
}

impl UiState {
    /// The pages over these use cases.
    pub fn new(
        nodes: Arc<NodesService>,
        jobs: Arc<JobsService>,
        accounts: Arc<Accounts>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, UiError> {
        Ok(Self {
            nodes,
            jobs,
            accounts,
            clock,
            pages: Arc::new(Pages::new().map_err(UiError)?),
            providers: Arc::default(),
        })
    }

    /// What providers can do on this host, as of a few seconds ago at the most.
    pub(crate) async fn providers(&self) -> Result<Vec<ProviderStatus>, UseCaseError> {
        let now = self.clock.now();
        let known = self.providers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, statuses)) = known.filter(|(at, _)| now.since(*at) < PROVIDERS_KNOWN) {
            return Ok(statuses);
        }
        let statuses = self.nodes.providers().await?;
        *self.providers.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, statuses.clone()));
        Ok(statuses)
    }
}
