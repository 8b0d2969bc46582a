//! A job's course drawn to scale. `timeline.html` makes an SVG of it: numbers are pixels.

use std::time::Duration;

use domain_kernel::Timestamp;
use jobs::{JobKind, StepStatus, TaskStatus};
use serde::Serialize;

use super::course::{Course, Run, RunEnd, Waited, Why};
use super::job::steps_of;
use super::when::{clock_time, duration, tick};

/// What is drawn is so wide, with an edge on both sides for the ends of what lies at it.
const WIDTH: f64 = 960.0;
const EDGE: f64 = 10.0;

/// A lane has the step's name, its bars, and its tasks below them.
const LANE: f64 = 48.0;
const TOP: f64 = 6.0;
const AXIS: f64 = 26.0;

/// What is shorter is drawn as wide as this.
const LEAST: f64 = 3.0;

/// More than this many tasks of a job cannot be told apart.
const TASKS: usize = 600;

/// More than this many parts of a course nobody listens to.
const WORDS: usize = 40;

/// The timeline of a job.
#[derive(Serialize)]
pub(crate) struct Timeline {
    width: f64,
    height: f64,
    /// Where the lanes end and the axis begins.
    bottom: f64,
    axis_y: f64,
    lanes: Vec<Lane>,
    ticks: Vec<Tick>,
    /// The same in words.
    words: String,
}

/// A step, or the waits between steps.
#[derive(Serialize)]
struct Lane {
    title: String,
    /// How long it was at work in all; where it was not, why.
    took: String,
    label_y: f64,
    /// Above it runs a line.
    top: f64,
    bars: Vec<Bar>,
    tasks: Vec<Bar>,
}

/// Something that took a time.
#[derive(Serialize)]
struct Bar {
    kind: &'static str,
    /// It is hatched.
    is_wait: bool,
    title: String,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// A round moment of the axis.
#[derive(Serialize)]
struct Tick {
    x: f64,
    label: String,
    anchor: &'static str,
}

impl Timeline {
    /// A job of this kind.
    pub(crate) fn new(kind: JobKind, course: &Course) -> Self {
        let scale = Scale::of(course);
        let mut names: Vec<(&str, &str)> = steps_of(kind).to_vec();
        for run in &course.runs {
            if !names.iter().any(|(name, _)| *name == run.step) {
                names.push((&run.step, &run.step));
            }
        }
        let mut lanes: Vec<Lane> = Vec::with_capacity(names.len() + 1);
        lanes.extend(waits(kind, course, &scale));
        for (name, title) in names {
            lanes.push(lane(course, &scale, TOP + LANE * lanes.len() as f64, name, title));
        }
        let bottom = TOP + LANE * lanes.len() as f64;
        Self {
            width: WIDTH,
            height: bottom + AXIS,
            bottom,
            axis_y: bottom + 18.0,
            ticks: scale.ticks(),
            words: in_words(kind, course),
            lanes,
        }
    }
}

/// The waits in which no step was at work, where they are long enough to be seen.
fn waits(kind: JobKind, course: &Course, scale: &Scale) -> Option<Lane> {
    let between = |wait: &&Waited| !matches!(wait.why, Why::Outside { .. }) && can_be_seen(wait);
    let waits: Vec<&Waited> = course.waits.iter().filter(between).collect();
    let took = waits.iter().map(|wait| wait.to.since(wait.from)).sum();
    let bars = waits
        .iter()
        .map(|wait| scale.bar("wait", waited(kind, wait), wait.from, wait.to, TOP + 20.0, 14.0));
    (!waits.is_empty()).then(|| Lane {
        title: "Waiting".to_owned(),
        took: duration(took),
        label_y: TOP + 14.0,
        top: TOP,
        bars: bars.collect(),
        tasks: Vec::new(),
    })
}

/// What nobody can see is not told either.
fn can_be_seen(wait: &Waited) -> bool {
    wait.to.since(wait.from) >= Duration::from_millis(50)
}

fn lane(course: &Course, scale: &Scale, top: f64, name: &str, title: &str) -> Lane {
    let of_step = || course.runs.iter().filter(|run| run.step == name);
    let mut bars: Vec<Bar> = Vec::new();
    for wait in &course.waits {
        if matches!(&wait.why, Why::Outside { step, .. } if step == name) {
            let words = format!("{title}: {}", waited_for(&wait.why, wait));
            bars.push(scale.bar("outside", words, wait.from, wait.to, top + 20.0, 14.0));
        }
    }
    bars.extend(of_step().map(|run| {
        let words = format!(
            "{title}, attempt {}: {}, from {} to {} UTC",
            run.attempt,
            ended(run),
            clock_time(run.from),
            clock_time(run.to)
        );
        scale.bar(tone(run.end), words, run.from, run.to, top + 20.0, 14.0)
    }));
    let skipped = course.tasks.len().saturating_sub(TASKS);
    let tasks = course.tasks.iter().skip(skipped).filter(|task| task.step == name);
    let tasks = tasks.map(|task| {
        let words = format!("{}: {}, {}", task.name, task.status, duration(task.to.since(task.from)));
        let kind = match task.status {
            TaskStatus::Failed | TaskStatus::Unreachable => "failed",
            TaskStatus::Changed => "changed",
            TaskStatus::Started | TaskStatus::Ok | TaskStatus::Skipped => "ok",
        };
        let bar = scale.bar(kind, words, task.from, task.to, top + 37.0, 5.0);
        // One after the other: the gap tells them apart.
        Bar {
            width: tenth((bar.width - 0.5).max(1.0)),
            ..bar
        }
    });
    Lane {
        title: title.to_owned(),
        took: match of_step().count() {
            0 if !bars.is_empty() => String::new(),
            0 if course.is_over => "not reached".to_owned(),
            0 => "to come".to_owned(),
            _ => duration(of_step().map(|run| run.to.since(run.from)).sum()),
        },
        label_y: top + 14.0,
        top,
        bars,
        tasks: tasks.collect(),
    }
}

/// Earlier runs of a step, each in words: all but the last one.
pub(crate) fn earlier_runs(course: &Course, step: &str) -> Vec<String> {
    let runs: Vec<&Run> = course.runs.iter().filter(|run| run.step == step).collect();
    let earlier = runs.iter().take(runs.len().saturating_sub(1));
    earlier
        .map(|run| format!("Attempt {}: {}", run.attempt, ended(run)))
        .collect()
}

/// How a run went: `failed after 3.0 s`.
fn ended(run: &Run) -> String {
    let took = duration(run.to.since(run.from));
    match run.end {
        RunEnd::Open => format!("running for {took}"),
        RunEnd::Interrupted => format!("interrupted after {took}"),
        RunEnd::Step(StepStatus::Succeeded) => format!("done in {took}"),
        RunEnd::Step(StepStatus::Failed) => format!("failed after {took}"),
        RunEnd::Step(StepStatus::Parked) => format!("looked for {took}"),
        RunEnd::Step(StepStatus::Cancelled) => format!("cancelled after {took}"),
        RunEnd::Step(StepStatus::Started) => format!("begun {took} before"),
    }
}

fn tone(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Open => "running",
        RunEnd::Interrupted => "interrupted",
        RunEnd::Step(status) => status.as_str(),
    }
}

fn waited(kind: JobKind, wait: &Waited) -> String {
    match &wait.why {
        Why::Outside { step, .. } => {
            let known = steps_of(kind).iter().find(|(name, _)| name == step);
            let title = known.map_or(step.as_str(), |(_, title)| title);
            format!("{title}: {}", waited_for(&wait.why, wait))
        }
        why => waited_for(why, wait),
    }
}

fn waited_for(why: &Why, wait: &Waited) -> String {
    let took = duration(wait.to.since(wait.from));
    match why {
        Why::Turn => format!("Waited {took} for its turn"),
        Why::Attempt(attempt) => format!("Waited {took} before attempt {attempt}"),
        Why::Outside { looks: 1, .. } => format!("waited {took} for something outside"),
        Why::Outside { looks, .. } => format!("waited {took} for something outside, looked {looks} times"),
        Why::Worker => format!("Waited {took} because its worker was stopped"),
    }
}

/// The course as sentences, in order of time.
fn in_words(kind: JobKind, course: &Course) -> String {
    let title_of = |step: &str| {
        let known = steps_of(kind).iter().find(|(name, _)| *name == step);
        known.map_or(step.to_owned(), |(_, title)| (*title).to_owned())
    };
    let mut parts: Vec<(Timestamp, String)> = Vec::new();
    let seen = course.waits.iter().filter(|wait| can_be_seen(wait));
    parts.extend(seen.map(|wait| (wait.from, waited(kind, wait))));
    parts.extend(course.runs.iter().map(|run| {
        let words = format!("{}, attempt {}: {}", title_of(&run.step), run.attempt, ended(run));
        (run.from, words)
    }));
    parts.sort_by_key(|(from, _)| *from);
    let more = parts.len().saturating_sub(WORDS);
    let mut words = format!("Timeline of {}.", duration(course.end.since(course.begun)));
    for (_, part) in parts.iter().take(WORDS) {
        words.push_str(&format!(" {part}."));
    }
    if more > 0 {
        words.push_str(&format!(" And {more} more."));
    }
    let is_begun = |step: &str| {
        let waited = |wait: &Waited| matches!(&wait.why, Why::Outside { step: of, .. } if of == step);
        course.runs.iter().any(|run| run.step == step) || course.waits.iter().any(waited)
    };
    let left = steps_of(kind).iter().filter(|(name, _)| !is_begun(name));
    let left: Vec<&str> = left.map(|(_, title)| *title).collect();
    if course.is_over && !left.is_empty() {
        words.push_str(&format!(" Not reached: {}.", left.join(", ")));
    }
    words
}

/// Where moments lie.
struct Scale {
    begun: Timestamp,
    span: Duration,
}

impl Scale {
    fn of(course: &Course) -> Self {
        Self {
            begun: course.begun,
            span: course.end.since(course.begun).max(Duration::from_millis(100)),
        }
    }

    fn x(&self, moment: Timestamp) -> f64 {
        let part = moment.since(self.begun).as_secs_f64() / self.span.as_secs_f64();
        EDGE + part.min(1.0) * (WIDTH - 2.0 * EDGE)
    }

    fn bar(&self, kind: &'static str, title: String, from: Timestamp, to: Timestamp, y: f64, height: f64) -> Bar {
        let x = self.x(from);
        Bar {
            kind,
            is_wait: matches!(kind, "wait" | "outside"),
            title,
            x: tenth(x),
            y,
            width: tenth((self.x(to) - x).max(LEAST)),
            height,
        }
    }

    fn ticks(&self) -> Vec<Tick> {
        let step = tick(self.span);
        let mut ticks = Vec::new();
        let mut after = Duration::ZERO;
        while after <= self.span {
            let x = self.x(self.begun.plus(after));
            ticks.push(Tick {
                x: tenth(x),
                label: super::when::round(after),
                anchor: match () {
                    () if x < 40.0 => "start",
                    () if x > WIDTH - 40.0 => "end",
                    () => "middle",
                },
            });
            after += step;
        }
        ticks
    }
}

fn tenth(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}
