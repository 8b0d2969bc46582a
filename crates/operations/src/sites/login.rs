//! The secrets of environments: made, sealed, opened, and the one login that operators may see.

use accounts_domain::SealedSecret;
use domain_kernel::{AccountId, EnvironmentId, Secret};
use sites_domain::{Environment, EnvironmentSecrets};

use super::SitesService;
use crate::UseCaseError;

/// The fewest hexadecimal digits of a random text that hold 128 bits.
const LEAST_DIGITS: usize = 32;

/// The login of WordPress's first administrator.
#[derive(Debug, Clone)]
pub struct WordPressLogin {
    /// The user.
    pub user: String,
    /// The password that was set when the WordPress was made; the administrator may have changed it since.
    pub password: Secret,
    /// Where to log in.
    pub url: String,
}

impl SitesService {
    /// The login of an environment's WordPress. That `by` was shown it is written down first.
    pub async fn wordpress_login(&self, id: EnvironmentId, by: AccountId) -> Result<WordPressLogin, UseCaseError> {
        let environment = self.environment(id).await?;
        let secrets = self.secrets_of(id).await?;
        self.deps.sites.record_login_shown(id, by).await?;
        Ok(WordPressLogin {
            user: secrets.admin_user,
            password: secrets.admin_password,
            url: format!("{}/wp-login.php", environment.preview_url),
        })
    }

    /// Secrets of its own for a copy, but the login of its source: the copy's users are the source's.
    pub(super) async fn secrets_for_copy(
        &self,
        id: EnvironmentId,
        source: &Environment,
    ) -> Result<String, UseCaseError> {
        let of_source = self.secrets_of(source.id).await?;
        let own = EnvironmentSecrets::generate(&of_source.admin_user, &of_source.admin_email, || self.random())?;
        let secrets = EnvironmentSecrets {
            admin_password: of_source.admin_password,
            ..own
        };
        self.seal(id, &secrets)
    }

    pub(super) fn seal(&self, id: EnvironmentId, secrets: &EnvironmentSecrets) -> Result<String, UseCaseError> {
        let row = EnvironmentSecrets::row(id);
        let sealed = self.deps.secrets.seal(&secrets.to_plain(), &row)?;
        Ok(sealed.as_str().to_owned())
    }

    pub(super) async fn secrets_of(&self, id: EnvironmentId) -> Result<EnvironmentSecrets, UseCaseError> {
        let sealed = self.deps.sites.sealed_secrets(id).await?;
        let sealed = SealedSecret::from_stored(sealed.ok_or(UseCaseError::NotFound("environment"))?);
        let plain = self.deps.secrets.open(&sealed, &EnvironmentSecrets::row(id))?;
        EnvironmentSecrets::from_plain(&plain)
            .ok_or_else(|| UseCaseError::Internal("an environment's secrets have another form".into()))
    }

    /// A random text that can stand in any file without quotes.
    pub(super) fn random(&self) -> Result<Secret, UseCaseError> {
        let text = self.deps.tokens.generate()?.0;
        let plain = text.expose().bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain && text.expose().len() >= LEAST_DIGITS {
            Ok(text)
        } else {
            Err(UseCaseError::Internal(
                "the source of tokens gives texts that are no secrets".into(),
            ))
        }
    }
}
