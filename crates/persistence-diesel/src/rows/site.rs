//! Sites.

use diesel::prelude::*;
use domain_kernel::Timestamp;
use sites_domain::{NewSite, Site, SiteStatus};

use crate::error::DbError;
use crate::rows::read;
use crate::schema::sites;

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = sites)]
pub(crate) struct SiteRow {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) status: String,
    pub(crate) primary_environment_id: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) state_version: i64,
}

impl SiteRow {
    /// A site that was just asked for.
    pub(crate) fn creating(site: &NewSite, now: Timestamp) -> Self {
        Self {
            id: site.id.to_string(),
            short_id: site.id.short().to_string(),
            name: site.name.as_str().to_owned(),
            slug: site.slug.as_str().to_owned(),
            status: SiteStatus::Creating.as_str().to_owned(),
            primary_environment_id: site.primary_environment_id.to_string(),
            created_at: now.as_micros(),
            updated_at: now.as_micros(),
            state_version: 1,
        }
    }

    pub(crate) fn status(&self) -> Result<SiteStatus, DbError> {
        read("sites.status", &self.status)
    }
}

impl TryFrom<SiteRow> for Site {
    type Error = DbError;

    fn try_from(row: SiteRow) -> Result<Self, DbError> {
        Ok(Self {
            id: read("sites.id", &row.id)?,
            short_id: read("sites.short_id", &row.short_id)?,
            name: read("sites.name", &row.name)?,
            slug: read("sites.slug", &row.slug)?,
            status: row.status()?,
            primary_environment_id: read("sites.primary_environment_id", &row.primary_environment_id)?,
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
            state_version: row.state_version,
        })
    }
}
