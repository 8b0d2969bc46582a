//! How much log one attempt of a job may write.

use serde_json::json;

use crate::{EventKind, LogStream, NewEvent};

/// The most bytes of log that are kept of one attempt of a job. Each attempt has its own, so that the last one, which
/// tells why the job failed, is never without lines: stores count anew when they write `Outcome::Retry`. Steps, tasks and statuses are kept whatever there is of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimit(pub u64);

impl Default for LogLimit {
    /// 4 MiB.
    fn default() -> Self {
        Self(4 * 1024 * 1024)
    }
}

/// What a store does with an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Admitted {
    /// Writes it, and this as the bytes of log.
    Kept {
        /// The event, or the one that says that the log ends here.
        event: NewEvent,
        /// The bytes of log of the attempt so far.
        log_bytes: u64,
    },
    /// Drops it.
    Dropped,
}

impl LogLimit {
    /// Decides about an event of an attempt that has `log_bytes` of log so far. The first line beyond the limit is replaced by
    /// one that says so; its bytes are counted, so that those after it are known to be too many.
    pub fn admit(self, log_bytes: u64, event: NewEvent) -> Admitted {
        match event.kind {
            EventKind::Step | EventKind::Task | EventKind::Status => return Admitted::Kept { event, log_bytes },
            EventKind::Log => {}
        }
        if log_bytes > self.0 {
            return Admitted::Dropped;
        }
        let log_bytes = log_bytes.saturating_add(event.data.to_string().len() as u64);
        let event = if log_bytes > self.0 {
            self.end_of_log(&event)
        } else {
            event
        };
        Admitted::Kept { event, log_bytes }
    }

    fn end_of_log(self, dropped: &NewEvent) -> NewEvent {
        NewEvent {
            kind: EventKind::Log,
            data: json!({
                "step": dropped.data["step"],
                "stream": LogStream::Pressluft,
                "line": format!("The log of this attempt ends here: it has reached its limit of {} bytes.", self.0),
                "truncated": true,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> NewEvent {
        NewEvent::log("provision", LogStream::Stdout, text)
    }

    #[test]
    fn a_line_that_fits_is_kept_the_first_that_does_not_is_replaced_and_the_rest_is_dropped() {
        let size = line("x").data.to_string().len() as u64;
        let limit = LogLimit(2 * size);
        let kept = |log_bytes| Admitted::Kept {
            event: line("x"),
            log_bytes,
        };
        assert_eq!(limit.admit(0, line("x")), kept(size));
        assert_eq!(limit.admit(size, line("x")), kept(2 * size));
        let Admitted::Kept { event, log_bytes } = limit.admit(2 * size, line("x")) else {
            panic!("the log's end is told")
        };
        assert_eq!(log_bytes, 3 * size);
        assert_eq!(
            (&event.data["truncated"], &event.data["step"]),
            (&json!(true), &json!("provision"))
        );
        let said = event.data["line"].as_str().unwrap();
        assert!(said.contains(&format!("{} bytes", 2 * size)), "{said}");
        assert_eq!(limit.admit(3 * size, line("x")), Admitted::Dropped);
    }

    #[test]
    fn what_is_not_log_is_always_kept_and_not_counted() {
        let task = NewEvent {
            kind: EventKind::Task,
            data: json!({"name": "Install nginx"}),
        };
        let event = task.clone();
        assert_eq!(LogLimit(1).admit(99, task), Admitted::Kept { event, log_bytes: 99 });
    }
}
