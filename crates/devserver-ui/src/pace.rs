//! How long jobs take, by earlier ones of their kind.

use std::time::Duration;

use domain_kernel::Timestamp;
use http_session::ApiError;
use jobs::{JobFilter, JobKind, JobStatus, JobView, PageRequest, StepStatus};

use crate::UiState;
use crate::view::job::steps_of;

/// How many earlier jobs of a kind are looked at.
const LOOKED_AT: u32 = 10;

/// What earlier jobs tell.
pub(crate) struct Pace(Vec<Typical>);

/// How long the steps of a kind of job take.
struct Typical {
    kind: JobKind,
    steps: Vec<(String, Duration)>,
}

impl Pace {
    /// Looks at earlier jobs of the kinds of those of these that run: one question for each kind.
    pub(crate) async fn of(ui: &UiState, views: &[&JobView]) -> Result<Self, ApiError> {
        let mut kinds: Vec<JobKind> = Vec::new();
        for view in views.iter().filter(|view| view.job.status == JobStatus::Running) {
            if !kinds.contains(&view.job.kind) {
                kinds.push(view.job.kind);
            }
        }
        let mut typical = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let filter = JobFilter {
                status: Some(JobStatus::Succeeded),
                kind: Some(kind),
                ..JobFilter::default()
            };
            let page = PageRequest {
                limit: LOOKED_AT,
                after: None,
            };
            let earlier = ui.jobs.list(&filter, &page).await?.items;
            typical.push(Typical::of(kind, &earlier));
        }
        Ok(Self(typical))
    }

    /// How long a job should still take; `None` where nothing is known, or it does not run.
    pub(crate) fn left(&self, view: &JobView, now: Timestamp) -> Option<Duration> {
        let job = &view.job;
        let typical = self.0.iter().find(|typical| typical.kind == job.kind)?;
        if job.status != JobStatus::Running || typical.steps.is_empty() {
            return None;
        }
        let left_of = |name: &str| {
            let whole = typical.of_step(name);
            let mut of_attempt = view.steps.iter().filter(|step| step.attempt == job.attempt_count);
            match of_attempt.find(|step| step.name == name) {
                Some(step) if step.status == StepStatus::Succeeded => Duration::ZERO,
                Some(step) => whole.saturating_sub(now.since(step.started_at)),
                None => whole,
            }
        };
        Some(steps_of(job.kind).iter().map(|(name, _)| left_of(name)).sum())
    }
}

impl Typical {
    fn of(kind: JobKind, earlier: &[JobView]) -> Self {
        let took = |name: &str| {
            let steps = earlier.iter().flat_map(|view| &view.steps);
            let of_name = steps.filter(|step| step.name == name && step.status == StepStatus::Succeeded);
            median(of_name.filter_map(|step| Some(step.finished_at?.since(step.started_at))))
        };
        let known = steps_of(kind).iter();
        let steps = known.filter_map(|(name, _)| Some(((*name).to_owned(), took(name)?)));
        Self {
            kind,
            steps: steps.collect(),
        }
    }

    /// Nothing is expected of a step that no earlier job had.
    fn of_step(&self, name: &str) -> Duration {
        let found = self.steps.iter().find(|(known, _)| known == name);
        found.map_or(Duration::ZERO, |(_, took)| *took)
    }
}

/// The one in the middle, the later of two.
fn median(durations: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut sorted: Vec<Duration> = durations.collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_job_among_many_changes_little() {
        let seconds = |all: &[u64]| median(all.iter().map(|seconds| Duration::from_secs(*seconds)));
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[7]), Some(Duration::from_secs(7)));
        assert_eq!(seconds(&[9, 1000, 8]), Some(Duration::from_secs(9)));
        assert_eq!(seconds(&[10, 8]), Some(Duration::from_secs(10)));
    }
}
