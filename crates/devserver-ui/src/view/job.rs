//! A node's newest job.

use domain_kernel::Timestamp;
use jobs::{Event, EventKind, Job, JobKind, JobStatus, JobView, StepRecord, StepStatus};
use serde::Serialize;

use super::activity::Activity;
use super::text::{Piece, prose, prose_with, sentence};
use super::when::{self, When};

/// A job as a row shows it.
#[derive(Serialize)]
pub(crate) struct JobRow {
    id: String,
    title: &'static str,
    status: JobStatus,
    status_words: &'static str,
    attempt: u32,
    max_attempts: u32,
    is_open: bool,
    /// Whether its details are of interest without being asked for.
    is_shown: bool,
    is_cancelling: bool,
    waits_until: Option<When>,
    /// When the step that waits for something outside is looked at again.
    next_look: Option<NextLook>,
    /// What the operator is waited for.
    wait: Option<Wait>,
    when: When,
    took: Option<String>,
    error: Option<ErrorRow>,
    steps: Vec<StepRow>,
    activity: Activity,
}

/// A moment that is near: its time of day tells more than how far ahead it is.
#[derive(Serialize)]
struct NextLook {
    when: When,
    time: String,
}

/// What a step waits for.
#[derive(Serialize)]
struct Wait {
    step: String,
    what: Vec<Piece>,
}

/// Why the last attempt failed.
#[derive(Serialize)]
struct ErrorRow {
    code: &'static str,
    summary: Vec<Piece>,
    remedy: Vec<Piece>,
}

/// A step.
#[derive(Serialize)]
struct StepRow {
    name: String,
    title: String,
    /// That of the store, or `pending` where it has not begun.
    status: &'static str,
    status_words: &'static str,
    detail: Vec<Piece>,
    took: Option<String>,
    /// When it was started, if it still runs.
    running_since: Option<String>,
}

impl JobRow {
    /// A job with its newest events. Its texts may hold `key_line`, a command.
    pub(crate) fn new(view: JobView, events: &[Event], key_line: Option<&str>, now: Timestamp) -> Self {
        let JobView { job, steps } = view;
        let is_open = !job.status.is_terminal();
        let is_parked = is_parked(&job, &steps);
        let waits = job.status == JobStatus::Queued && job.run_after > now && !is_parked;
        let next_look = is_parked.then(|| NextLook {
            when: When::new(job.run_after, now),
            time: when::clock_time(job.run_after),
        });
        let ended = job.finished_at.zip(job.started_at);
        Self {
            id: job.id.to_string(),
            title: title(job.kind),
            status: job.status,
            status_words: status_words(&job, is_parked),
            attempt: job.attempt_count,
            max_attempts: job.max_attempts,
            is_open,
            is_shown: job.status != JobStatus::Succeeded,
            is_cancelling: is_open && job.cancel_requested,
            waits_until: waits.then(|| When::new(job.run_after, now)),
            next_look,
            wait: wait(&job, &steps, events, key_line),
            when: When::new(job.finished_at.or(job.started_at).unwrap_or(job.created_at), now),
            took: ended.map(|(end, begin)| when::duration(end.since(begin))),
            error: job.error.as_ref().map(|failure| ErrorRow {
                code: failure.code.as_str(),
                summary: prose_with(
                    &format!("{} {}", failure.code.summary(), sentence(&failure.detail)),
                    key_line,
                ),
                remedy: prose(failure.code.remedy()),
            }),
            steps: step_rows(&job, &steps),
            activity: Activity::new(job.id, events),
        }
    }
}

/// What a job does, for its heading.
fn title(kind: JobKind) -> &'static str {
    match kind {
        JobKind::NodeProvision => "Provisioning",
        JobKind::NodeDecommission => "Deletion",
        JobKind::SiteCreate => "New site",
        JobKind::SiteDelete => "Deletion of a site",
        JobKind::EnvCreate => "Copy of an environment",
        JobKind::EnvDelete => "Deletion of an environment",
        JobKind::EnvRestore => "Restore",
        JobKind::BackupCreate => "Backup",
    }
}

fn status_words(job: &Job, is_parked: bool) -> &'static str {
    match job.status {
        JobStatus::Queued | JobStatus::Running if job.cancel_requested => "being cancelled",
        JobStatus::Queued if is_parked => "waiting",
        JobStatus::Queued if job.attempt_count > 1 => "waiting for its next attempt",
        JobStatus::Queued => "waiting",
        JobStatus::Running => "running",
        JobStatus::Succeeded => "done",
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "cancelled",
    }
}

fn is_parked(job: &Job, steps: &[StepRecord]) -> bool {
    job.status == JobStatus::Queued && steps.iter().any(|step| step.status == StepStatus::Parked)
}

/// What the job waits for from outside. It stays in view while the step looks again, so that a command can be copied.
fn wait(job: &Job, steps: &[StepRecord], events: &[Event], key_line: Option<&str>) -> Option<Wait> {
    let of_step = |step: &StepRecord| match step.status {
        StepStatus::Parked if !job.status.is_terminal() => step.detail.clone(),
        StepStatus::Started if job.status == JobStatus::Running => told_when_parked(job, step, events),
        _ => None,
    };
    let (step, detail) = steps.iter().find_map(|step| Some((step, of_step(step)?)))?;
    let known = steps_of(job.kind).iter().find(|(name, _)| *name == step.name);
    Some(Wait {
        step: known.map_or(step.name.as_str(), |(_, title)| title).to_owned(),
        what: prose_with(&detail, key_line),
    })
}

/// What a step that looks again told when it last parked in this attempt.
fn told_when_parked(job: &Job, step: &StepRecord, events: &[Event]) -> Option<String> {
    let parked = events.iter().rev().find(|event| {
        event.kind == EventKind::Step
            && event.data["step"] == step.name.as_str()
            && event.data["status"] == StepStatus::Parked.as_str()
            && event.data["attempt"] == job.attempt_count
    })?;
    Some(parked.data["detail"].as_str()?.to_owned())
}

/// The steps of a kind of job in order, with the words that pages use for them.
pub(crate) const fn steps_of(kind: JobKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        JobKind::NodeProvision => &[
            ("acquire", "Get the machine"),
            ("inject_key", "Add Pressluft's SSH key"),
            ("wait_for_ssh", "Wait for SSH"),
            ("provision", "Install what sites need"),
            ("keep_image", "Keep an image for the next node"),
            ("readiness", "Prove that it is ready"),
        ],
        JobKind::NodeDecommission => &[
            ("disconnect", "Close connections"),
            ("release", "Give the machine back"),
        ],
        JobKind::SiteCreate => &[
            ("artifacts", "Send WordPress to the node"),
            ("create", "Make the environment"),
            ("prove_preview", "Prove its preview"),
        ],
        JobKind::EnvCreate => &[
            ("artifacts", "Send WP-CLI to the node"),
            ("create", "Copy the environment"),
            ("prove_preview", "Prove its preview"),
        ],
        JobKind::SiteDelete | JobKind::EnvDelete => &[
            ("delete", "Remove it from its node"),
            ("delete_backups", "Remove its backups"),
        ],
        JobKind::EnvRestore => &[
            ("check_backup", "Check the backup"),
            ("checkpoint", "Back up what is there now"),
            ("stage", "Send the backup to the node"),
            ("restore", "Restore beside what is live, and switch"),
            ("prove_preview", "Prove its preview"),
            ("keep", "Remove what was replaced"),
        ],
        JobKind::BackupCreate => &[
            ("stage", "Write the backup on the node"),
            ("store", "Store it and read it back"),
            ("unstage", "Remove it from the node"),
        ],
    }
}

/// What has begun, and after it what is still to come.
fn step_rows(job: &Job, records: &[StepRecord]) -> Vec<StepRow> {
    let known = steps_of(job.kind);
    let unknown = records
        .iter()
        .filter(|record| !known.iter().any(|(name, _)| *name == record.name));
    let listed = known.iter().map(|(name, title)| {
        let record = records.iter().find(|record| record.name == *name);
        step_row(job, name, title, record)
    });
    listed
        .chain(unknown.map(|record| step_row(job, &record.name, &record.name, Some(record))))
        .collect()
}

fn step_row(job: &Job, name: &str, title: &str, record: Option<&StepRecord>) -> StepRow {
    // A new attempt begins anew: what an earlier one did is to be done again.
    let is_current = |record: &&StepRecord| job.status != JobStatus::Running || record.attempt == job.attempt_count;
    let record = record.filter(is_current);
    let (status, status_words) = match record.map(|record| record.status) {
        None if job.status.is_terminal() => ("pending", "not reached"),
        None => ("pending", "to come"),
        Some(StepStatus::Started) if job.status == JobStatus::Running => ("started", "running"),
        Some(status @ StepStatus::Started) => (status.as_str(), "interrupted"),
        Some(status @ StepStatus::Succeeded) => (status.as_str(), "done"),
        Some(status @ StepStatus::Failed) => (status.as_str(), "failed"),
        Some(status @ StepStatus::Parked) => (status.as_str(), "waiting"),
        Some(status @ StepStatus::Cancelled) => (status.as_str(), "cancelled"),
    };
    let runs = record.filter(|record| record.status == StepStatus::Started && job.status == JobStatus::Running);
    // What the job failed with, and what it waits for, stand above its steps already.
    let failed_with = job.error.as_ref().map(|failure| failure.detail.as_str());
    let record_at_rest = record.filter(|record| record.status != StepStatus::Parked);
    let detail = record_at_rest.and_then(|record| record.detail.as_deref());
    let detail = detail.filter(|detail| Some(*detail) != failed_with);
    StepRow {
        name: name.to_owned(),
        title: title.to_owned(),
        status,
        status_words,
        detail: detail.map(prose).unwrap_or_default(),
        took: record.and_then(|record| Some(when::duration(record.finished_at?.since(record.started_at)))),
        running_since: runs.map(|record| record.started_at.to_string()),
    }
}
