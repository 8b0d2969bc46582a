//! Events: what happens in a job while it happens, in one global sequence.

use domain_kernel::{JobId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::text_enum;

/// The longest log line kept, in bytes; the rest is cut.
const MAX_LINE: usize = 4096;

text_enum!(
    /// What an event tells.
    EventKind {
        /// A step began or ended.
        Step = "step",
        /// A task within a step, an Ansible task for example, began or ended.
        Task = "task",
        /// A line of output.
        Log = "log",
        /// The job's or the node's status changed.
        Status = "status",
    }
);

text_enum!(
    /// Where a task within a step stands.
    TaskStatus {
        /// At work.
        Started = "started",
        /// Done, nothing had to change.
        Ok = "ok",
        /// Done, something was changed.
        Changed = "changed",
        /// Not needed here.
        Skipped = "skipped",
        /// Failed.
        Failed = "failed",
        /// The machine did not answer.
        Unreachable = "unreachable",
    }
);

text_enum!(
    /// Where a line came from.
    LogStream {
        /// Pressluft itself.
        Pressluft = "pressluft",
        /// Standard output of a process.
        Stdout = "stdout",
        /// Standard error of a process.
        Stderr = "stderr",
    }
);

/// A task within a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// A line about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// An event to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What it tells.
    pub kind: EventKind,
    /// Its content: an object.
    pub data: serde_json::Value,
}

impl NewEvent {
    /// A line of output of a step; cut at 4 KiB.
    pub fn log(step: &str, stream: LogStream, line: &str) -> Self {
        let line = match line.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_LINE) {
            Some((at, _)) => &line[..at],
            None => line,
        };
        Self {
            kind: EventKind::Log,
            data: serde_json::json!({"step": step, "stream": stream, "line": line}),
        }
    }

    /// A task of a step.
    pub fn task(step: &str, task: &TaskProgress) -> Self {
        let mut data = serde_json::json!({"step": step, "name": task.name, "status": task.status});
        if let Some(duration) = task.duration_ms {
            data["duration_ms"] = duration.into();
        }
        if let Some(message) = &task.message {
            data["message"] = message.as_str().into();
        }
        Self {
            kind: EventKind::Task,
            data,
        }
    }
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the global sequence; later events have higher ones.
    pub seq: i64,
    /// The job that it belongs to.
    pub job_id: Option<JobId>,
    /// The node that it belongs to.
    pub node_id: Option<NodeId>,
    /// When it happened.
    pub at: Timestamp,
    /// What it tells.
    pub kind: EventKind,
    /// Its content: an object.
    pub data: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let event = NewEvent::log("provision", LogStream::Stdout, &"ä".repeat(4000));
        assert_eq!(event.data["line"].as_str().map(str::len), Some(MAX_LINE));
    }
}
