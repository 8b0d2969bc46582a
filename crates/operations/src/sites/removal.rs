//! Giving up sites and environments.

use domain_kernel::{AccountId, EnvironmentId, SiteId};
use jobs::JobKind;
use nodes_domain::NodeStatus;
use sites_domain::{Change, CreatedInSite, Environment, EnvironmentStatus, Expected, Site, SiteStatus, Slug};

use super::{SitesService, busy};
use crate::UseCaseError;

/// What a node that is gone for good is, as far as can be told.
const LOST: [NodeStatus; 2] = [NodeStatus::Unreachable, NodeStatus::Failed];

impl SitesService {
    /// Accepts that a site is removed with all its environments and backups. `confirm` is its slug.
    ///
    /// # Errors
    /// `Invalid` where something else was typed, `Conflict` where a job is at work on the site.
    pub async fn delete_site(
        &self,
        id: SiteId,
        confirm: &str,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        self.remove_site(id, confirm, JobKind::SiteDelete, by).await
    }

    /// The same where a node of the site is gone for good: nothing on it is touched, the site is forgotten and its backups
    /// are removed.
    ///
    /// # Errors
    /// Those of [`SitesService::delete_site`], and `Conflict` where every node of the site can be worked on.
    pub async fn abandon_site(
        &self,
        id: SiteId,
        confirm: &str,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        self.remove_site(id, confirm, JobKind::SiteAbandon, by).await
    }

    async fn remove_site(
        &self,
        id: SiteId,
        confirm: &str,
        kind: JobKind,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        let site = self.site(id).await?;
        need_confirmation(&site.slug, confirm)?;
        self.remove_site_as_seen(&site, kind, by).await
    }

    /// By a job of this kind, refused where the site changed since it was read.
    pub(super) async fn remove_site_as_seen(
        &self,
        site: &Site,
        kind: JobKind,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        need_resting_site(site)?;
        let environments = self.deps.sites.environments(site.id).await?;
        if kind == JobKind::SiteAbandon {
            self.need_lost_node(&environments).await?;
        }
        let mut expected = vec![Expected::Site(site.id, site.state_version)];
        let mut changes = vec![Change::SiteStatus(site.id, SiteStatus::Deleting)];
        for environment in &environments {
            need_resting(environment)?;
            expected.push(Expected::Environment(environment.id, environment.state_version));
            changes.push(Change::EnvironmentStatus(environment.id, EnvironmentStatus::Deleting));
        }
        let primary = environments
            .iter()
            .find(|known| known.id == site.primary_environment_id);
        let primary = primary.ok_or(UseCaseError::NotFound("environment"))?;
        let job = self.job_on(kind, primary, by);
        self.accept(expected, changes, job, None).await
    }

    /// Accepts that an environment is removed with its backups. `confirm` is its slug.
    ///
    /// # Errors
    /// `Invalid` where something else was typed; `Conflict` for the production environment, which goes with its site only,
    /// and where a job is at work on the site.
    pub async fn delete_environment(
        &self,
        id: EnvironmentId,
        confirm: &str,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        self.remove_environment(id, confirm, JobKind::EnvDelete, by).await
    }

    /// The same where its node is gone for good, as of a site.
    ///
    /// # Errors
    /// Those of [`SitesService::delete_environment`], and `Conflict` where the node can be worked on.
    pub async fn abandon_environment(
        &self,
        id: EnvironmentId,
        confirm: &str,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        self.remove_environment(id, confirm, JobKind::EnvAbandon, by).await
    }

    async fn remove_environment(
        &self,
        id: EnvironmentId,
        confirm: &str,
        kind: JobKind,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        let environment = self.environment(id).await?;
        need_confirmation(&environment.slug, confirm)?;
        let site = self.site(environment.site_id).await?;
        self.remove_environment_as_seen(&site, &environment, kind, by).await
    }

    /// By a job of this kind, refused where the environment or its site changed since they were read.
    pub(super) async fn remove_environment_as_seen(
        &self,
        site: &Site,
        environment: &Environment,
        kind: JobKind,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if site.primary_environment_id == environment.id {
            return Err(UseCaseError::Conflict(
                "The production environment is deleted with its site only. Delete the site.".to_owned(),
            ));
        }
        need_resting_site(site)?;
        need_resting(environment)?;
        if kind == JobKind::EnvAbandon {
            self.need_lost_node(std::slice::from_ref(environment)).await?;
        }
        let expected = vec![
            Expected::Site(site.id, site.state_version),
            Expected::Environment(environment.id, environment.state_version),
        ];
        let changes = vec![
            Change::SiteStatus(site.id, SiteStatus::Deleting),
            Change::EnvironmentStatus(environment.id, EnvironmentStatus::Deleting),
        ];
        let job = self.job_on(kind, environment, by);
        self.accept(expected, changes, job, None).await
    }

    /// Whether a node of these environments is gone for good, as far as can be told: only then can they be abandoned.
    pub async fn has_lost_node(&self, environments: &[Environment]) -> Result<bool, UseCaseError> {
        for environment in environments {
            let node = self.deps.node_store.node(environment.node_id).await?;
            if node.is_none_or(|node| LOST.contains(&node.status)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is on a node that answers is removed, not left behind.
    async fn need_lost_node(&self, environments: &[Environment]) -> Result<(), UseCaseError> {
        if self.has_lost_node(environments).await? {
            return Ok(());
        }
        Err(UseCaseError::Conflict(
            "That `Its node is gone for good` (`abandon` in the API) can be said of a node that is unreachable or failed; this \
             one is not. Delete without it, which removes what is on the node."
                .to_owned(),
        ))
    }
}

fn need_confirmation(slug: &Slug, confirm: &str) -> Result<(), UseCaseError> {
    if slug.as_str() == confirm {
        return Ok(());
    }
    Err(UseCaseError::Invalid(format!(
        "`confirm`: this cannot be undone; type `{}` to confirm it.",
        slug.as_str()
    )))
}

pub(super) fn need_resting_site(site: &Site) -> Result<(), UseCaseError> {
    if SiteStatus::RESTING.contains(&site.status) {
        Ok(())
    } else {
        Err(busy("site", site.status.as_str()))
    }
}

pub(super) fn need_resting(environment: &Environment) -> Result<(), UseCaseError> {
    if EnvironmentStatus::RESTING.contains(&environment.status) {
        Ok(())
    } else {
        Err(busy("environment", environment.status.as_str()))
    }
}
