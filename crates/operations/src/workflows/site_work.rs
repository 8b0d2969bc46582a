//! What the workflows of sites work with, and what several of them do.

use std::sync::Arc;

use accounts_domain::{SealedSecret, SecretBox};
use domain_kernel::{EnvironmentId, JobErrorCode, SiteId, StopReason};
use jobs::{Claim, Failure, Job, JobCatalog, StepContext, StepError, StoreError};
use nodes_domain::{
    Node, NodeStatus, NodeStore, ProbeResult, ReadinessProbe, SshAccess, SshError, SshTransfer, readiness,
};
use sites_domain::{
    ArtifactCache, Change, Environment, EnvironmentPlace, EnvironmentSecrets, EnvironmentStatus, PreviewProbe, Site,
    SiteRuntime, SiteStatus, SiteStore,
};

use super::node_provision::not_ready;
use super::{claim_of, node_id, target_of};
use crate::BackupStorages;
use crate::sites::READINESS_AGE;

/// What the workflows of sites work with.
#[derive(Clone)]
pub struct SiteWork {
    /// Keeps sites.
    pub sites: Arc<dyn SiteStore>,
    /// Keeps nodes.
    pub node_store: Arc<dyn NodeStore>,
    /// Knows a job's steps.
    pub catalog: Arc<dyn JobCatalog>,
    /// Does the work on nodes.
    pub runtime: Arc<dyn SiteRuntime>,
    /// Keeps what sites are made from.
    pub artifacts: Arc<dyn ArtifactCache>,
    /// Moves bytes to and from nodes.
    pub transfer: Arc<dyn SshTransfer>,
    /// Commands over SSH.
    pub ssh: Arc<dyn SshAccess>,
    /// Asks previews for their proof.
    pub preview: Arc<dyn PreviewProbe>,
    /// Looks at machines.
    pub probe: Arc<dyn ReadinessProbe>,
    /// Opens secrets.
    pub secrets: Arc<dyn SecretBox>,
    /// Keeps backups.
    pub storages: BackupStorages,
    /// The domain of preview URLs, where the operator has one.
    pub preview_domain: Option<String>,
}

/// An environment as a step finds it.
pub(super) struct Subject {
    pub(super) site: Site,
    pub(super) environment: Environment,
    pub(super) node: Node,
}

impl Subject {
    /// Where the environment is.
    pub(super) fn place(&self) -> Result<EnvironmentPlace, StepError> {
        place_of(&self.node, &self.site, &self.environment)
    }
}

/// Where an environment of a site is.
pub(super) fn place_of(node: &Node, site: &Site, environment: &Environment) -> Result<EnvironmentPlace, StepError> {
    Ok(EnvironmentPlace {
        node_id: node.id,
        target: target_of(node)?.clone(),
        site: site.short_id.clone(),
        environment: environment.short_id.clone(),
    })
}

pub(super) fn site_id(job: &Job) -> Result<SiteId, StepError> {
    job.site_id.ok_or_else(|| internal("The job names no site"))
}

pub(super) fn environment_id(job: &Job) -> Result<EnvironmentId, StepError> {
    job.environment_id
        .ok_or_else(|| internal("The job names no environment"))
}

pub(super) fn internal(detail: &str) -> StepError {
    StepError::failed(JobErrorCode::Internal, detail)
}

fn gone(what: &str) -> StepError {
    internal(&format!("The {what} is gone: it was deleted while the job waited"))
}

impl SiteWork {
    /// The site that a job works on.
    pub(super) async fn site(&self, job: &Job) -> Result<Site, StepError> {
        let site = self.sites.site(site_id(job)?).await?;
        site.ok_or_else(|| gone("site"))
    }

    /// The environment that a job works on, with its site and its node.
    pub(super) async fn subject(&self, job: &Job) -> Result<Subject, StepError> {
        let site = self.site(job).await?;
        let environment = self.sites.environment(environment_id(job)?).await?;
        let environment = environment.ok_or_else(|| gone("environment"))?;
        let node = self.node_store.node(node_id(job)?).await?;
        let node = node.ok_or(StepError::Store(StoreError::NotFound("node")))?;
        Ok(Subject {
            site,
            environment,
            node,
        })
    }

    /// An environment's secrets.
    pub(super) async fn secrets_of(&self, id: EnvironmentId) -> Result<EnvironmentSecrets, StepError> {
        let sealed = self.sites.sealed_secrets(id).await?;
        let sealed = SealedSecret::from_stored(sealed.ok_or_else(|| gone("environment"))?);
        let plain = self.secrets.open(&sealed, &EnvironmentSecrets::row(id));
        let plain = plain.map_err(|error| internal(&error.to_string()))?;
        EnvironmentSecrets::from_plain(&plain).ok_or_else(|| internal("The environment's secrets have another form"))
    }

    /// Fails unless the node is ready: what was seen a moment ago counts, else it is looked at now.
    pub(super) async fn need_ready(&self, node: &Node, context: &StepContext) -> Result<(), StepError> {
        let fresh = node.readiness.as_ref().is_some_and(|seen| {
            seen.is_ready && context.now().since(seen.checked_at) <= READINESS_AGE && node.status == NodeStatus::Active
        });
        if fresh {
            return Ok(());
        }
        let facts = self.probe.probe(node.id, target_of(node)?, context).await;
        if let ProbeResult::NoLogin(SshError::Stopped(reason)) = &facts.result {
            return Err(StepError::Stopped(*reason));
        }
        // A node that answers again is active as soon as the reconciler has seen it.
        let status = if NodeStatus::PROBED.contains(&node.status) {
            NodeStatus::Active
        } else {
            node.status
        };
        let seen = readiness(node, status, Some(&facts), facts.checked_at);
        if seen.is_ready {
            Ok(())
        } else {
            Err(not_ready(&seen).into())
        }
    }

    /// Writes changes under the claim of the running step.
    pub(super) async fn change(&self, job: &Job, context: &StepContext, changes: Vec<Change>) -> Result<(), StepError> {
        Ok(self.sites.change_in_job(&claim_of(job, context), changes).await?)
    }

    /// The rows that a job's end changes, as far as they are there.
    pub(super) async fn at_the_end(&self, job: &Job) -> Result<Option<(Site, Environment)>, StoreError> {
        let (Some(site_id), Some(environment_id)) = (job.site_id, job.environment_id) else {
            return Ok(None);
        };
        let site = self.sites.site(site_id).await?;
        let environment = self.sites.environment(environment_id).await?;
        Ok(site.zip(environment))
    }

    /// What a site rests in when one of its environments rests in `status`: what its production environment rests in.
    pub(super) async fn site_rests(
        &self,
        site: &Site,
        environment: EnvironmentId,
        status: EnvironmentStatus,
    ) -> Result<SiteStatus, StoreError> {
        let primary = if site.primary_environment_id == environment {
            Some(status)
        } else {
            let primary = self.sites.environment(site.primary_environment_id).await?;
            primary.map(|primary| primary.status)
        };
        Ok(if primary == Some(EnvironmentStatus::Active) {
            SiteStatus::Active
        } else {
            SiteStatus::Failed
        })
    }

    /// Ends a run whose changes are these.
    pub(super) async fn settle(
        &self,
        claim: &Claim,
        outcome: &jobs::Outcome,
        changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        self.sites.settle_job(claim, outcome, changes).await
    }
}

/// Whether a step's failure ends its job: not where another attempt, or another run, follows.
pub(super) fn is_final(job: &Job, error: &StepError) -> bool {
    match error {
        StepError::Failed(Failure { code, .. }) => !code.retryable() || job.attempt_count >= job.max_attempts,
        StepError::DeadlineExceeded | StepError::Stopped(StopReason::Cancelled) => true,
        StepError::Stopped(StopReason::LeaseLost | StopReason::Shutdown)
        | StepError::Parked { .. }
        | StepError::Store(_) => false,
    }
}

/// The error that counts: work that is told to stop often ends in a failure of its own.
pub(super) fn as_stopped(error: StepError, context: &StepContext) -> StepError {
    match context.limits.cancel.reason() {
        Some(reason) => StepError::Stopped(reason),
        None => error,
    }
}
