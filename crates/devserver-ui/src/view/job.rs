//! A job in words: what it does, how it stands, its steps.

use domain_kernel::{JobErrorCode, Timestamp};
use jobs::{Event, Failure, Job, JobKind, JobStatus, JobView, StepRecord, StepStatus};
use serde::Serialize;

use super::course::Course;
use super::text::{Piece, prose, prose_with, sentence};
use super::timeline::earlier_runs;
use super::wait::{NextLook, Wait};
use super::when::{self, Since, When};

/// A job with all that its own page tells of it in words.
#[derive(Serialize)]
pub(crate) struct JobRow {
    id: String,
    kind: JobKind,
    kind_words: &'static str,
    status: JobStatus,
    status_words: &'static str,
    attempt: u32,
    max_attempts: u32,
    is_open: bool,
    is_cancelling: bool,
    /// When the next attempt starts, after one that failed.
    waits_until: Option<When>,
    /// When the step that waits for something outside is looked at again.
    next_look: Option<NextLook>,
    /// What the operator is waited for.
    wait: Option<Wait>,
    accepted: When,
    /// When it was first started.
    begun: Option<When>,
    ended: Option<When>,
    running_since: Option<Since>,
    took: Option<String>,
    error: Option<ErrorRow>,
    steps: Vec<StepRow>,
}

/// Why the last attempt failed.
#[derive(Serialize)]
pub(super) struct ErrorRow {
    code: &'static str,
    summary: Vec<Piece>,
    remedy: Vec<Piece>,
}

impl ErrorRow {
    /// A failure whose text may hold `key_line`, a command; `is_final` where nothing is tried again by itself.
    pub(super) fn new(failure: &Failure, key_line: Option<&str>, is_final: bool) -> Self {
        let text = format!("{} {}", failure.code.summary(), sentence(&failure.detail));
        Self {
            code: failure.code.as_str(),
            summary: prose_with(&text, key_line),
            remedy: remedy(failure.code, is_final),
        }
    }
}

/// What a remedy begins with that is of no use to somebody whose job has failed for good.
const BY_ITSELF: &str = "It is tried again by itself; if it goes on, ";

/// What to do about a failure.
pub(super) fn remedy(code: JobErrorCode, is_final: bool) -> Vec<Piece> {
    let text = code.remedy();
    match text.strip_prefix(BY_ITSELF).filter(|_| is_final) {
        Some(rest) => prose(&sentence(rest)),
        None => prose(text),
    }
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
    running_since: Option<Since>,
    /// How it went before: in attempts that failed, or with workers that were stopped.
    earlier: Vec<String>,
}

impl JobRow {
    /// A job with its events and the course that they tell. Its texts may hold `key_line`, a command.
    pub(crate) fn new(
        view: &JobView,
        events: &[Event],
        course: &Course,
        key_line: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let JobView { job, steps } = view;
        let is_open = !job.status.is_terminal();
        let is_parked = is_parked(job, steps);
        let waits = job.status == JobStatus::Queued && job.run_after > now && !is_parked;
        let running_since = job.started_at.filter(|_| job.status == JobStatus::Running);
        let ended = job.finished_at.zip(job.started_at);
        Self {
            id: job.id.to_string(),
            kind: job.kind,
            kind_words: kind_name(job.kind),
            status: job.status,
            status_words: status_words(job, is_parked),
            attempt: job.attempt_count,
            max_attempts: job.max_attempts,
            is_open,
            is_cancelling: is_open && job.cancel_requested,
            waits_until: waits.then(|| When::new(job.run_after, now)),
            next_look: NextLook::of(job, steps, now),
            wait: Wait::of(job, steps, events, key_line),
            accepted: When::new(job.created_at, now),
            begun: job.started_at.map(|at| When::new(at, now)),
            ended: job.finished_at.map(|at| When::new(at, now)),
            running_since: running_since.map(|begun| Since::new(begun, now)),
            took: ended.map(|(end, begin)| when::duration(end.since(begin))),
            error: job
                .error
                .as_ref()
                .map(|failure| ErrorRow::new(failure, key_line, !is_open)),
            steps: step_rows(job, steps, course),
        }
    }
}

/// What a job does, for its heading.
pub(super) fn title(kind: JobKind) -> &'static str {
    match kind {
        JobKind::NodeProvision => "Provisioning",
        JobKind::NodeDecommission => "Deletion",
        JobKind::SiteCreate => "New site",
        JobKind::SiteDelete => "Deletion of a site",
        JobKind::EnvCreate => "Copy of an environment",
        JobKind::EnvDelete => "Deletion of an environment",
        JobKind::EnvReaddress => "Move of an environment to another address",
        JobKind::SiteAbandon => "Giving up of a site",
        JobKind::EnvAbandon => "Giving up of an environment",
        JobKind::EnvRestore => "Restore",
        JobKind::BackupCreate => "Backup",
    }
}

/// The same where no heading says what it is about.
pub(super) fn kind_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::NodeProvision => "Provisioning of a node",
        JobKind::NodeDecommission => "Deletion of a node",
        JobKind::SiteCreate
        | JobKind::SiteDelete
        | JobKind::EnvCreate
        | JobKind::EnvDelete
        | JobKind::EnvReaddress
        | JobKind::SiteAbandon
        | JobKind::EnvAbandon
        | JobKind::EnvRestore
        | JobKind::BackupCreate => title(kind),
    }
}

pub(super) fn status_words(job: &Job, is_parked: bool) -> &'static str {
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

pub(super) fn is_parked(job: &Job, steps: &[StepRecord]) -> bool {
    job.status == JobStatus::Queued && steps.iter().any(|step| step.status == StepStatus::Parked)
}

/// What becomes of what is half done when a job of this kind is cancelled.
pub(crate) const fn when_cancelled(kind: JobKind) -> &'static str {
    match kind {
        JobKind::NodeProvision => {
            "The machine stays as far as it has got, and the node is shown as failed. `Retry` goes on with it; deleting the \
             node gives the machine back."
        }
        JobKind::NodeDecommission => {
            "What was removed stays removed, and the node is shown as failed. `Retry` finishes its deletion."
        }
        JobKind::SiteCreate => {
            "What was made so far stays on the node, and the site is shown as failed until it works. `Retry` makes it anew; deleting the site \
             removes what there is of it."
        }
        JobKind::EnvCreate => {
            "The environment that was copied is left alone. What there is of the copy stays on the node, and the copy is shown \
             as failed until it works. `Retry` makes it anew, deleting it removes it."
        }
        JobKind::SiteDelete | JobKind::EnvDelete => {
            "What was removed stays removed, and what is left is shown as failed. `Retry` finishes the deletion."
        }
        JobKind::EnvRestore => {
            "Before the step that switches to the restored copy nothing of the environment has been touched. Cancelled in that \
             step, the environment is shown as failed until it works, because nobody knows which copy is live: restore again. While the preview \
             is proved, Pressluft goes back to what was live before. The checkpoint stays if it was complete."
        }
        JobKind::BackupCreate => {
            "The environment is not touched. What was written of the backup is removed, and the backup is shown as failed."
        }
        JobKind::EnvReaddress => {
            "Once the move has begun, the environment may be at its old or its new address, and is shown as failed until it works. \
             `Retry` goes on with the move."
        }
        JobKind::SiteAbandon | JobKind::EnvAbandon => {
            "Backups that were removed stay removed, and what is left is shown as failed. `Retry` goes on."
        }
    }
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
        JobKind::EnvReaddress => &[
            ("rewrite", "Rewrite its address"),
            ("prove_preview", "Prove its preview"),
        ],
        JobKind::SiteAbandon | JobKind::EnvAbandon => &[("delete_backups", "Remove its backups")],
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
fn step_rows(job: &Job, records: &[StepRecord], course: &Course) -> Vec<StepRow> {
    let known = steps_of(job.kind);
    let unknown = records
        .iter()
        .filter(|record| !known.iter().any(|(name, _)| *name == record.name));
    let listed = known.iter().map(|(name, title)| {
        let record = records.iter().find(|record| record.name == *name);
        step_row(job, name, title, record, course)
    });
    listed
        .chain(unknown.map(|record| step_row(job, &record.name, &record.name, Some(record), course)))
        .collect()
}

fn step_row(job: &Job, name: &str, title: &str, record: Option<&StepRecord>, course: &Course) -> StepRow {
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
        running_since: runs.map(|record| Since::new(record.started_at, course.now)),
        earlier: earlier_runs(course, name),
    }
}
