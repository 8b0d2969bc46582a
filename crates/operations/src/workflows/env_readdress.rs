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

    /// While the job waits and runs the environment stays what it is: it serves, if at another address than it should.
    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let becomes = match outcome {
            Outcome::Failed(_) | Outcome::Cancelled => Some(EnvironmentStatus::Failed),
            Outcome::Succeeded => Some(EnvironmentStatus::Active),
            Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => None,
        };
        let mut changes = Vec::new();
        if let Some((status, (site, environment))) = becomes.zip(self.0.at_the_end(job).await?) {
            // Another request may have been accepted meanwhile: what becomes of the environment is its own job's to say then.
            if EnvironmentStatus::RESTING.contains(&environment.status) && environment.status != status {
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
