//! `env_delete`: remove an environment from its node, and its backups from their storages. `env_abandon`: only its backups.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Claim, Job, JobKind, Outcome, Step, StoreError, Workflow};

use super::deletion::{Extent, Reach};
use super::{SiteWork, deletion};

/// The workflow.
#[derive(Clone)]
pub struct EnvDelete {
    work: SiteWork,
    reach: Reach,
}

impl EnvDelete {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        let reach = Reach::Node;
        Self { work, reach }
    }

    /// The same where the node is gone for good: `env_abandon`.
    pub fn abandoning(work: SiteWork) -> Self {
        let reach = Reach::Records;
        Self { work, reach }
    }
}

#[async_trait]
impl Workflow for EnvDelete {
    fn kind(&self) -> JobKind {
        match self.reach {
            Reach::Node => JobKind::EnvDelete,
            Reach::Records => JobKind::EnvAbandon,
        }
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        deletion::steps(&self.work, Extent::Environment, self.reach)
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let changes = deletion::environment_changes(&self.work, job, &outcome).await?;
        self.work.settle(claim, &outcome, changes).await
    }
}
