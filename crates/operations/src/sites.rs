//! Asking for sites and environments, looking at them, and removing them. Backups, restores, checks and what is asked for
//! again are beside this file; every change on a node is accepted here and done by a job.

mod addresses;
mod asked_versions;
mod backups;
mod checks;
mod login;
mod placement;
mod removal;
mod retry;

pub use login::WordPressLogin;
pub(crate) use placement::READINESS_AGE;

use std::sync::Arc;

use accounts_domain::{Email, SecretBox, TokenSource};
use domain_kernel::{AccountId, Clock, EnvironmentId, NodeId, SiteId};
use jobs::{JobKind, JobSignal, NewJob, Page, PageRequest};
use nodes_domain::{Idempotency, Node, NodeStore, SshAccess};
use sites_domain::{
    Change, CreatedInSite, Environment, EnvironmentSecrets, EnvironmentStatus, EnvironmentType, Expected,
    NewEnvironment, NewSite, NodeLoad, PreviewProbe, PromotionPreset, Site, SiteFilter, SiteName, SiteStatus,
    SiteStore, Slug,
};

use crate::workflows::wanted_preview;
use crate::{NodesService, UseCaseError};

/// What the use cases of sites work with.
#[derive(Clone)]
pub struct SiteDeps {
    /// Keeps sites.
    pub sites: Arc<dyn SiteStore>,
    /// The use cases of nodes.
    pub nodes: Arc<NodesService>,
    /// Keeps nodes.
    pub node_store: Arc<dyn NodeStore>,
    /// Commands over SSH.
    pub ssh: Arc<dyn SshAccess>,
    /// Asks previews for their proof.
    pub preview: Arc<dyn PreviewProbe>,
    /// Seals and opens secrets.
    pub secrets: Arc<dyn SecretBox>,
    /// Makes secrets.
    pub tokens: Arc<dyn TokenSource>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Wakes the worker.
    pub signal: Arc<dyn JobSignal>,
    /// The domain of preview URLs, where the operator has one.
    pub preview_domain: Option<String>,
    /// How many attempts a job has.
    pub max_attempts: u32,
}

/// A request for a site.
#[derive(Debug, Clone)]
pub struct CreateSite {
    /// Its name.
    pub name: SiteName,
    /// Its slug.
    pub slug: Slug,
    /// Its node; where none is named, the ready one with the fewest environments is taken.
    pub node_id: Option<NodeId>,
    /// The address of WordPress's first administrator.
    pub admin_email: String,
}

/// A request for an environment, a copy of another of its site.
#[derive(Debug, Clone)]
pub struct CreateEnv {
    /// Its name.
    pub name: SiteName,
    /// Its slug.
    pub slug: Slug,
    /// What it is for: anything but production.
    pub environment_type: EnvironmentType,
    /// What it is a copy of.
    pub source_environment_id: EnvironmentId,
    /// What a later promotion leaves alone.
    pub promotion_preset: Option<PromotionPreset>,
}

/// The use cases of sites.
pub struct SitesService {
    pub(crate) deps: SiteDeps,
    asked_versions: asked_versions::AskedVersions,
}

impl SitesService {
    /// The use cases over these adapters.
    pub fn new(deps: SiteDeps) -> Self {
        Self {
            deps,
            asked_versions: asked_versions::AskedVersions::default(),
        }
    }

    /// Accepts a site: it, its production environment and their job are written, nothing else happens here but the look
    /// at the node. `by` is who asks.
    ///
    /// # Errors
    /// `NotFound` and `NodeNotReady` of a node that was named, `NoNodeAvailable` where none was; `Conflict` where the slug
    /// is taken.
    pub async fn create_site(
        &self,
        request: CreateSite,
        idempotency: Option<Idempotency>,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if request.admin_email.parse::<Email>().is_err() {
            return Err(UseCaseError::Invalid(
                "`admin_email`: expected an e-mail address.".to_owned(),
            ));
        }
        let (site_id, id) = (SiteId::generate(), EnvironmentId::generate());
        let node = match self.node_for_site(request.node_id).await {
            Ok(node) => node,
            Err(refusal) => return self.refuse(refusal, site_id, idempotency).await,
        };
        let preview_url = self.preview_url(&node, id)?;
        let site = NewSite {
            id: site_id,
            name: request.name,
            slug: request.slug,
            primary_environment_id: id,
        };
        let environment = NewEnvironment {
            id,
            site_id,
            name: site.name.clone(),
            slug: Slug::production(),
            environment_type: EnvironmentType::Production,
            node_id: node.id,
            source_environment_id: None,
            promotion_preset: None,
            preview_url,
            sealed_secrets: self.new_secrets(id, &request.admin_email)?,
        };
        let changes = vec![Change::AddSite(site), Change::AddEnvironment(environment)];
        let job = self.job(JobKind::SiteCreate, node.id, site_id, id, by);
        self.accept(Vec::new(), changes, job, idempotency).await
    }

    /// Accepts an environment as a copy of another of its site, on the same node.
    ///
    /// # Errors
    /// `Invalid` for production, or a source of another site; `EnvironmentNotActive` of the source; `NodeNotReady`;
    /// `Conflict` where the site is not active or the slug is taken.
    pub async fn create_environment(
        &self,
        site_id: SiteId,
        request: CreateEnv,
        idempotency: Option<Idempotency>,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if request.environment_type == EnvironmentType::Production {
            return Err(UseCaseError::Invalid(
                "`type`: a site has one production environment, made with it; expected `staging` or `clone`."
                    .to_owned(),
            ));
        }
        let site = self.site(site_id).await?;
        let (source, node) = match self.source_for(&site, request.source_environment_id).await {
            Ok(found) => found,
            Err(refusal) => return self.refuse(refusal, site_id, idempotency).await,
        };
        let id = EnvironmentId::generate();
        let environment = NewEnvironment {
            id,
            site_id,
            name: request.name,
            slug: request.slug,
            environment_type: request.environment_type,
            node_id: node.id,
            source_environment_id: Some(source.id),
            promotion_preset: request.promotion_preset,
            preview_url: self.preview_url(&node, id)?,
            sealed_secrets: self.secrets_for_copy(id, &source).await?,
        };
        let changes = vec![
            Change::SiteStatus(site_id, SiteStatus::Cloning),
            Change::AddEnvironment(environment),
        ];
        let expected = vec![
            Expected::Site(site_id, site.state_version),
            Expected::Environment(source.id, source.state_version),
        ];
        let job = self.job(JobKind::EnvCreate, node.id, site_id, id, by);
        self.accept(expected, changes, job, idempotency).await
    }

    /// The environment that a copy is made of, with its node.
    async fn source_for(&self, site: &Site, id: EnvironmentId) -> Result<(Environment, Node), UseCaseError> {
        let source = self.deps.sites.environment(id).await?;
        let source = source.filter(|source| source.site_id == site.id).ok_or_else(|| {
            UseCaseError::Invalid("`source_environment_id`: the site has no such environment.".to_owned())
        })?;
        need_active(&source)?;
        if site.status != SiteStatus::Active {
            return Err(busy("site", site.status.as_str()));
        }
        let node = self.ready_node(source.node_id).await?;
        Ok((source, node))
    }

    /// One site.
    pub async fn site(&self, id: SiteId) -> Result<Site, UseCaseError> {
        let site = self.deps.sites.site(id).await?;
        site.ok_or(UseCaseError::NotFound("site"))
    }

    /// Sites, newest first.
    pub async fn sites(&self, filter: &SiteFilter, page: &PageRequest) -> Result<Page<Site>, UseCaseError> {
        Ok(self.deps.sites.sites(filter, page).await?)
    }

    /// The names of these sites, and of the `newest` newest; newest first.
    pub async fn names(&self, ids: &[SiteId], newest: u32) -> Result<Vec<(SiteId, SiteName)>, UseCaseError> {
        Ok(self.deps.sites.site_names(ids, newest).await?)
    }

    /// How many sites there are.
    pub async fn site_count(&self) -> Result<u64, UseCaseError> {
        Ok(self.deps.sites.site_count().await?)
    }

    /// The environments of a site, oldest first.
    pub async fn environments(&self, site_id: SiteId) -> Result<Vec<Environment>, UseCaseError> {
        self.site(site_id).await?;
        Ok(self.deps.sites.environments(site_id).await?)
    }

    /// The environments that live on a node, of whatever status, oldest first.
    pub async fn environments_on(&self, node_id: NodeId) -> Result<Vec<Environment>, UseCaseError> {
        Ok(self.deps.sites.environments_on(node_id).await?)
    }

    /// How many environments each node has that has any.
    pub async fn node_loads(&self) -> Result<Vec<NodeLoad>, UseCaseError> {
        Ok(self.deps.sites.node_loads().await?)
    }

    /// One environment.
    pub async fn environment(&self, id: EnvironmentId) -> Result<Environment, UseCaseError> {
        let environment = self.deps.sites.environment(id).await?;
        environment.ok_or(UseCaseError::NotFound("environment"))
    }

    /// Those of these environments that are there, oldest first.
    pub async fn environments_by_ids(&self, ids: &[EnvironmentId]) -> Result<Vec<Environment>, UseCaseError> {
        Ok(self.deps.sites.environments_by_ids(ids).await?)
    }

    fn job(
        &self,
        kind: JobKind,
        node_id: NodeId,
        site_id: SiteId,
        environment_id: EnvironmentId,
        by: Option<AccountId>,
    ) -> NewJob {
        NewJob::on_environment(kind, node_id, site_id, environment_id, self.deps.max_attempts).requested_by(by)
    }

    fn job_on(&self, kind: JobKind, environment: &Environment, by: Option<AccountId>) -> NewJob {
        self.job(kind, environment.node_id, environment.site_id, environment.id, by)
    }

    async fn accept(
        &self,
        expected: Vec<Expected>,
        changes: Vec<Change>,
        job: NewJob,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedInSite, UseCaseError> {
        let created = self.deps.sites.enqueue(expected, changes, job, idempotency).await?;
        self.deps.signal.wake();
        Ok(created)
    }

    /// Refuses a request, unless the same one came before under its Idempotency-Key: what that one made may be just what
    /// stands in the way now. A store looks at the key first, and then finds a version that nothing ever has.
    async fn refuse(
        &self,
        refusal: UseCaseError,
        site_id: SiteId,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if idempotency.is_none() {
            return Err(refusal);
        }
        let never = vec![Expected::Site(site_id, -1)];
        let job = self.job(
            JobKind::SiteCreate,
            NodeId::generate(),
            site_id,
            EnvironmentId::generate(),
            None,
        );
        match self.deps.sites.enqueue(never, Vec::new(), job, idempotency).await {
            Ok(created) => Ok(created),
            Err(error @ (jobs::StoreError::IdempotencyMismatch | jobs::StoreError::Backend(_))) => Err(error.into()),
            Err(_) => Err(refusal),
        }
    }

    fn preview_url(&self, node: &Node, id: EnvironmentId) -> Result<String, UseCaseError> {
        wanted_preview(node, &id.short(), self.deps.preview_domain.as_deref()).ok_or_else(|| {
            UseCaseError::Conflict("The node has no address that previews could be served at.".to_owned())
        })
    }

    fn new_secrets(&self, id: EnvironmentId, admin_email: &str) -> Result<String, UseCaseError> {
        let secrets = EnvironmentSecrets::generate("admin", admin_email, || self.random())?;
        self.seal(id, &secrets)
    }
}

pub(crate) fn need_active(environment: &Environment) -> Result<(), UseCaseError> {
    if environment.status == EnvironmentStatus::Active {
        return Ok(());
    }
    Err(UseCaseError::EnvironmentNotActive(format!(
        "The environment `{}` is {}, not active.",
        environment.slug.as_str(),
        environment.status
    )))
}

/// Something is not in a state that allows what was asked for.
pub(crate) fn busy(what: &str, status: &str) -> UseCaseError {
    UseCaseError::Conflict(format!(
        "The {what} is {status}. Wait for its job, or put it right first, then repeat the request."
    ))
}
