//! One thing that needs attention: what is wrong with it, what to do next, and where that is done.

use domain_kernel::{EnvironmentId, SiteId, Timestamp};
use jobs::{Job, JobKind};
use nodes_domain::{Guidance, Node, NodeStatus, ReasonCode};
use operations::present_readiness;
use serde::Serialize;
use sites_domain::{BackupCut, EnvironmentOfSite, NamedJob, Saved, Site, Troubled, UnsavedSite};

use super::job::{remedy, title};
use super::text::{Piece, prose};
use super::when::When;

const FAILED: Pill = Pill {
    tone: "failed",
    words: "Failed",
};

/// What to do about a failed site or environment, where it is not known by which job.
const MEND: &str = "See why on its page; retry, restore a backup or delete it. If it works again, reset it.";

/// What a remedy leaves open for a failed site or environment.
const RESET: &str = " On its page it can be retried, and reset if it works again.";

/// One thing that needs attention.
#[derive(Serialize)]
pub(super) struct Concern {
    key: String,
    /// Where it is put right.
    href: String,
    /// What happened, before what it happened to; for a job.
    title: Option<&'static str>,
    name: Name,
    pill: Option<Pill>,
    when: Option<When>,
    /// The job that it failed by.
    job: Option<ConcernJob>,
    what: Vec<Piece>,
    code: Option<&'static str>,
    next: Vec<Piece>,
    /// A form that puts it right, shown as a dialog.
    act: Option<Act>,
}

/// The job that something failed by.
#[derive(Serialize)]
struct ConcernJob {
    href: String,
    title: &'static str,
    ended: Option<When>,
}

/// What something is called: an environment with its site, or one name alone.
#[derive(Serialize)]
pub(super) struct Name {
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

pub(super) fn of_node(found: &Troubled<Node>, now: Timestamp) -> Concern {
    let node = &found.thing;
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
            "Its last job did not end well.".to_owned(),
            "See why on its page, then retry, or delete it.".to_owned(),
        ),
        Some(reason) => in_short(reason),
        None => (
            "It was not found ready.".to_owned(),
            "Check it on its page, or provision it again.".to_owned(),
        ),
    };
    let concern = Concern {
        key: format!("attention-node-{}", node.short_id),
        href: format!("/nodes/{}", node.id),
        title: None,
        name: Name {
            own: node.name.as_str().to_owned(),
            site: None,
        },
        pill: Some(Pill { tone, words }),
        when: node.last_seen_at.map(|at| When::new(at, now)),
        job: None,
        what: prose(&what),
        code: reason.map(|reason| reason.reason_code.as_str()),
        next: prose(&next),
        act: None,
    };
    failed_by(concern, found.failed_job.as_ref(), "", now)
}

/// The same with the job that it failed by, if that is known: what went wrong, and what to do about that and `then`.
fn failed_by(concern: Concern, job: Option<&Job>, then: &str, now: Timestamp) -> Concern {
    let Some((job, failure)) = job.and_then(|job| Some((job, job.error.as_ref()?))) else {
        return concern;
    };
    let mut next = remedy(failure.code, true);
    next.extend(prose(then));
    Concern {
        job: Some(ConcernJob {
            href: format!("/jobs/{}", job.id),
            title: title(job.kind),
            ended: job.finished_at.map(|at| When::new(at, now)),
        }),
        what: prose(failure.code.summary()),
        code: Some(failure.code.as_str()),
        next,
        ..concern
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

pub(super) fn of_job(job: &NamedJob, now: Timestamp) -> Concern {
    let failed = &job.view.job;
    let error = failed.error.as_ref().map(|failure| failure.code);
    let of_what = failed.site_id.zip(failed.environment_id);
    let of_what = of_what.filter(|_| failed.kind == JobKind::BackupCreate);
    Concern {
        key: format!("attention-job-{}", failed.id),
        href: format!("/jobs/{}", failed.id),
        title: Some(title(failed.kind)),
        name: name_of(job),
        pill: None,
        when: failed.finished_at.map(|at| When::new(at, now)),
        job: None,
        what: error.map(|code| prose(code.summary())).unwrap_or_default(),
        code: error.map(|code| code.as_str()),
        next: error.map(|code| remedy(code, true)).unwrap_or_default(),
        act: of_what.map(|(site, environment)| new_backup(site, environment)),
    }
}

pub(super) fn name_of(job: &NamedJob) -> Name {
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

pub(super) fn of_failed_site(found: &Troubled<Site>, now: Timestamp) -> Concern {
    failed_by(of_site(&found.thing), found.failed_job.as_ref(), RESET, now)
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
        job: None,
        what: prose("A job that changes it did not end well."),
        code: None,
        next: prose(MEND),
        act: None,
    }
}

pub(super) fn of_environment(found: &Troubled<EnvironmentOfSite>, now: Timestamp) -> Concern {
    let EnvironmentOfSite { environment, site } = &found.thing;
    let site = Some(site.as_str().to_owned());
    let concern = Concern {
        key: format!("attention-environment-{}", environment.short_id),
        href: format!("/sites/{}", environment.site_id),
        title: None,
        name: environment_name(environment.name.as_str().to_owned(), site),
        pill: Some(FAILED),
        when: None,
        job: None,
        what: prose("A job that changes it did not end well."),
        code: None,
        next: prose(MEND),
        act: None,
    };
    failed_by(concern, found.failed_job.as_ref(), RESET, now)
}

pub(super) fn of_unsaved(unsaved: &UnsavedSite, now: Timestamp) -> Concern {
    let UnsavedSite { site, saved } = unsaved;
    let newest = saved.database.max(saved.files);
    Concern {
        key: format!("attention-backup-{}", site.short_id),
        when: newest.map(|at| When::new(at, now)),
        pill: None,
        what: prose(what_is_unsaved(*saved, BackupCut::at(now).backed_up_since)),
        next: prose("Take a full backup now, or set a schedule on its page."),
        act: Some(new_backup(site.id, site.primary_environment_id)),
        ..of_site(site)
    }
}

/// The form that makes a backup of an environment.
fn new_backup(site: SiteId, environment: EnvironmentId) -> Act {
    Act {
        href: format!("/sites/{site}?form=backup&environment_id={environment}"),
        words: "New backup",
    }
}

/// How a part of a site is saved.
enum Part {
    Missing,
    Old,
    Recent,
}

/// What a site lacks, of which no backups since `since` save all.
fn what_is_unsaved(saved: Saved, since: Timestamp) -> &'static str {
    use Part::{Missing, Old, Recent};
    let part = |newest: Option<Timestamp>| match newest {
        None => Missing,
        Some(at) if at < since => Old,
        Some(_) => Recent,
    };
    match (part(saved.database), part(saved.files)) {
        (Missing, Missing) => "There is no backup of it as it is now.",
        (Recent, Missing) => "Only its database is backed up, not its files.",
        (Missing, Recent) => "Only its files are backed up, not its database.",
        (Old, Missing) => "Its files are not backed up, and its database was not in the last 7 days.",
        (Missing, Old) => "Its database is not backed up, and its files were not in the last 7 days.",
        (Recent, Old) => "Its files were not backed up in the last 7 days.",
        (Old, Recent) => "Its database was not backed up in the last 7 days.",
        // Both are recent only where a clock went back meanwhile.
        (Old, Old) | (Recent, Recent) => "Neither its database nor its files were backed up in the last 7 days.",
    }
}
