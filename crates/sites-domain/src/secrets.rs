//! What one environment keeps from the others.

use std::collections::BTreeMap;
use std::fmt;

use domain_kernel::{EnvironmentId, Secret};
use serde_json::json;

/// The names of WordPress's keys and salts, as its configuration calls them.
const SALTS: [&str; 8] = [
    "AUTH_KEY",
    "SECURE_AUTH_KEY",
    "LOGGED_IN_KEY",
    "NONCE_KEY",
    "AUTH_SALT",
    "SECURE_AUTH_SALT",
    "LOGGED_IN_SALT",
    "NONCE_SALT",
];

/// The secrets of one environment, made when it is asked for, and stored as one sealed text.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvironmentSecrets {
    /// The password of its database users.
    pub database_password: Secret,
    /// The password of its Redis user.
    pub redis_password: Secret,
    /// What the preview proof is made with.
    pub proof_secret: Secret,
    /// The login of WordPress's first administrator.
    pub admin_user: String,
    /// That administrator's address.
    pub admin_email: String,
    /// That administrator's password. For a copy: as it was when the source was made.
    pub admin_password: Secret,
    /// WordPress's keys and salts by name.
    pub salts: BTreeMap<String, Secret>,
}

impl EnvironmentSecrets {
    /// New secrets. `random` gives a text of at least 128 bits of randomness, letters and digits alone, each time another.
    ///
    /// # Errors
    /// What `random` says.
    pub fn generate<E>(
        admin_user: &str,
        admin_email: &str,
        mut random: impl FnMut() -> Result<Secret, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            database_password: random()?,
            redis_password: random()?,
            proof_secret: random()?,
            admin_user: admin_user.to_owned(),
            admin_email: admin_email.to_owned(),
            admin_password: random()?,
            salts: SALTS
                .iter()
                .map(|name| Ok(((*name).to_owned(), random()?)))
                .collect::<Result<_, E>>()?,
        })
    }

    /// The place in the database that they are sealed for.
    pub fn row(id: EnvironmentId) -> String {
        format!("environments/{id}/secrets")
    }

    /// One text to be sealed: a JSON object.
    pub fn to_plain(&self) -> Secret {
        let salts: BTreeMap<_, _> = self.salts.iter().map(|(name, salt)| (name, salt.expose())).collect();
        let plain = json!({
            "database_password": self.database_password.expose(),
            "redis_password": self.redis_password.expose(),
            "proof_secret": self.proof_secret.expose(),
            "admin_user": self.admin_user,
            "admin_email": self.admin_email,
            "admin_password": self.admin_password.expose(),
            "salts": salts,
        });
        Secret::new(plain.to_string())
    }

    /// Reads what [`EnvironmentSecrets::to_plain`] wrote; `None` where it is something else.
    pub fn from_plain(plain: &Secret) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(plain.expose()).ok()?;
        let text = |name: &str| value.get(name)?.as_str();
        let secret = |name: &str| text(name).map(Secret::new);
        let salts = value.get("salts")?.as_object()?.iter();
        Some(Self {
            database_password: secret("database_password")?,
            redis_password: secret("redis_password")?,
            proof_secret: secret("proof_secret")?,
            admin_user: text("admin_user")?.to_owned(),
            admin_email: text("admin_email")?.to_owned(),
            admin_password: secret("admin_password")?,
            salts: salts
                .map(|(name, salt)| Some((name.clone(), Secret::new(salt.as_str()?))))
                .collect::<Option<_>>()?,
        })
    }
}

impl fmt::Debug for EnvironmentSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvironmentSecrets(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> EnvironmentSecrets {
        let mut count = 0;
        let random = || {
            count += 1;
            Ok::<_, ()>(Secret::new(format!("secret{count}")))
        };
        EnvironmentSecrets::generate("admin", "me@example.test", random).unwrap()
    }

    #[test]
    fn secrets_survive_their_plain_text_and_are_all_different() {
        let made = secrets();
        assert_eq!(EnvironmentSecrets::from_plain(&made.to_plain()), Some(made.clone()));
        let mut all: Vec<_> = made.salts.values().map(|salt| salt.expose().to_owned()).collect();
        for one in [
            &made.database_password,
            &made.redis_password,
            &made.proof_secret,
            &made.admin_password,
        ] {
            all.push(one.expose().to_owned());
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn other_text_is_refused_and_nothing_is_printed() {
        for text in ["", "{}", "[]", r#"{"database_password":1}"#] {
            assert_eq!(EnvironmentSecrets::from_plain(&Secret::new(text)), None, "{text}");
        }
        assert_eq!(format!("{:?}", secrets()), "EnvironmentSecrets(***)");
    }
}
