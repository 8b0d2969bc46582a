//! What a job waits for from outside, and when it looks again.

use domain_kernel::Timestamp;
use jobs::{Event, EventKind, Job, JobStatus, StepRecord, StepStatus};
use serde::Serialize;

use super::job::{is_parked, steps_of};
use super::text::{Piece, prose_with};
use super::when::{self, When};

/// What a step waits for.
#[derive(Serialize)]
pub(crate) struct Wait {
    step: String,
    what: Vec<Piece>,
    /// Whether a command to be run stands in it.
    has_command: bool,
}

impl Wait {
    /// What the job waits for from outside. It stays in view while the step looks again, so that a command can be copied:
    /// that needs the job's events, where the step runs.
    pub(crate) fn of(job: &Job, steps: &[StepRecord], events: &[Event], key_line: Option<&str>) -> Option<Self> {
        let of_step = |step: &StepRecord| match step.status {
            StepStatus::Parked if !job.status.is_terminal() => step.detail.clone(),
            StepStatus::Started if job.status == JobStatus::Running => told_when_parked(job, step, events),
            _ => None,
        };
        let (step, detail) = steps.iter().find_map(|step| Some((step, of_step(step)?)))?;
        let known = steps_of(job.kind).iter().find(|(name, _)| *name == step.name);
        let what = prose_with(&detail, key_line);
        Some(Self {
            step: known.map_or(step.name.as_str(), |(_, title)| title).to_owned(),
            has_command: what.iter().any(Piece::is_command),
            what,
        })
    }
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

/// When the step that waits for something outside is looked at again. It is near: its time of day tells more than how far
/// ahead it is.
#[derive(Serialize)]
pub(crate) struct NextLook {
    when: When,
    time: String,
}

impl NextLook {
    pub(crate) fn of(job: &Job, steps: &[StepRecord], now: Timestamp) -> Option<Self> {
        is_parked(job, steps).then(|| Self {
            when: When::new(job.run_after, now),
            time: when::clock_time(job.run_after),
        })
    }
}
