//! Moving environments to the preview URL that their node's address or the settings now say.

use domain_kernel::AccountId;
use jobs::JobKind;
use nodes_domain::{Node, NodeStatus};
use sites_domain::{Change, CreatedInSite, Environment, EnvironmentStatus, Expected};

use super::SitesService;
use super::removal::need_resting;
use crate::UseCaseError;
use crate::workflows::wanted_preview;

impl SitesService {
    /// The active environments of active nodes whose preview URL is not what it should be.
    pub(crate) async fn misaddressed(&self) -> Result<Vec<Environment>, UseCaseError> {
        let mut found = Vec::new();
        for load in self.deps.sites.node_loads().await? {
            let node = self.deps.node_store.node(load.node_id).await?;
            let Some(node) = node.filter(|node| node.status == NodeStatus::Active) else {
                continue;
            };
            let environments = self.deps.sites.environments_on(node.id).await?;
            found.extend(
                environments
                    .into_iter()
                    .filter(|known| self.is_misaddressed(&node, known)),
            );
        }
        Ok(found)
    }

    fn is_misaddressed(&self, node: &Node, environment: &Environment) -> bool {
        let wanted = wanted_preview(node, &environment.short_id, self.deps.preview_domain.as_deref());
        environment.status == EnvironmentStatus::Active
            && wanted.is_some_and(|wanted| wanted != environment.preview_url)
    }

    /// Accepts that an environment is moved, refused where it changed since it was read.
    pub(crate) async fn readdress_as_seen(
        &self,
        environment: &Environment,
        by: Option<AccountId>,
    ) -> Result<CreatedInSite, UseCaseError> {
        need_resting(environment)?;
        let expected = vec![Expected::Environment(environment.id, environment.state_version)];
        // From then on nothing else is accepted for it, so what the job finds out at its end is about what it found.
        let begins = Change::EnvironmentStatus(environment.id, EnvironmentStatus::Creating);
        let changes = if environment.status == EnvironmentStatus::Failed {
            vec![begins]
        } else {
            Vec::new()
        };
        let job = self.job_on(JobKind::EnvReaddress, environment, by);
        self.accept(expected, changes, job, None).await
    }
}
