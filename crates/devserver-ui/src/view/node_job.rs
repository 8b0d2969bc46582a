//! A node's newest job, as the node's row and its page show it.

use std::time::Duration;

use domain_kernel::Timestamp;
use jobs::{Event, JobStatus, JobView};
use serde::Serialize;

use super::job::{ErrorRow, is_parked};
use super::job_line::JobLine;
use super::wait::{NextLook, Wait};
use super::when::When;

/// The job.
#[derive(Serialize)]
pub(crate) struct NodeJob {
    line: JobLine,
    attempt: u32,
    max_attempts: u32,
    /// When the next attempt starts, after one that failed.
    waits_until: Option<When>,
    next_look: Option<NextLook>,
    wait: Option<Wait>,
    /// Why the last attempt failed.
    failure: Option<ErrorRow>,
    /// Whether there is still something to do about it: by Pressluft or, where it failed, by the operator.
    is_of_interest: bool,
}

/// What a node's newest job is shown by.
pub(crate) struct JobFacts {
    /// The job.
    pub(crate) view: JobView,
    /// Its newest events, where its step may be looking again for what it waits for.
    pub(crate) events: Vec<Event>,
    /// How long it should still take.
    pub(crate) left: Option<Duration>,
}

impl NodeJob {
    /// The job; its texts may hold `key_line`, a command.
    pub(crate) fn new(facts: &JobFacts, key_line: Option<&str>, now: Timestamp) -> Self {
        let JobView { job, steps } = &facts.view;
        let waits = job.status == JobStatus::Queued && job.run_after > now && !is_parked(job, steps);
        Self {
            line: JobLine::new(&facts.view, facts.left, now),
            attempt: job.attempt_count,
            max_attempts: job.max_attempts,
            waits_until: waits.then(|| When::new(job.run_after, now)),
            next_look: NextLook::of(job, steps, now),
            wait: Wait::of(job, steps, &facts.events, key_line),
            failure: job
                .error
                .as_ref()
                .map(|failure| ErrorRow::new(failure, key_line, job.status.is_terminal())),
            is_of_interest: job.status != JobStatus::Succeeded,
        }
    }
}
