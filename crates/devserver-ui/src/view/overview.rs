//! The overview: what needs attention, how much there is, and what is at work.

use domain_kernel::Timestamp;
use nodes_domain::{Guidance, Node, NodeStatus, ReasonCode};
use operations::{OverviewService, present_readiness};
use serde::Serialize;
use sites_domain::{Counted, EnvironmentOfSite, NamedJob, Overview, Site, Totals, UnsavedSite};

use super::backup::size;
use super::chart::Chart;
use super::job::{remedy, title};
use super::job_line::JobLine;
use super::text::{Piece, prose};
use super::when::When;
use crate::pace::Pace;

const FAILED: Pill = Pill {
    tone: "failed",
    words: "Failed",
};

/// What to do about a failed site or environment.
const MEND: &str = "See why on its page; retry, restore a backup or delete it. If it works again, reset it.";

/// Everything between the frame.
#[derive(Serialize)]
pub(crate) struct OverviewView {
    /// What needs attention, by kind; kinds of which nothing does are left out.
    groups: Vec<Group>,
    /// How many things need attention.
    concerns: u64,
    /// What to do first, where there is no site yet.
    first_step: Option<FirstStep>,
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

/// One thing that needs attention.
#[derive(Serialize)]
struct Concern {
    key: String,
    /// Where it is put right.
    href: String,
    /// What happened, before what it happened to; for a job.
    title: Option<&'static str>,
    name: Name,
    pill: Option<Pill>,
    when: Option<When>,
    what: Vec<Piece>,
    code: Option<&'static str>,
    next: Vec<Piece>,
    /// A form that puts it right, shown as a dialog.
    act: Option<Act>,
}

/// What something is called: an environment with its site, or one name alone.
#[derive(Serialize)]
struct Name {
    own: String,
    site: Option<String>,
}

#[derive(Serialize)]
struct Pill {
    tone: &'static str,
    words: &'static str,
}

#[derive(Serialize)]
struct Act {
    href: String,
    words: &'static str,
}

/// How far an installation without a site is.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum FirstStep {
    CreateNode,
    WaitForNode,
    CreateSite,
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
        let (totals, groups) = (seen.totals, groups(seen, now));
        Self {
            concerns: groups.iter().map(|group| group.count).sum(),
            groups,
            first_step: first_step(totals),
            counts: Counts {
                nodes: totals.nodes,
                nodes_active: totals.nodes_active,
                sites: totals.sites,
                environments: totals.environments,
                jobs_running: totals.jobs_running,
                jobs_queued: totals.jobs_queued,
                backups: totals.backups,
                backup_size: size(totals.backup_bytes),
            },
            running,
            running_more,
            chart,
        }
    }
}

fn first_step(totals: Totals) -> Option<FirstStep> {
    match totals {
        Totals { sites: 1.., .. } => None,
        Totals { nodes: 0, .. } => Some(FirstStep::CreateNode),
        Totals { nodes_active: 0, .. } => Some(FirstStep::WaitForNode),
        _ => Some(FirstStep::CreateSite),
    }
}

fn rest<T>(found: &Counted<T>) -> u64 {
    found.count.saturating_sub(found.items.len() as u64)
}

/// The kinds of things, those of which any needs attention.
fn groups(seen: Overview, now: Timestamp) -> Vec<Group> {
    let nodes = group("nodes", "Nodes", ("/nodes", "all nodes"), &seen.nodes, |node| {
        of_node(node, now)
    });
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
        ("/sites", "all sites"),
        &seen.failed_sites,
        of_site,
    );
    let environments = group(
        "environments",
        "Failed environments",
        ("/sites", "all sites"),
        &seen.failed_environments,
        of_environment,
    );
    let unsaved = group(
        "backups",
        "Sites without a backup of the last 7 days",
        ("/sites", "all sites"),
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

fn of_node(node: &Node, now: Timestamp) -> Concern {
    let (tone, words) = match node.status {
        NodeStatus::Unreachable => ("unreachable", "Unreachable"),
        NodeStatus::Failed => ("failed", "Failed"),
        _ => ("unreachable", "Not ready"),
    };
    let readiness = present_readiness(node, now);
    let mut reasons = readiness.guidance.iter();
    // That it is not active is said by its status already.
    let reason = reasons
        .find(|entry| entry.reason_code != ReasonCode::NodeStatusNotActive)
        .filter(|_| node.status != NodeStatus::Failed);
    let (what, next) = match reason {
        _ if node.status == NodeStatus::Failed => (
            "Its last job failed.".to_owned(),
            "See why on its page, then retry, or delete it.".to_owned(),
        ),
        Some(reason) => in_short(reason),
        None => (
            "It was not found ready.".to_owned(),
            "Check it on its page, or provision it again.".to_owned(),
        ),
    };
    Concern {
        key: format!("attention-node-{}", node.short_id),
        href: format!("/nodes/{}", node.id),
        title: None,
        name: Name {
            own: node.name.as_str().to_owned(),
            site: None,
        },
        pill: Some(Pill { tone, words }),
        when: node.last_seen_at.map(|at| When::new(at, now)),
        what: prose(&what),
        code: reason.map(|reason| reason.reason_code.as_str()),
        next: prose(&next),
        act: None,
    }
}

/// What is wrong, with what was seen, and the first thing to do. The guidance of a reason says what is wrong in its first
/// sentence and what to do from its second on; what was seen follows it.
fn in_short(reason: &Guidance) -> (String, String) {
    let guidance = reason.reason_code.guidance();
    let seen = reason.message.strip_prefix(guidance).unwrap_or_default();
    let mut sentences = guidance.split_inclusive(". ").map(str::trim);
    let what = sentences.next().unwrap_or_default();
    (format!("{what}{seen}"), sentences.next().unwrap_or_default().to_owned())
}

fn of_job(job: &NamedJob, now: Timestamp) -> Concern {
    let failed = &job.view.job;
    let error = failed.error.as_ref().map(|failure| failure.code);
    Concern {
        key: format!("attention-job-{}", failed.id),
        href: format!("/jobs/{}", failed.id),
        title: Some(title(failed.kind)),
        name: name_of(job),
        pill: None,
        when: failed.finished_at.map(|at| When::new(at, now)),
        what: error.map(|code| prose(code.summary())).unwrap_or_default(),
        code: error.map(|code| code.as_str()),
        next: error.map(|code| remedy(code, true)).unwrap_or_default(),
        act: None,
    }
}

fn name_of(job: &NamedJob) -> Name {
    let text = |name: &Option<sites_domain::SiteName>| name.as_ref().map(|name| name.as_str().to_owned());
    match (text(&job.environment), text(&job.site)) {
        (Some(own), site) => environment_name(own, site),
        (None, Some(own)) => Name { own, site: None },
        (None, None) => Name {
            own: job
                .node
                .as_ref()
                .map_or_else(String::new, |node| node.as_str().to_owned()),
            site: None,
        },
    }
}

/// A production environment is called as its site is, which is said once.
fn environment_name(own: String, site: Option<String>) -> Name {
    let site = site.filter(|site| *site != own);
    Name { own, site }
}

fn of_site(site: &Site) -> Concern {
    Concern {
        key: format!("attention-site-{}", site.short_id),
        href: format!("/sites/{}", site.id),
        title: None,
        name: Name {
            own: site.name.as_str().to_owned(),
            site: None,
        },
        pill: Some(FAILED),
        when: None,
        what: prose("A job that changes it failed."),
        code: None,
        next: prose(MEND),
        act: None,
    }
}

fn of_environment(found: &EnvironmentOfSite) -> Concern {
    let environment = &found.environment;
    let site = Some(found.site.as_str().to_owned());
    Concern {
        key: format!("attention-environment-{}", environment.short_id),
        href: format!("/sites/{}", environment.site_id),
        title: None,
        name: environment_name(environment.name.as_str().to_owned(), site),
        pill: Some(FAILED),
        when: None,
        what: prose("A job that changes it failed."),
        code: None,
        next: prose(MEND),
        act: None,
    }
}

fn of_unsaved(unsaved: &UnsavedSite, now: Timestamp) -> Concern {
    let UnsavedSite { site, newest_backup } = unsaved;
    let what = match newest_backup {
        Some(_) => "Its newest backup is older than 7 days.",
        None => "Nothing of it is backed up.",
    };
    Concern {
        key: format!("attention-backup-{}", site.short_id),
        when: newest_backup.map(|at| When::new(at, now)),
        pill: None,
        what: prose(what),
        next: prose("Take a backup now, or set a schedule on its page."),
        act: Some(Act {
            href: format!(
                "/sites/{}?form=backup&environment_id={}",
                site.id, site.primary_environment_id
            ),
            words: "New backup",
        }),
        ..of_site(site)
    }
}
