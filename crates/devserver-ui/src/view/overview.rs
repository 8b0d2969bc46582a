//! The overview: what needs attention, how much there is, and what is at work.

use domain_kernel::Timestamp;
use nodes_domain::{Node, NodeStatus};
use operations::OverviewService;
use serde::Serialize;
use sites_domain::{Counted, Overview, Totals, size_words};

use super::chart::Chart;
use super::concern::{Concern, Name, name_of, of_environment, of_failed_site, of_job, of_node, of_unsaved};
use super::job_line::JobLine;
use crate::pace::Pace;

/// Everything between the frame.
#[derive(Serialize)]
pub(crate) struct OverviewView {
    /// What needs attention, by kind; kinds of which nothing does are left out.
    groups: Vec<Group>,
    /// How many things need attention.
    concerns: u64,
    /// What to do first, where there is no site yet.
    first_step: Option<FirstStep>,
    /// The node that keeps the first step from being done.
    first_node: Option<FirstNode>,
    counts: Counts,
    running: Vec<Running>,
    /// Running jobs beyond those shown.
    running_more: u64,
    chart: Option<Chart>,
}

/// Things of one kind that need attention.
#[derive(Serialize)]
struct Group {
    id: &'static str,
    title: &'static str,
    count: u64,
    concerns: Vec<Concern>,
    /// How many are not shown.
    more: u64,
    /// Where they are, and what that is called.
    list: &'static str,
    list_words: &'static str,
}

/// How far an installation without a site is.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum FirstStep {
    CreateNode,
    WaitForNode,
    MendNode,
    CreateSite,
}

/// A node that is there and cannot take a site.
#[derive(Serialize)]
struct FirstNode {
    href: String,
    name: String,
    /// What is wrong, after its name.
    is: &'static str,
}

#[derive(Serialize)]
struct Counts {
    nodes: u64,
    nodes_active: u64,
    sites: u64,
    environments: u64,
    jobs_running: u64,
    jobs_queued: u64,
    backups: u64,
    backup_size: String,
}

/// A job at work and what it works on.
#[derive(Serialize)]
struct Running {
    name: Name,
    job: JobLine,
}

impl OverviewView {
    /// How things stood at `now`.
    pub(crate) fn new(seen: Overview, pace: &Pace, now: Timestamp) -> Self {
        let running_more = rest(&seen.running_jobs);
        let running = seen.running_jobs.items.iter().map(|job| Running {
            name: name_of(job),
            job: JobLine::new(&job.view, pace.left(&job.view, now), now),
        });
        let running = running.collect();
        let chart = Chart::new(&seen.ended, OverviewService::first_hour(now));
        let first_step = first_step(&seen);
        let first_node = seen
            .nodes
            .items
            .first()
            .filter(|_| first_step == Some(FirstStep::MendNode));
        let first_node = first_node.map(|node| FirstNode::new(&node.thing));
        let (totals, groups) = (seen.totals, groups(&seen, now));
        Self {
            concerns: groups.iter().map(|group| group.count).sum(),
            groups,
            first_step,
            first_node,
            counts: Counts {
                nodes: totals.nodes,
                nodes_active: totals.nodes_active,
                sites: totals.sites,
                environments: totals.environments,
                jobs_running: totals.jobs_running,
                jobs_queued: totals.jobs_queued,
                backups: totals.backups,
                backup_size: size_words(totals.backup_bytes),
            },
            running,
            running_more,
            chart,
        }
    }
}

impl FirstNode {
    fn new(node: &Node) -> Self {
        Self {
            href: format!("/nodes/{}", node.id),
            name: node.name.as_str().to_owned(),
            is: match node.status {
                NodeStatus::Failed => "failed",
                NodeStatus::Unreachable => "does not answer",
                _ => "is not ready",
            },
        }
    }
}

fn first_step(seen: &Overview) -> Option<FirstStep> {
    match seen.totals {
        Totals { sites: 1.., .. } => None,
        Totals { nodes: 0, .. } => Some(FirstStep::CreateNode),
        Totals { nodes_ready: 1.., .. } => Some(FirstStep::CreateSite),
        // No job is at work on any node.
        Totals { nodes, .. } if seen.nodes.count >= nodes => Some(FirstStep::MendNode),
        _ => Some(FirstStep::WaitForNode),
    }
}

fn rest<T>(found: &Counted<T>) -> u64 {
    found.count.saturating_sub(found.items.len() as u64)
}

/// The kinds of things, those of which any needs attention.
fn groups(seen: &Overview, now: Timestamp) -> Vec<Group> {
    let nodes = group(
        "nodes",
        "Nodes",
        ("/nodes?attention=true", "all nodes that need attention"),
        &seen.nodes,
        |node| of_node(node, now),
    );
    let jobs = group(
        "jobs",
        "Jobs that failed in the last 7 days",
        ("/jobs?status=failed", "all failed jobs"),
        &seen.failed_jobs,
        |job| of_job(job, now),
    );
    let sites = group(
        "sites",
        "Failed sites",
        ("/sites?status=failed", "all failed sites"),
        &seen.failed_sites,
        |site| of_failed_site(site, now),
    );
    let environments = group(
        "environments",
        "Failed environments",
        // The list of sites has no filter for them.
        ("/jobs?status=failed", "all failed jobs"),
        &seen.failed_environments,
        |environment| of_environment(environment, now),
    );
    let unsaved = group(
        "backups",
        "Sites without a backup of the last 7 days",
        ("/sites?unsaved=true", "all sites without one"),
        &seen.unsaved_sites,
        |unsaved| of_unsaved(unsaved, now),
    );
    let all = [nodes, sites, environments, jobs, unsaved];
    all.into_iter().filter(|group| group.count > 0).collect()
}

fn group<T>(
    id: &'static str,
    title: &'static str,
    (list, list_words): (&'static str, &'static str),
    found: &Counted<T>,
    concern: impl Fn(&T) -> Concern,
) -> Group {
    Group {
        id,
        title,
        count: found.count,
        concerns: found.items.iter().map(concern).collect(),
        more: rest(found),
        list,
        list_words,
    }
}
