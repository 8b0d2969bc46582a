//! The activity log of a job: its tasks and lines. `app.js` makes the same items from events that arrive later.

use std::time::Duration;

use domain_kernel::JobId;
use jobs::{Event, EventKind};
use serde::Serialize;
use serde_json::Value;

use super::when;

/// How many of a job's newest events a page has.
pub(crate) const SHOWN: u32 = 200;

/// The log of a job.
#[derive(Serialize)]
pub(crate) struct Activity {
    job_id: String,
    /// The newest event that was looked at: what comes later is not in `items` yet.
    last: i64,
    items: Vec<Item>,
}

/// A task or a line.
#[derive(Serialize)]
struct Item {
    seq: i64,
    iso: String,
    time: String,
    kind: &'static str,
    /// A task's status, or the stream that a line came from.
    status: String,
    text: String,
    note: String,
}

impl Activity {
    /// The log that these events, the newest of the job, tell.
    pub(crate) fn new(job_id: JobId, events: &[Event]) -> Self {
        Self {
            job_id: job_id.to_string(),
            last: events.last().map_or(0, |event| event.seq),
            items: events.iter().filter_map(item).collect(),
        }
    }
}

fn item(event: &Event) -> Option<Item> {
    let field = |name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
    let (status, text, note) = match event.kind {
        EventKind::Log => (field("stream"), field("line"), String::new()),
        EventKind::Task => (field("status"), field("name"), note(&event.data)),
        EventKind::Step | EventKind::Status => return None,
    };
    Some(Item {
        seq: event.seq,
        iso: event.at.to_string(),
        time: when::clock_time(event.at),
        kind: event.kind.as_str(),
        status,
        text,
        note,
    })
}

/// How a task went: `changed, 5.1 s, what it said`.
fn note(data: &Value) -> String {
    let status = data["status"].as_str().map(str::to_owned);
    let took = data["duration_ms"]
        .as_u64()
        .map(|millis| when::duration(Duration::from_millis(millis)));
    let said = data["message"].as_str().map(str::to_owned);
    [status, took, said]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}
