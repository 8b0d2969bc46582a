//! Giving up sites and environments.

use domain_kernel::{AccountId, EnvironmentId, SiteId};
use jobs::JobKind;
use sites_domain::{Change, CreatedInSite, Environment, EnvironmentStatus, Expected, Site, SiteStatus, Slug};

use super::{SitesService, busy};
use crate::UseCaseError;

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
        let site = self.site(id).await?;
        need_confirmation(&site.slug, confirm)?;
        self.delete_site_as_seen(&site, by).await
    }

    pub(super) async fn delete_site_as_seen(
        &self,
        site: &Site,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        need_resting_site(site)?;
        let environments = self.deps.sites.environments(site.id).await?;
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
        let job = self.job_on(JobKind::SiteDelete, primary, by);
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
        let environment = self.environment(id).await?;
        need_confirmation(&environment.slug, confirm)?;
        let site = self.site(environment.site_id).await?;
        self.delete_environment_as_seen(&site, &environment, by).await
    }

    pub(super) async fn delete_environment_as_seen(
        &self,
        site: &Site,
        environment: &Environment,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        if site.primary_environment_id == environment.id {
            return Err(UseCaseError::Conflict(
                "The production environment is deleted with its site only. Delete the site.".to_owned(),
            ));
        }
        need_resting_site(site)?;
        need_resting(environment)?;
        let expected = vec![
            Expected::Site(site.id, site.state_version),
            Expected::Environment(environment.id, environment.state_version),
        ];
        let changes = vec![
            Change::SiteStatus(site.id, SiteStatus::Deleting),
            Change::EnvironmentStatus(environment.id, EnvironmentStatus::Deleting),
        ];
        let job = self.job_on(JobKind::EnvDelete, environment, by);
        self.accept(expected, changes, job, None).await
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
