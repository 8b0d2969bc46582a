//! A workflow whose steps are closures of a test.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobs::{Claim, Job, JobKind, JobStore, Outcome, Step, StepContext, StepError, StoreError, Workflow};

type Script =
    Arc<dyn Fn(Job, StepContext) -> Pin<Box<dyn Future<Output = Result<(), StepError>> + Send>> + Send + Sync>;

/// A workflow of scripted steps; its end is the job's own and nothing else.
pub struct ScriptedWorkflow {
    kind: JobKind,
    store: Arc<dyn JobStore>,
    steps: Vec<Arc<dyn Step>>,
    time_limit: Duration,
}

impl ScriptedWorkflow {
    /// A workflow without steps and with a time limit of 30 minutes.
    pub fn new(kind: JobKind, store: Arc<dyn JobStore>) -> Self {
        Self {
            kind,
            store,
            steps: Vec::new(),
            time_limit: Duration::from_secs(30 * 60),
        }
    }

    /// Adds a step.
    #[must_use]
    pub fn step<Run, Fut>(mut self, name: &'static str, run: Run) -> Self
    where
        Run: Fn(Job, StepContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        let run: Script = Arc::new(move |job, context| Box::pin(run(job, context)));
        self.steps.push(Arc::new(ScriptedStep { name, run }));
        self
    }

    /// Sets the time limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }
}

struct ScriptedStep {
    name: &'static str,
    run: Script,
}

#[async_trait]
impl Step for ScriptedStep {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        (self.run)(job.clone(), context.clone()).await
    }
}

#[async_trait]
impl Workflow for ScriptedWorkflow {
    fn kind(&self) -> JobKind {
        self.kind
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        self.steps.clone()
    }

    fn time_limit(&self) -> Duration {
        self.time_limit
    }

    async fn settle(&self, _job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        self.store.finish(claim, &outcome).await
    }
}
