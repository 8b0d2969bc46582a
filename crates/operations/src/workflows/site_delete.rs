//! `site_delete`: remove all environments of a site from their nodes, and their backups from their storages.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Claim, Job, JobKind, Outcome, Step, StoreError, Workflow};

use super::deletion::Extent;
use super::{SiteWork, deletion};

/// The workflow.
#[derive(Clone)]
pub struct SiteDelete(SiteWork);

impl SiteDelete {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        Self(work)
    }
}

#[async_trait]
impl Workflow for SiteDelete {
    fn kind(&self) -> JobKind {
        JobKind::SiteDelete
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        deletion::steps(&self.0, Extent::Site)
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let changes = deletion::site_changes(&self.0, job, &outcome).await?;
        self.0.settle(claim, &outcome, changes).await
    }
}
