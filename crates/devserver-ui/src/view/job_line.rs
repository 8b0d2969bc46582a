//! A job in a line or two: on the node or the site that it works on, in a list, on the overview.

use std::time::Duration;

use domain_kernel::Timestamp;
use jobs::{JobStatus, JobView, StepStatus};
use serde::Serialize;

use super::job::{ErrorRow, is_parked, status_words, steps_of, title, when_cancelled};
use super::text::{Piece, prose};
use super::when::{self, Since, When};

/// A job as one line. `job_line.html` shows it.
#[derive(Serialize)]
pub(crate) struct JobLine {
    id: String,
    title: &'static str,
    status: JobStatus,
    status_words: &'static str,
    is_open: bool,
    is_cancelling: bool,
    /// The step that it is at, in words, while it is open.
    step: Option<String>,
    /// Which step that is, from 1.
    at: usize,
    of: usize,
    /// When it began, while it runs.
    running_since: Option<Since>,
    /// How long it should still take, by earlier jobs of its kind.
    left: Option<String>,
    when: When,
    took: Option<String>,
    error: Option<ErrorRow>,
    /// How a cancelled one left what it worked on, and what to do.
    cancelled: Option<Vec<Piece>>,
}

impl JobLine {
    /// A job; `left` is how long it should still take, where that is known (`pace.rs`).
    pub(crate) fn new(view: &JobView, left: Option<Duration>, now: Timestamp) -> Self {
        let JobView { job, steps } = view;
        let is_open = !job.status.is_terminal();
        let known = steps_of(job.kind);
        let is_done = |name: &str| {
            let mut of_name = steps.iter().filter(|step| step.name == name);
            of_name.any(|step| step.status == StepStatus::Succeeded && step.attempt == job.attempt_count)
        };
        let done = known.iter().take_while(|(name, _)| is_done(name)).count();
        let step = known.get(done).filter(|_| is_open && job.started_at.is_some());
        let running_since = job.started_at.filter(|_| job.status == JobStatus::Running);
        let ended = job.finished_at.zip(job.started_at);
        Self {
            id: job.id.to_string(),
            title: title(job.kind),
            status: job.status,
            status_words: status_words(job, is_parked(job, steps)),
            is_open,
            is_cancelling: is_open && job.cancel_requested,
            step: step.map(|(_, title)| (*title).to_owned()),
            at: (done + 1).min(known.len()),
            of: known.len(),
            running_since: running_since.map(|begun| Since::new(begun, now)),
            left: left.filter(|_| is_open).map(when::about),
            when: When::new(job.finished_at.or(job.started_at).unwrap_or(job.created_at), now),
            took: ended.map(|(end, begun)| when::duration(end.since(begun))),
            error: job.error.as_ref().map(|failure| ErrorRow::new(failure, None, !is_open)),
            cancelled: (job.status == JobStatus::Cancelled).then(|| prose(when_cancelled(job.kind))),
        }
    }
}
