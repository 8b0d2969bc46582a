//! `env_readdress`: move an environment to the preview URL that its node's address or the settings now say, and prove it.

use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::{Claim, Job, JobKind, Outcome, Step, StepContext, StepError, StoreError, Workflow};
use sites_domain::{Change, CreateEnvironment, EnvironmentStatus, SiteStatus};

use super::backup_create::need_rest;
use super::site_work::Subject;
use super::{SiteWork, wanted_preview};

/// The workflow.
#[derive(Clone)]
pub struct EnvReaddress(SiteWork);

impl EnvReaddress {
    /// The workflow over these adapters.
    pub fn new(work: SiteWork) -> Self {
        Self(work)
    }

    fn url(&self, subject: &Subject) -> Result<String, StepError> {
        let Subject { environment, node, .. } = subject;
        let url = wanted_preview(node, &environment.short_id, self.0.preview_domain.as_deref());
        url.ok_or_else(|| StepError::failed(JobErrorCode::LocalAddressMissing, "The node has no address"))
    }
}

#[async_trait]
impl Workflow for EnvReaddress {
    fn kind(&self) -> JobKind {
        JobKind::EnvReaddress
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        vec![Arc::new(Rewrite(self.clone())), Arc::new(ProvePreview(self.clone()))]
    }

    /// An active environment stays active while the job waits and runs: it serves, if at another address than it should. One
    /// whose move failed before is `creating` meanwhile. Any other status is another job's to say.
    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        if let Some((site, environment)) = self.0.at_the_end(job).await? {
            let becomes = match (&outcome, environment.status) {
                // One that was active is now known to work, which is written with its status.
                (Outcome::Succeeded, EnvironmentStatus::Creating | EnvironmentStatus::Active) => {
                    Some(EnvironmentStatus::Active)
                }
                (Outcome::Failed(_) | Outcome::Cancelled, EnvironmentStatus::Creating) => {
                    Some(EnvironmentStatus::Failed)
                }
                (Outcome::Failed(_), EnvironmentStatus::Active) => Some(EnvironmentStatus::Failed),
                // One that was cancelled before it began has touched nothing.
                (Outcome::Cancelled, EnvironmentStatus::Active) => {
                    let view = self.0.catalog.job(job.id).await?;
                    let has_begun = view.is_some_and(|view| !view.steps.is_empty());
                    has_begun.then_some(EnvironmentStatus::Failed)
                }
                _ => None,
            };
            if let Some(status) = becomes {
                let rests = self.0.site_rests(&site, environment.id, status).await?;
                changes.push(Change::EnvironmentStatus(environment.id, status));
                if SiteStatus::RESTING.contains(&site.status) {
                    changes.push(Change::SiteStatus(site.id, rests));
                }
            }
        }
        self.0.settle(claim, &outcome, changes).await
    }
}

/// Rewrites the address in the database and in what nginx and WordPress are told.
struct Rewrite(EnvReaddress);

#[async_trait]
impl Step for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let work = &self.0.0;
        let subject = work.subject(job).await?;
        // Between two runs of a restore two generations are there: which one stays is not known yet.
        need_rest(work, &subject.site, context).await?;
        work.need_ready(&subject.node, context).await?;
        let made_from = work.artifacts.ensure(context).await?;
        work.push(&subject.node, &[&made_from.wp_cli], context).await?;
        work.link_wp_cli(&subject.node, &made_from.wp_cli, context).await?;
        let request = CreateEnvironment {
            place: subject.place()?,
            url: self.0.url(&subject)?,
            title: subject.site.name.as_str().to_owned(),
            environment_type: subject.environment.environment_type,
            secrets: work.secrets_of(subject.environment.id).await?,
            wordpress: made_from.wordpress,
            wp_cli: made_from.wp_cli,
            source: None,
            existing: true,
        };
        work.runtime.create(&request, context).await?;
        context
            .detail(&format!(
                "{} instead of {}",
                request.url, subject.environment.preview_url
            ))
            .await;
        Ok(())
    }
}

/// Proves that it answers there, and only then says so.
struct ProvePreview(EnvReaddress);

#[async_trait]
impl Step for ProvePreview {
    fn name(&self) -> &'static str {
        "prove_preview"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let work = &self.0.0;
        let subject = work.subject(job).await?;
        let id = subject.environment.id;
        let url = self.0.url(&subject)?;
        let secrets = work.secrets_of(id).await?;
        let target = subject.place()?.target;
        work.prove_preview(&url, &target, &secrets.proof_secret, context)
            .await?;
        context.detail(&format!("{url} proved itself")).await;
        work.change(job, context, vec![Change::PreviewUrl(id, url)]).await
    }
}
