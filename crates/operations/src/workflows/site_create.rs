//! `site_create`: make a site's production environment and prove its preview.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Claim, Job, JobKind, Outcome, Step, StoreError, Workflow};
use sites_domain::SiteStatus;

use super::{SiteWork, creation};

/// The workflow.
#[derive(Clone)]
pub struct SiteCreate(SiteWork);

impl SiteCreate {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        Self(work)
    }
}

#[async_trait]
impl Workflow for SiteCreate {
    fn kind(&self) -> JobKind {
        JobKind::SiteCreate
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        creation::steps(&self.0)
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let changes = creation::changes(&self.0, job, &outcome, SiteStatus::Failed).await?;
        self.0.settle(claim, &outcome, changes).await
    }
}
