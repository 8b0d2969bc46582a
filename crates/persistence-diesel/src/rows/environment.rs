//! Environments.

use diesel::prelude::*;
use domain_kernel::Timestamp;
use sites_domain::{Environment, EnvironmentStatus, NewEnvironment};

use crate::error::DbError;
use crate::rows::{from_json, read, read_optional};
use crate::schema::environments;

// No Debug: the secrets, sealed as they are, are not for logs.
#[derive(Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = environments, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(crate) struct EnvironmentRow {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) site_id: String,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) environment_type: String,
    pub(crate) status: String,
    pub(crate) resting_status: String,
    pub(crate) node_id: String,
    pub(crate) source_environment_id: Option<String>,
    pub(crate) promotion_preset: Option<String>,
    pub(crate) preview_url: String,
    pub(crate) wordpress_version: Option<String>,
    pub(crate) backup_schedule: Option<String>,
    pub(crate) sealed_secrets: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) state_version: i64,
    pub(crate) proved_at: Option<i64>,
}

impl EnvironmentRow {
    /// An environment that was just asked for. Until it proves itself it has nothing to rest in but its failure.
    pub(crate) fn new(environment: &NewEnvironment, now: Timestamp) -> Self {
        let status = match environment.source_environment_id {
            None => EnvironmentStatus::Creating,
            Some(_) => EnvironmentStatus::Cloning,
        };
        Self {
            id: environment.id.to_string(),
            short_id: environment.id.short().to_string(),
            site_id: environment.site_id.to_string(),
            name: environment.name.as_str().to_owned(),
            slug: environment.slug.as_str().to_owned(),
            environment_type: environment.environment_type.as_str().to_owned(),
            status: status.as_str().to_owned(),
            resting_status: EnvironmentStatus::Failed.as_str().to_owned(),
            node_id: environment.node_id.to_string(),
            source_environment_id: environment.source_environment_id.map(|id| id.to_string()),
            promotion_preset: environment.promotion_preset.map(|preset| preset.as_str().to_owned()),
            preview_url: environment.preview_url.clone(),
            wordpress_version: None,
            backup_schedule: None,
            sealed_secrets: environment.sealed_secrets.clone(),
            created_at: now.as_micros(),
            updated_at: now.as_micros(),
            state_version: 1,
            proved_at: None,
        }
    }

    pub(crate) fn status(&self) -> Result<EnvironmentStatus, DbError> {
        read("environments.status", &self.status)
    }

    pub(crate) fn resting_status(&self) -> Result<EnvironmentStatus, DbError> {
        read("environments.resting_status", &self.resting_status)
    }
}

impl TryFrom<EnvironmentRow> for Environment {
    type Error = DbError;

    fn try_from(row: EnvironmentRow) -> Result<Self, DbError> {
        let source_environment_id = row.source_environment_id.as_deref();
        Ok(Self {
            id: read("environments.id", &row.id)?,
            short_id: read("environments.short_id", &row.short_id)?,
            site_id: read("environments.site_id", &row.site_id)?,
            name: read("environments.name", &row.name)?,
            slug: read("environments.slug", &row.slug)?,
            environment_type: read("environments.environment_type", &row.environment_type)?,
            status: row.status()?,
            resting_status: row.resting_status()?,
            node_id: read("environments.node_id", &row.node_id)?,
            source_environment_id: read_optional("environments.source_environment_id", source_environment_id)?,
            promotion_preset: read_optional("environments.promotion_preset", row.promotion_preset.as_deref())?,
            preview_url: row.preview_url,
            wordpress_version: row.wordpress_version,
            backup_schedule: from_json("environments.backup_schedule", row.backup_schedule.as_deref())?,
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
            state_version: row.state_version,
        })
    }
}
