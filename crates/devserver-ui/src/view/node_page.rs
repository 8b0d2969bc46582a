//! What the page of a node has beside the node itself: what its readiness was judged by, and what lives on it.

use domain_kernel::{JobId, SiteId, Timestamp};
use nodes_domain::{CheckEvidence, Readiness};
use serde::Serialize;
use sites_domain::{Environment, EnvironmentStatus, EnvironmentType};

use super::job_line::JobLine;
use super::when::When;

/// What the readiness was judged by.
#[derive(Serialize)]
pub(crate) struct EvidenceView {
    /// When it was looked at; `None` where it never was.
    checked: Option<When>,
    checks: Vec<CheckRow>,
}

/// What one check saw.
#[derive(Serialize)]
struct CheckRow {
    check: String,
    command: String,
    exit_status: Option<i32>,
    output: String,
    when: When,
}

impl EvidenceView {
    /// What the last look saw, if there was one.
    pub(crate) fn new(readiness: Option<&Readiness>, now: Timestamp) -> Self {
        let row = |seen: &CheckEvidence| CheckRow {
            check: seen.check.clone(),
            command: seen.command.clone(),
            exit_status: seen.exit_status,
            output: seen.output.clone(),
            when: When::new(seen.checked_at, now),
        };
        Self {
            checked: readiness.map(|seen| When::new(seen.checked_at, now)),
            checks: readiness.iter().flat_map(|seen| &seen.evidence).map(row).collect(),
        }
    }
}

/// An environment that lives on the node.
#[derive(Serialize)]
pub(crate) struct EnvironmentOnNode {
    id: String,
    site_id: String,
    site_name: String,
    name: String,
    is_production: bool,
    type_words: &'static str,
    status: EnvironmentStatus,
    status_words: &'static str,
}

impl EnvironmentOnNode {
    /// An environment of a site of this name; where the site is not known, its own stands for it.
    pub(crate) fn new(environment: &Environment, site_name: Option<&str>) -> Self {
        let name = environment.name.as_str();
        Self {
            id: environment.id.to_string(),
            site_id: environment.site_id.to_string(),
            site_name: site_name.unwrap_or(name).to_owned(),
            name: name.to_owned(),
            is_production: environment.environment_type == EnvironmentType::Production,
            type_words: match environment.environment_type {
                EnvironmentType::Production => "Production",
                EnvironmentType::Staging => "Staging",
                EnvironmentType::Clone => "Clone",
            },
            status: environment.status,
            status_words: match environment.status {
                EnvironmentStatus::Creating => "Being created",
                EnvironmentStatus::Active => "Active",
                EnvironmentStatus::Cloning => "Being copied",
                EnvironmentStatus::Restoring => "Being restored",
                EnvironmentStatus::Deleting => "Being deleted",
                EnvironmentStatus::Failed => "Failed",
            },
        }
    }
}

/// A site, by name.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SiteLink {
    id: String,
    name: String,
}

impl SiteLink {
    pub(crate) fn new(id: SiteId, name: &str) -> Self {
        Self {
            id: id.to_string(),
            name: name.to_owned(),
        }
    }

    /// The sites that these environments are of, each once.
    pub(crate) fn of(environments: &[EnvironmentOnNode]) -> Vec<Self> {
        let mut links: Vec<Self> = Vec::new();
        for environment in environments {
            if !links.iter().any(|link| link.id == environment.site_id) {
                links.push(Self {
                    id: environment.site_id.clone(),
                    name: environment.site_name.clone(),
                });
            }
        }
        links
    }
}

/// A job on the node: of the node itself, or of a site on it.
#[derive(Serialize)]
pub(crate) struct JobOnNode {
    id: String,
    line: JobLine,
    site: Option<SiteLink>,
}

impl JobOnNode {
    pub(crate) fn new(id: JobId, line: JobLine, site: Option<SiteLink>) -> Self {
        Self {
            id: id.to_string(),
            line,
            site,
        }
    }
}
