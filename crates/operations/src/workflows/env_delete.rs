//! `env_delete`: remove an environment from its node, and its backups from their storages.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Claim, Job, JobKind, Outcome, Step, StoreError, Workflow};

use super::deletion::Extent;
use super::{SiteWork, deletion};

/// The workflow.
#[derive(Clone)]
pub struct EnvDelete(SiteWork);

impl EnvDelete {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        Self(work)
    }
}

#[async_trait]
impl Workflow for EnvDelete {
    fn kind(&self) -> JobKind {
        JobKind::EnvDelete
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        deletion::steps(&self.0, Extent::Environment)
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let changes = deletion::environment_changes(&self.0, job, &outcome).await?;
        self.0.settle(claim, &outcome, changes).await
    }
}
