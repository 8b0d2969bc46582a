//! Jobs as rows of the list, and the filter above them.

use std::time::Duration;

use domain_kernel::{NodeId, SiteId, Timestamp};
use jobs::{JobFilter, JobKind, JobStatus, JobView};
use nodes_domain::NodeName;
use serde::Serialize;
use sites_domain::SiteName;

use super::filter::{Choice, with_gone};
use super::job::kind_name;
use super::job_line::JobLine;
use crate::filter::and;

/// The names of nodes and sites, the newest first.
pub(crate) struct Names {
    pub(crate) nodes: Vec<(NodeId, NodeName)>,
    pub(crate) sites: Vec<(SiteId, SiteName)>,
}

/// Something that a job works on.
#[derive(Serialize)]
pub(crate) struct Subject {
    /// `node` or `site`.
    what: &'static str,
    id: String,
    /// Its name; none where it is gone.
    name: Option<String>,
}

impl Subject {
    pub(crate) fn node(id: NodeId, name: Option<&NodeName>) -> Self {
        Self {
            what: "node",
            id: id.to_string(),
            name: name.map(|name| name.as_str().to_owned()),
        }
    }

    pub(crate) fn site(id: SiteId, name: Option<&SiteName>) -> Self {
        Self {
            what: "site",
            id: id.to_string(),
            name: name.map(|name| name.as_str().to_owned()),
        }
    }
}

/// A row.
#[derive(Serialize)]
pub(crate) struct JobListRow {
    line: JobLine,
    /// The site, or the node of a job of a node.
    on: Option<Subject>,
    attempt: u32,
    max_attempts: u32,
}

impl JobListRow {
    /// A job that should still take `left`.
    pub(crate) fn new(view: &JobView, left: Option<Duration>, names: &Names, now: Timestamp) -> Self {
        let job = &view.job;
        let of_site = job.site_id.map(|id| {
            let known = names.sites.iter().find(|(known, _)| *known == id);
            Subject::site(id, known.map(|(_, name)| name))
        });
        let of_node = job.node_id.map(|id| {
            let known = names.nodes.iter().find(|(known, _)| *known == id);
            Subject::node(id, known.map(|(_, name)| name))
        });
        Self {
            line: JobLine::new(view, left, now),
            on: of_site.or(of_node),
            attempt: job.attempt_count,
            max_attempts: job.max_attempts,
        }
    }
}

/// What can be chosen, and what is.
#[derive(Serialize)]
pub(crate) struct FilterView {
    /// Where the newest jobs of this filter are listed.
    address: String,
    /// What the address of a further page goes on with.
    and: &'static str,
    is_any: bool,
    statuses: Vec<Choice>,
    kinds: Vec<Choice>,
    nodes: Vec<Choice>,
    sites: Vec<Choice>,
}

impl FilterView {
    /// A filter that is at this address.
    pub(crate) fn new(filter: &JobFilter, address: String, names: &Names) -> Self {
        let statuses = JobStatus::ALL
            .iter()
            .map(|status| Choice::new(*status, capital(status_name(*status)), filter.status));
        let kinds = JobKind::ALL
            .iter()
            .map(|kind| Choice::new(*kind, kind_name(*kind), filter.kind));
        let nodes = names
            .nodes
            .iter()
            .map(|(id, name)| Choice::new(*id, name.as_str(), filter.node_id));
        let sites = names
            .sites
            .iter()
            .map(|(id, name)| Choice::new(*id, name.as_str(), filter.site_id));
        Self {
            is_any: *filter != JobFilter::default(),
            and: and(&address),
            address,
            statuses: statuses.collect(),
            kinds: kinds.collect(),
            nodes: with_gone(nodes.collect(), filter.node_id),
            sites: with_gone(sites.collect(), filter.site_id),
        }
    }
}

/// A status of jobs, as it is chosen.
fn status_name(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued => "waiting",
        JobStatus::Running => "running",
        JobStatus::Succeeded => "done",
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "cancelled",
    }
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}", first.unwrap_or_default(), chars.as_str())
}
