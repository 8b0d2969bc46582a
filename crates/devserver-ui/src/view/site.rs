//! A site: a row of the list, and the head of its own page.

use domain_kernel::Timestamp;
use serde::Serialize;
use sites_domain::{Environment, EnvironmentStatus, Site, SiteStatus};

use super::environment::{NodeLink, Preview};
use super::job_line::JobLine;
use super::when::When;

/// What is known of a site itself.
#[derive(Serialize)]
pub(crate) struct SiteFacts {
    id: String,
    short_id: String,
    name: String,
    slug: String,
    status: SiteStatus,
    status_words: &'static str,
    /// Its production environment.
    primary: String,
    created: When,
    /// Whether no job is at work that changes it.
    is_resting: bool,
}

impl SiteFacts {
    pub(crate) fn new(site: &Site, now: Timestamp) -> Self {
        Self {
            id: site.id.to_string(),
            short_id: site.short_id.to_string(),
            name: site.name.as_str().to_owned(),
            slug: site.slug.as_str().to_owned(),
            status: site.status,
            status_words: status_words(site.status),
            primary: site.primary_environment_id.to_string(),
            created: When::new(site.created_at, now),
            is_resting: SiteStatus::RESTING.contains(&site.status),
        }
    }
}

/// A row of the list: the site with what its production environment is like.
#[derive(Serialize)]
pub(crate) struct SiteRow {
    #[serde(flatten)]
    site: SiteFacts,
    preview: Option<Preview>,
    node: Option<NodeLink>,
    wordpress_version: Option<String>,
    /// Whether the page asks its WordPress for its version.
    asks_version: bool,
    /// Whether its WordPress can be asked for its version, and backups can be taken.
    is_active: bool,
    can_copy: bool,
    newest_backup: Option<When>,
    job: Option<JobLine>,
}

/// What a row is made of, beside the site.
pub(crate) struct RowParts {
    pub(crate) environment: Option<Environment>,
    pub(crate) node: Option<NodeLink>,
    /// When the newest backup that is complete was completed.
    pub(crate) newest_backup: Option<Timestamp>,
    pub(crate) job: Option<JobLine>,
    /// Whether its WordPress was asked for its version lately.
    pub(crate) was_asked: bool,
}

impl SiteRow {
    pub(crate) fn new(site: &Site, parts: RowParts, now: Timestamp) -> Self {
        let environment = parts.environment.as_ref();
        let is_active = environment.is_some_and(|known| known.status == EnvironmentStatus::Active);
        Self {
            site: SiteFacts::new(site, now),
            preview: environment.map(Preview::new),
            wordpress_version: environment.and_then(|known| known.wordpress_version.clone()),
            is_active,
            asks_version: is_active && parts.node.as_ref().is_some_and(|node| node.is_active) && !parts.was_asked,
            can_copy: is_active && site.status == SiteStatus::Active,
            newest_backup: parts.newest_backup.map(|at| When::new(at, now)),
            node: parts.node,
            job: parts.job,
        }
    }
}

pub(super) const fn status_words(status: SiteStatus) -> &'static str {
    match status {
        SiteStatus::Creating => "Being created",
        SiteStatus::Active => "Active",
        SiteStatus::Cloning => "Being copied",
        SiteStatus::Restoring => "Being restored",
        SiteStatus::Deleting => "Being deleted",
        SiteStatus::Failed => "Failed",
    }
}
