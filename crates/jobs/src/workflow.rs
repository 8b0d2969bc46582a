//! A workflow: the steps of one kind of job.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Claim, Job, JobKind, Outcome, StepContext, StepError, StoreError};

/// One step. It looks at the world before it acts, and can be repeated after the process died at any point of it.
#[async_trait]
pub trait Step: Send + Sync {
    /// Its name, unique in its workflow, `snake_case`.
    fn name(&self) -> &'static str;

    /// Does it.
    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError>;
}

/// The steps of one kind of job and how its end is written.
#[async_trait]
pub trait Workflow: Send + Sync {
    /// The kind of job.
    fn kind(&self) -> JobKind;

    /// The steps, in order.
    fn steps(&self) -> Vec<Arc<dyn Step>>;

    /// How long one attempt may take.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30 * 60)
    }

    /// Writes how the job ended, together with what that means for the thing it worked on, in one transaction.
    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError>;
}
