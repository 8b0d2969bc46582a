//! Looking at an environment on its node now: which WordPress it runs, and whether what failed works again.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{AccountId, EnvironmentId, SiteId};
use futures_util::future::{Either, join_all, select};
use jobs::StepContext;
use nodes_domain::{NodeTarget, RemoteCommand, RemoteOutput, SshError};
use sites_domain::{Change, Environment, EnvironmentPlace, EnvironmentStatus, Expected, Site, SiteStatus};

use super::SitesService;
use crate::UseCaseError;
use crate::workflows::{WP_CLI, as_root, serving_address};

/// The hard limit of a look on request.
const LIMIT: Duration = Duration::from_secs(10);

/// The exit status of the look at an environment where WordPress is not installed.
const NOT_INSTALLED: i32 = 10;

/// The same where a query does not get its answer.
const NO_ANSWER: i32 = 11;

/// Runs WP-CLI on an environment as its own user, once for each of `commands`; `or` follows each.
fn wp_cli(place: &EnvironmentPlace, commands: &[(&str, &str)]) -> String {
    let (user, live) = (place.system_user(), place.live());
    let lines = commands.iter().map(|(command, or)| {
        format!(
            "runuser -u {user} -- env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/nonexistent \
             WP_CLI_CACHE_DIR=/nonexistent WP_CLI_CONFIG_PATH=/dev/null WP_CLI_PACKAGES_DIR=/nonexistent php \
             -d display_errors=stderr {WP_CLI} --path={live} --skip-plugins --skip-themes --no-color {command}{or}"
        )
    });
    let lines: Vec<_> = lines.collect();
    as_root(&format!("cd /; {}", lines.join("; ")))
}

fn version_script(place: &EnvironmentPlace) -> String {
    wp_cli(place, &[("core version", "")])
}

fn works_script(place: &EnvironmentPlace) -> String {
    let query =
        "eval 'global $wpdb; echo $wpdb->get_var(\"SELECT COUNT(*) FROM $wpdb->options\") > 0 ? \"answered\" : \"\";'";
    wp_cli(
        place,
        &[
            ("core is-installed", &format!(" || exit {NOT_INSTALLED}")),
            (query, &format!(" | grep -qx answered || exit {NO_ANSWER}")),
        ],
    )
}

/// What a text of the node may be as a version.
fn version_of(output: &str) -> Option<&str> {
    let version = output.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let good =
        version.starts_with(|first: char| first.is_ascii_digit()) && version.len() <= 40 && version.bytes().all(plain);
    good.then_some(version)
}

fn first_line(output: &RemoteOutput) -> String {
    let mut lines = output.stderr.lines().chain(output.stdout.lines()).map(str::trim);
    let line = lines.find(|line| !line.is_empty()).unwrap_or("it printed nothing");
    line.chars().take(200).collect()
}

impl SitesService {
    /// The version of an environment's WordPress, asked on its node now, within 10 s. It is stored where it is another
    /// than the one known.
    ///
    /// # Errors
    /// `NodeUnreachable`, `WpCliError`.
    pub async fn wordpress_version(&self, id: EnvironmentId) -> Result<String, UseCaseError> {
        let environment = self.environment(id).await?;
        let site = self.site(environment.site_id).await?;
        let place = self.place(&site, &environment).await?;
        let output = self.run_within_limit(&place, version_script(&place)).await?;
        if output.exit_status != Some(0) {
            return Err(UseCaseError::WpCliError(match output.exit_status {
                Some(124) => format!("no end within {} s", LIMIT.as_secs()),
                _ => first_line(&output),
            }));
        }
        let version = version_of(&output.stdout)
            .ok_or_else(|| UseCaseError::WpCliError("what it says is no version".to_owned()))?
            .to_owned();
        let mut state_version = environment.state_version;
        if environment.wordpress_version.as_ref() != Some(&version) {
            let expected = vec![Expected::Environment(id, environment.state_version)];
            let changes = vec![Change::WordPressVersion(id, version.clone())];
            match self.deps.sites.apply(expected, changes, None).await {
                Ok(()) => state_version += 1,
                // Somebody changed the environment meanwhile: what was seen is still the answer, it is just not stored.
                Err(jobs::StoreError::VersionConflict(_) | jobs::StoreError::NotFound(_)) => return Ok(version),
                Err(error) => return Err(error.into()),
            }
        }
        self.asked_versions.note(id, state_version, self.deps.clock.now());
        Ok(version)
    }

    /// Takes a failed site for active where its production environment and each that failed works, looked at now, within
    /// 10 s in all.
    ///
    /// # Errors
    /// `ResourceNotFailed`; `ResetValidationFailed` with the environment and the check that failed.
    pub async fn reset_site(&self, id: SiteId, by: Option<AccountId>) -> Result<Site, UseCaseError> {
        let site = self.site(id).await?;
        if site.status != SiteStatus::Failed {
            return Err(not_failed("site", site.status.as_str()));
        }
        let mut environments = self.deps.sites.environments(id).await?;
        environments.retain(|environment| {
            environment.status == EnvironmentStatus::Failed || environment.id == site.primary_environment_id
        });
        self.reset(&site, &environments, by).await?;
        self.site(id).await
    }

    /// Takes a failed environment for active where it works, looked at now, within 10 s. A failed site whose production
    /// environment it is becomes active with it.
    ///
    /// # Errors
    /// `ResourceNotFailed`; `ResetValidationFailed` with the check that failed.
    pub async fn reset_environment(
        &self,
        id: EnvironmentId,
        by: Option<AccountId>,
    ) -> Result<Environment, UseCaseError> {
        let environment = self.environment(id).await?;
        if environment.status != EnvironmentStatus::Failed {
            return Err(not_failed("environment", environment.status.as_str()));
        }
        let site = self.site(environment.site_id).await?;
        self.reset(&site, &[environment], by).await?;
        self.environment(id).await
    }

    async fn reset(
        &self,
        site: &Site,
        environments: &[Environment],
        by: Option<AccountId>,
    ) -> Result<(), UseCaseError> {
        let looks = environments.iter().map(|environment| self.works(site, environment));
        for look in join_all(looks).await {
            look?;
        }
        let mut expected = vec![Expected::Site(site.id, site.state_version)];
        let mut changes = Vec::new();
        for environment in environments {
            expected.push(Expected::Environment(environment.id, environment.state_version));
            if environment.status == EnvironmentStatus::Failed {
                changes.push(Change::EnvironmentStatus(environment.id, EnvironmentStatus::Active));
            }
        }
        let primary_works = environments.iter().any(|known| known.id == site.primary_environment_id);
        if primary_works && site.status == SiteStatus::Failed {
            changes.push(Change::SiteStatus(site.id, SiteStatus::Active));
        }
        Ok(self.deps.sites.apply(expected, changes, by).await?)
    }

    /// Whether an environment works: its preview proves itself, WordPress is installed, and a query gets its answer.
    async fn works(&self, site: &Site, environment: &Environment) -> Result<(), UseCaseError> {
        let failed = |check: &str, why: &str| {
            UseCaseError::ResetValidationFailed(format!(
                "The environment `{}` does not work: {check}: {why}.",
                environment.slug.as_str()
            ))
        };
        let look = async {
            let place = self.place(site, environment).await;
            let place = place.map_err(|error| failed("its node", &error.to_string()))?;
            let secrets = self.secrets_of(environment.id).await?;
            let address = serving_address(&place.target)
                .ok_or_else(|| failed("the proof of its preview", "its node has no address"))?;
            let context = self.context();
            let url = &environment.preview_url;
            let proof = self.deps.preview.prove(url, address, &secrets.proof_secret, &context);
            let proof = proof.await;
            proof.map_err(|error| failed("the proof of its preview", &error.to_string()))?;
            let output = self.run(&place, works_script(&place)).await;
            let output = output.map_err(|error| failed("its node", &error.to_string()))?;
            match output.exit_status {
                Some(0) => Ok(()),
                Some(NOT_INSTALLED) => Err(failed("`wp core is-installed`", &first_line(&output))),
                Some(NO_ANSWER) => Err(failed("a query of its database", &first_line(&output))),
                _ => Err(failed("WP-CLI", &first_line(&output))),
            }
        };
        futures_util::pin_mut!(look);
        match select(look, self.deps.clock.sleep(LIMIT)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(failed("the time", &format!("no answer within {} s", LIMIT.as_secs()))),
        }
    }

    async fn place(&self, site: &Site, environment: &Environment) -> Result<EnvironmentPlace, UseCaseError> {
        let node = self.deps.nodes.get(environment.node_id).await?;
        let target: Option<NodeTarget> = node.target;
        let target = target.ok_or_else(|| UseCaseError::NodeUnreachable("the node has no address.".to_owned()))?;
        Ok(EnvironmentPlace {
            node_id: node.id,
            target,
            site: site.short_id.clone(),
            environment: environment.short_id.clone(),
        })
    }

    fn context(&self) -> StepContext {
        StepContext::outside_job("look", LIMIT, Arc::clone(&self.deps.clock))
    }

    async fn run(&self, place: &EnvironmentPlace, script: String) -> Result<RemoteOutput, SshError> {
        let command = RemoteCommand::script(script, LIMIT);
        self.deps
            .ssh
            .run(place.node_id, &place.target, &command, &self.context())
            .await
    }

    /// Runs a command, and answers at the limit whatever SSH is still at.
    async fn run_within_limit(&self, place: &EnvironmentPlace, script: String) -> Result<RemoteOutput, UseCaseError> {
        let run = self.run(place, script);
        futures_util::pin_mut!(run);
        match select(run, self.deps.clock.sleep(LIMIT)).await {
            Either::Left((Ok(output), _)) => Ok(output),
            Either::Left((Err(error), _)) => Err(UseCaseError::NodeUnreachable(format!("{error}."))),
            Either::Right(_) => Err(UseCaseError::NodeUnreachable(format!(
                "no answer within {} s.",
                LIMIT.as_secs()
            ))),
        }
    }
}

fn not_failed(what: &str, status: &str) -> UseCaseError {
    UseCaseError::ResourceNotFailed(format!("The {what} is {status}; only what is failed can be reset."))
}
