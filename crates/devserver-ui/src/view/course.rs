//! The course of a job: each run of a step, the waits between them and the tasks within, as its events tell them. The job's
//! steps as stored know only the last run of each.

use std::time::Duration;

use domain_kernel::Timestamp;
use jobs::{Event, EventKind, Job, JobStatus, StepRecord, StepStatus, TaskStatus};

/// A course.
pub(crate) struct Course {
    pub(crate) begun: Timestamp,
    pub(crate) now: Timestamp,
    /// Where the job ended, or now.
    pub(crate) end: Timestamp,
    /// Whether the job has ended.
    pub(crate) is_over: bool,
    /// In the order in which they began.
    pub(crate) runs: Vec<Run>,
    pub(crate) waits: Vec<Waited>,
    pub(crate) tasks: Vec<Task>,
}

/// A step at work, from its start to its end.
pub(crate) struct Run {
    pub(crate) step: String,
    pub(crate) attempt: u32,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) end: RunEnd,
}

/// How a run of a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// It has not.
    Open,
    /// The server or its worker stopped.
    Interrupted,
    /// As the step says.
    Step(StepStatus),
}

/// A time in which nothing of the job was at work.
pub(crate) struct Waited {
    pub(crate) why: Why,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// What a job waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// For a worker, or for another job of the same node or site.
    Turn,
    /// For this attempt, after one that failed.
    Attempt(u32),
    /// For something outside; the step looked for it so often.
    Outside { step: String, looks: u32 },
    /// For a worker, because its own was stopped.
    Worker,
}

/// A task within a step that has ended.
pub(crate) struct Task {
    pub(crate) step: String,
    pub(crate) name: String,
    pub(crate) status: TaskStatus,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl Course {
    /// The course that these events of the job tell, oldest first. What they do not tell any more is taken from its steps.
    pub(crate) fn of(job: &Job, steps: &[StepRecord], events: &[Event], now: Timestamp) -> Self {
        let mut reader = Reader {
            course: Self {
                begun: job.created_at,
                now,
                end: job.finished_at.unwrap_or(now).max(job.created_at),
                is_over: job.status.is_terminal(),
                runs: Vec::new(),
                waits: Vec::new(),
                tasks: Vec::new(),
            },
            waiting: Some((job.created_at, Why::Turn)),
            open: None,
            attempt: 1,
        };
        for event in events {
            match event.kind {
                EventKind::Status => reader.status(event),
                EventKind::Step => reader.step(event),
                EventKind::Task => reader.task(event),
                EventKind::Log => {}
            }
        }
        reader.close(job, steps)
    }
}

/// What has been read so far.
struct Reader {
    course: Course,
    waiting: Option<(Timestamp, Why)>,
    open: Option<Run>,
    attempt: u32,
}

impl Reader {
    fn status(&mut self, event: &Event) {
        // The statuses of nodes and sites are other fields.
        let Some(status) = parsed::<JobStatus>(event, "status") else {
            return;
        };
        let attempt = number(event, "attempt").unwrap_or(self.attempt);
        match status {
            JobStatus::Running => self.end_wait(event.at),
            JobStatus::Queued if self.waiting.is_some() => {}
            JobStatus::Queued => self.begin_wait(event.at, attempt),
            JobStatus::Succeeded => self.end(event.at, StepStatus::Succeeded),
            JobStatus::Failed => self.end(event.at, StepStatus::Failed),
            JobStatus::Cancelled => self.end(event.at, StepStatus::Cancelled),
        }
        self.attempt = attempt;
    }

    fn end(&mut self, at: Timestamp, status: StepStatus) {
        self.end_run(at, RunEnd::Step(status));
        self.end_wait(at);
    }

    fn begin_wait(&mut self, at: Timestamp, attempt: u32) {
        self.end_run(at, RunEnd::Interrupted);
        let parked = (self.course.runs.last())
            .filter(|run| run.end == RunEnd::Step(StepStatus::Parked))
            .map(|run| run.step.clone());
        self.waiting = Some(match parked {
            _ if attempt != self.attempt => (at, Why::Attempt(attempt)),
            None => (at, Why::Worker),
            Some(step) => self.wait_for_outside(at, step),
        });
    }

    /// A step that looks and parks again goes on with the wait before: a look is too short to be told by itself.
    fn wait_for_outside(&mut self, at: Timestamp, step: String) -> (Timestamp, Why) {
        let looked_from = self.course.runs.last().map(|run| run.from);
        let goes_on = self.course.waits.pop_if(|wait| {
            let is_same = matches!(&wait.why, Why::Outside { step: before, .. } if *before == step);
            is_same && looked_from.is_some_and(|from| from >= wait.to)
        });
        match goes_on {
            Some(Waited {
                why: Why::Outside { looks, .. },
                from,
                ..
            }) => {
                self.course.runs.pop();
                (from, Why::Outside { step, looks: looks + 1 })
            }
            _ => (at, Why::Outside { step, looks: 1 }),
        }
    }

    fn end_wait(&mut self, at: Timestamp) {
        if let Some((from, why)) = self.waiting.take() {
            self.course.waits.push(Waited { why, from, to: at });
        }
    }

    fn step(&mut self, event: &Event) {
        let Some(status) = parsed::<StepStatus>(event, "status") else {
            return;
        };
        let step = text(event, "step");
        let attempt = number(event, "attempt").unwrap_or(self.attempt);
        let is_open = (self.open.as_ref()).is_some_and(|run| run.step == step && run.attempt == attempt);
        match status {
            // It only tells more of itself.
            StepStatus::Started if is_open => {}
            StepStatus::Started => {
                self.end_wait(event.at);
                self.end_run(event.at, RunEnd::Interrupted);
                self.open = Some(Run {
                    step,
                    attempt,
                    from: event.at,
                    to: event.at,
                    end: RunEnd::Open,
                });
            }
            ended if is_open => self.end_run(event.at, RunEnd::Step(ended)),
            _ => {}
        }
    }

    fn end_run(&mut self, at: Timestamp, end: RunEnd) {
        if let Some(run) = self.open.take() {
            self.course.runs.push(Run { to: at, end, ..run });
        }
    }

    fn task(&mut self, event: &Event) {
        let Some(status) = parsed::<TaskStatus>(event, "status") else {
            return;
        };
        if matches!(status, TaskStatus::Started | TaskStatus::Skipped) {
            return;
        }
        let took = Duration::from_millis(event.data["duration_ms"].as_u64().unwrap_or(0));
        let earliest = self.open.as_ref().map_or(self.course.begun, |run| run.from);
        self.course.tasks.push(Task {
            step: text(event, "step"),
            name: text(event, "name"),
            status,
            from: event.at.minus(took).max(earliest).min(event.at),
            to: event.at,
        });
    }

    fn close(mut self, job: &Job, steps: &[StepRecord]) -> Course {
        let end = self.course.end;
        let last = match job.status {
            JobStatus::Running => RunEnd::Open,
            JobStatus::Queued | JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled => RunEnd::Interrupted,
        };
        self.end_run(end, last);
        if job.status == JobStatus::Running {
            self.waiting = None;
        }
        self.end_wait(end);
        let mut course = self.course;
        for step in steps {
            if !course.runs.iter().any(|run| run.step == step.name)
                && !course
                    .waits
                    .iter()
                    .any(|wait| matches!(&wait.why, Why::Outside { step: of, .. } if *of == step.name))
            {
                course.runs.push(Run {
                    step: step.name.clone(),
                    attempt: step.attempt,
                    from: step.started_at,
                    to: step.finished_at.unwrap_or(end),
                    end: match step.status {
                        StepStatus::Started => last,
                        status => RunEnd::Step(status),
                    },
                });
            }
        }
        course.runs.sort_by_key(|run| run.from);
        course
    }
}

fn parsed<T: std::str::FromStr>(event: &Event, field: &str) -> Option<T> {
    event.data[field].as_str()?.parse().ok()
}

fn text(event: &Event, field: &str) -> String {
    event.data[field].as_str().unwrap_or_default().to_owned()
}

fn number(event: &Event, field: &str) -> Option<u32> {
    u32::try_from(event.data[field].as_u64()?).ok()
}
