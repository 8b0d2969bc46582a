//! `site_delete`: remove all environments of a site from their nodes, and their backups from their storages. `site_abandon`: only
//! the backups.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Claim, Job, JobKind, Outcome, Step, StoreError, Workflow};

use super::deletion::{Extent, Reach};
use super::{SiteWork, deletion};

/// The workflow.
#[derive(Clone)]
pub struct SiteDelete {
    work: SiteWork,
    reach: Reach,
}

impl SiteDelete {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        let reach = Reach::Node;
        Self { work, reach }
    }

    /// The same where the node is gone for good: `site_abandon`.
    pub fn abandoning(work: SiteWork) -> Self {
        let reach = Reach::Records;
        Self { work, reach }
    }
}

#[async_trait]
impl Workflow for SiteDelete {
    fn kind(&self) -> JobKind {
        match self.reach {
            Reach::Node => JobKind::SiteDelete,
            Reach::Records => JobKind::SiteAbandon,
        }
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        deletion::steps(&self.work, Extent::Site, self.reach)
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let changes = deletion::site_changes(&self.work, job, &outcome).await?;
        self.work.settle(claim, &outcome, changes).await
    }
}
