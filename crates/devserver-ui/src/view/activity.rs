//! The log of a job: its tasks and lines, those that hold what somebody looks for.

use std::time::Duration;

use jobs::{Event, EventKind, TaskStatus};
use serde::Serialize;
use serde_json::Value;

use super::when;

/// The most lines that a page has: the newest.
pub(crate) const SHOWN: u32 = 1000;

/// The newest events that are looked through for a text.
pub(crate) const SEARCHED: u32 = 20_000;

/// The log of a job.
#[derive(Serialize)]
pub(crate) struct Activity {
    /// What the lines hold; empty where it is the whole log.
    query: String,
    items: Vec<Item>,
    /// How many lines hold it, and of how many. Those of them that are shown are the newest.
    matching: usize,
    of: usize,
    shown: usize,
    /// Whether there are earlier lines that were not looked at.
    is_cut: bool,
}

/// A task or a line.
#[derive(Serialize)]
pub(super) struct Item {
    seq: i64,
    iso: String,
    exact: String,
    time: String,
    kind: &'static str,
    /// A task's status, or the stream that a line came from.
    status: String,
    pub(super) text: String,
    pub(super) note: String,
}

impl Activity {
    /// Those lines that these events, the newest of the job, tell and that hold `query`.
    pub(crate) fn new(events: &[Event], query: &str) -> Self {
        let limit = if query.is_empty() { SHOWN } else { SEARCHED };
        let mut items: Vec<Item> = events.iter().filter_map(item).collect();
        // That a task began is of interest until the next thing is known.
        let last = items.last().map(|item| item.seq);
        items.retain(|item| !(item.is_begun() && Some(item.seq) != last));
        let of = items.len();
        let wanted = query.to_lowercase();
        items.retain(|item| wanted.is_empty() || item.has(&wanted));
        let matching = items.len();
        items.drain(..matching.saturating_sub(SHOWN as usize));
        Self {
            query: query.to_owned(),
            shown: items.len(),
            items,
            matching,
            of,
            is_cut: events.len() >= limit as usize,
        }
    }
}

impl Item {
    /// Whether it tells of a task only that it began.
    pub(super) fn is_begun(&self) -> bool {
        self.kind == EventKind::Task.as_str() && self.status == TaskStatus::Started.as_str()
    }

    /// Whether it holds this text, in small letters.
    fn has(&self, wanted: &str) -> bool {
        let said = format!("{} {} {}", self.time, self.text, self.note);
        said.to_lowercase().contains(wanted)
    }
}

/// The task or line that an event tells.
pub(super) fn item(event: &Event) -> Option<Item> {
    let field = |name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
    let (status, text, note) = match event.kind {
        EventKind::Log => (field("stream"), field("line"), String::new()),
        EventKind::Task => (field("status"), field("name"), note(&event.data)),
        EventKind::Step | EventKind::Status => return None,
    };
    Some(Item {
        seq: event.seq,
        iso: event.at.to_string(),
        exact: format!("{} UTC", when::exact(event.at)),
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
