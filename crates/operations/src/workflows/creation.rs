//! Making an environment, new or as a copy: the steps that `site_create` and `env_create` share.

use std::sync::Arc;

use async_trait::async_trait;
use jobs::{Job, Outcome, Step, StepContext, StepError, StoreError};
use sites_domain::{Change, CloneSource, CreateEnvironment, EnvironmentStatus, SiteStatus};

use super::SiteWork;
use super::site_work::{Subject, internal};

/// The steps.
pub(super) fn steps(work: &SiteWork) -> Vec<Arc<dyn Step>> {
    vec![
        Arc::new(Artifacts(work.clone())),
        Arc::new(Create(work.clone())),
        Arc::new(ProvePreview(work.clone())),
    ]
}

/// What the end means. A site whose first environment failed is failed itself; one of which a copy failed is not.
pub(super) async fn changes(
    work: &SiteWork,
    job: &Job,
    outcome: &Outcome,
    failed_site: SiteStatus,
) -> Result<Vec<Change>, StoreError> {
    let (environment_status, site_status) = match outcome {
        Outcome::Succeeded => (EnvironmentStatus::Active, SiteStatus::Active),
        Outcome::Failed(_) | Outcome::Cancelled => (EnvironmentStatus::Failed, failed_site),
        Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => return Ok(Vec::new()),
    };
    Ok(match work.at_the_end(job).await? {
        None => Vec::new(),
        Some((site, environment)) => vec![
            Change::EnvironmentStatus(environment.id, environment_status),
            Change::SiteStatus(site.id, site_status),
        ],
    })
}

/// Puts what the environment is made from on its node.
struct Artifacts(SiteWork);

#[async_trait]
impl Step for Artifacts {
    fn name(&self) -> &'static str {
        "artifacts"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let Subject { node, .. } = self.0.subject(job).await?;
        self.0.need_ready(&node, context).await?;
        let made_from = self.0.artifacts.ensure(context).await?;
        let both = [&made_from.wordpress, &made_from.wp_cli];
        let told = self.0.push(&node, &both, context).await?;
        self.0.link_wp_cli(&node, &made_from.wp_cli, context).await?;
        context.detail(&told).await;
        Ok(())
    }
}

/// Makes it.
struct Create(SiteWork);

impl Create {
    async fn source(&self, subject: &Subject) -> Result<Option<CloneSource>, StepError> {
        let Some(id) = subject.environment.source_environment_id else {
            return Ok(None);
        };
        let source = self.0.sites.environment(id).await?;
        let source = source.ok_or_else(|| internal("The environment that it is to be a copy of is gone"))?;
        Ok(Some(CloneSource {
            environment: source.short_id,
            url: source.preview_url,
        }))
    }
}

#[async_trait]
impl Step for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.subject(job).await?;
        let made_from = self.0.artifacts.ensure(context).await?;
        let environment = &subject.environment;
        let request = CreateEnvironment {
            place: subject.place()?,
            url: environment.preview_url.clone(),
            title: subject.site.name.as_str().to_owned(),
            environment_type: environment.environment_type,
            secrets: self.0.secrets_of(environment.id).await?,
            wordpress: made_from.wordpress,
            wp_cli: made_from.wp_cli,
            source: self.source(&subject).await?,
            existing: false,
        };
        let created = self.0.runtime.create(&request, context).await?;
        context.point("create.created").await;
        let version = created.wordpress_version;
        context.detail(&format!("WordPress {version}")).await;
        if environment.wordpress_version.as_ref() != Some(&version) {
            let change = Change::WordPressVersion(environment.id, version);
            self.0.change(job, context, vec![change]).await?;
        }
        Ok(())
    }
}

/// Proves that it answers, as itself.
struct ProvePreview(SiteWork);

#[async_trait]
impl Step for ProvePreview {
    fn name(&self) -> &'static str {
        "prove_preview"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let subject = self.0.subject(job).await?;
        let url = &subject.environment.preview_url;
        let secrets = self.0.secrets_of(subject.environment.id).await?;
        let target = subject.place()?.target;
        self.0
            .prove_preview(url, &target, &secrets.proof_secret, context)
            .await?;
        context.detail(&format!("{url} proved itself")).await;
        Ok(())
    }
}
