//! An environment with its backups, on the page of its site.

use domain_kernel::{NodeId, Timestamp};
use nodes_domain::{Node, NodeBrief, NodeStatus};
use serde::Serialize;
use sites_domain::{
    BackupSchedule, BackupScope, Environment, EnvironmentStatus, EnvironmentType, PromotionPreset, Site, SiteStatus,
};

use super::backup::{BackupRow, scope_words};
use super::job_line::JobLine;
use super::when::When;

/// A node that something lives on.
#[derive(Clone, Serialize)]
pub(crate) struct NodeLink {
    id: String,
    name: String,
    /// Whether what is asked of it has a chance of an answer.
    pub(super) is_active: bool,
    /// What keeps what lives on it from answering, if anything does.
    trouble: Option<&'static str>,
}

/// What a node's status means for what lives on it.
const fn trouble(status: NodeStatus) -> Option<&'static str> {
    match status {
        NodeStatus::Active | NodeStatus::Decommissioned => None,
        NodeStatus::Unreachable => Some("unreachable: nothing on it may answer"),
        NodeStatus::Failed => Some("failed: what is on it may not answer"),
        NodeStatus::Provisioning => Some("is being provisioned"),
        NodeStatus::Decommissioning => Some("is being deleted"),
    }
}

impl NodeLink {
    pub(crate) fn new(node: &Node) -> Self {
        Self {
            id: node.id.to_string(),
            name: node.name.as_str().to_owned(),
            is_active: node.status == NodeStatus::Active,
            trouble: trouble(node.status),
        }
    }

    /// The same by what is known of it in brief.
    pub(crate) fn of(node: &NodeBrief) -> Self {
        Self {
            id: node.id.to_string(),
            name: node.name.as_str().to_owned(),
            is_active: node.status == NodeStatus::Active,
            trouble: trouble(node.status),
        }
    }

    /// A node that is not there any more.
    pub(crate) fn gone(id: NodeId) -> Self {
        Self {
            id: id.to_string(),
            name: "a node that is gone".to_owned(),
            is_active: false,
            trouble: None,
        }
    }
}

/// Where an environment answers.
#[derive(Serialize)]
pub(crate) struct Preview {
    url: String,
    /// The same without `http://`, to be read.
    host: String,
}

impl Preview {
    pub(crate) fn new(environment: &Environment) -> Self {
        let url = environment.preview_url.clone();
        Self {
            host: url.trim_start_matches("http://").to_owned(),
            url,
        }
    }
}

/// An environment.
#[derive(Serialize)]
pub(crate) struct EnvironmentCard {
    id: String,
    short_id: String,
    name: String,
    slug: String,
    is_production: bool,
    type_words: &'static str,
    status: EnvironmentStatus,
    status_words: &'static str,
    preview: Preview,
    node: NodeLink,
    wordpress_version: Option<String>,
    is_active: bool,
    /// Whether the page asks its WordPress for its version.
    asks_version: bool,
    /// The name of what it is a copy of.
    source: Option<String>,
    preset_words: Option<&'static str>,
    schedule: Option<String>,
    created: When,
    /// The job that it failed by, where it is failed and that is known.
    failed_by: Option<FailedBy>,
    actions: Actions,
    backups: Vec<BackupRow>,
    is_first: bool,
    /// Where the page with the next older backups begins.
    next: Option<String>,
}

/// What can be asked of it now.
#[derive(Serialize)]
struct Actions {
    copy: bool,
    backup: bool,
    reset: bool,
    delete: bool,
}

/// The job that an environment failed by.
#[derive(Serialize)]
pub(crate) struct FailedBy {
    pub(crate) line: JobLine,
    pub(crate) may_retry: bool,
    /// Whether the page has shown it already, as the site's newest.
    pub(crate) is_above: bool,
}

/// Backups of an environment, as much as a page shows.
pub(crate) struct BackupsShown {
    pub(crate) rows: Vec<BackupRow>,
    pub(crate) is_first: bool,
    pub(crate) next: Option<String>,
}

impl BackupsShown {
    /// None, where a page has no room for any.
    pub(crate) const fn none() -> Self {
        Self {
            rows: Vec::new(),
            is_first: true,
            next: None,
        }
    }
}

impl EnvironmentCard {
    /// An environment of this site, among all of the site's.
    pub(crate) fn new(
        environment: &Environment,
        site: &Site,
        all: &[Environment],
        node: NodeLink,
        backups: BackupsShown,
        was_asked: bool,
        now: Timestamp,
    ) -> Self {
        let is_active = environment.status == EnvironmentStatus::Active;
        let is_production = environment.id == site.primary_environment_id;
        let source = environment.source_environment_id.map(|id| {
            let source = all.iter().find(|known| known.id == id);
            source.map_or_else(
                || "an environment that is gone".to_owned(),
                |source| source.name.as_str().to_owned(),
            )
        });
        Self {
            id: environment.id.to_string(),
            short_id: environment.short_id.to_string(),
            name: environment.name.as_str().to_owned(),
            slug: environment.slug.as_str().to_owned(),
            is_production,
            type_words: type_words(environment.environment_type),
            status: environment.status,
            status_words: status_words(environment.status),
            preview: Preview::new(environment),
            asks_version: is_active && node.is_active && !was_asked,
            node,
            wordpress_version: environment.wordpress_version.clone(),
            is_active,
            source,
            preset_words: environment.promotion_preset.map(preset_words),
            schedule: environment.backup_schedule.as_ref().map(schedule_words),
            created: When::new(environment.created_at, now),
            failed_by: None,
            actions: Actions {
                copy: is_active && site.status == SiteStatus::Active,
                backup: is_active,
                reset: environment.status == EnvironmentStatus::Failed,
                delete: !is_production && is_resting(site, environment),
            },
            backups: backups.rows,
            is_first: backups.is_first,
            next: backups.next,
        }
    }
}

impl EnvironmentCard {
    /// The same with the job that it failed by.
    pub(crate) fn failed_by(self, failed_by: Option<FailedBy>) -> Self {
        Self { failed_by, ..self }
    }
}

/// Whether no job that changes it is at work on an environment or its site.
pub(crate) fn is_resting(site: &Site, environment: &Environment) -> bool {
    SiteStatus::RESTING.contains(&site.status) && EnvironmentStatus::RESTING.contains(&environment.status)
}

/// What an environment is for.
pub(crate) const fn type_words(environment_type: EnvironmentType) -> &'static str {
    match environment_type {
        EnvironmentType::Production => "Production",
        EnvironmentType::Staging => "Staging",
        EnvironmentType::Clone => "Clone",
    }
}

const fn status_words(status: EnvironmentStatus) -> &'static str {
    match status {
        EnvironmentStatus::Creating => "Being created",
        EnvironmentStatus::Active => "Active",
        EnvironmentStatus::Cloning => "Being copied",
        EnvironmentStatus::Restoring => "Being restored",
        EnvironmentStatus::Deleting => "Being deleted",
        EnvironmentStatus::Failed => "Failed",
    }
}

/// What a later promotion leaves as it is in production.
pub(crate) const fn preset_words(preset: PromotionPreset) -> &'static str {
    match preset {
        PromotionPreset::ContentProtect => "Posts, pages, comments and uploads",
        PromotionPreset::CommerceProtect => "Those, and orders, customers and stock",
    }
}

fn schedule_words(schedule: &BackupSchedule) -> String {
    let BackupSchedule {
        every_hours,
        keep_days,
        backup_scope,
    } = schedule;
    let every = match every_hours {
        1 => "every hour".to_owned(),
        24 => "every day".to_owned(),
        hours if hours % 24 == 0 => format!("every {} days", hours / 24),
        hours => format!("every {hours} hours"),
    };
    let days = if *keep_days == 1 { "day" } else { "days" };
    let what = match backup_scope {
        BackupScope::Full => "",
        BackupScope::Db | BackupScope::Files => scope_words(*backup_scope),
    };
    let what = if what.is_empty() {
        String::new()
    } else {
        format!(", {}", what.to_lowercase())
    };
    format!("{every}, kept {keep_days} {days}{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_told_in_a_few_words() {
        for (every_hours, keep_days, backup_scope, words) in [
            (1, 1, BackupScope::Full, "every hour, kept 1 day"),
            (24, 14, BackupScope::Full, "every day, kept 14 days"),
            (48, 14, BackupScope::Db, "every 2 days, kept 14 days, database only"),
            (36, 14, BackupScope::Files, "every 36 hours, kept 14 days, files only"),
        ] {
            let schedule = BackupSchedule {
                every_hours,
                keep_days,
                backup_scope,
            };
            assert_eq!(schedule_words(&schedule), words);
        }
    }
}
