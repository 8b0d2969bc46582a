//! The lines that `ansible/callback_plugins/pressluft_events.py` writes; the fields are described there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum AnsibleEvent {
    PlayStart {
        name: String,
    },
    NoHosts,
    TaskStart(Task),
    TaskOk {
        #[serde(flatten)]
        task: Task,
        changed: bool,
        duration_ms: Option<u64>,
    },
    TaskSkipped {
        #[serde(flatten)]
        task: Task,
        duration_ms: Option<u64>,
    },
    TaskRetried {
        #[serde(flatten)]
        task: Task,
        attempt: u32,
        #[serde(flatten)]
        trouble: Trouble,
    },
    TaskIgnored {
        #[serde(flatten)]
        task: Task,
        duration_ms: Option<u64>,
        #[serde(flatten)]
        trouble: Trouble,
    },
    TaskFailed {
        #[serde(flatten)]
        task: Task,
        duration_ms: Option<u64>,
        #[serde(flatten)]
        trouble: Trouble,
        /// The code of the registry that the module names.
        code: Option<String>,
    },
    /// What a module returns to the control plane, before the end of its task.
    Result {
        data: Value,
    },
    TaskUnreachable {
        #[serde(flatten)]
        task: Task,
        duration_ms: Option<u64>,
        #[serde(flatten)]
        trouble: Trouble,
    },
    Stats {
        hosts: BTreeMap<String, HostStats>,
    },
}

/// Which task a line is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Task {
    #[serde(rename = "task")]
    name: String,
    role: Option<String>,
}

impl Task {
    /// The task with its role, as operators see it.
    pub(crate) fn title(&self) -> String {
        match &self.role {
            Some(role) => format!("{role}: {}", self.name),
            None => self.name.clone(),
        }
    }
}

/// What went wrong in a task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Trouble {
    /// The module's own message.
    pub(crate) msg: String,
    /// The last lines of what a command wrote to standard error.
    pub(crate) output: Option<String>,
}

impl Trouble {
    /// Message and output in one line, for the log.
    pub(crate) fn in_full(&self) -> String {
        match &self.output {
            Some(output) => format!("{}: {output}", self.msg),
            None => self.msg.clone(),
        }
    }
}

/// The counts of one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct HostStats {
    pub(crate) ok: u32,
    pub(crate) changed: u32,
}

/// Reads a line; `None` for one that is not an event.
pub(crate) fn parse(line: &str) -> Option<AnsibleEvent> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_with_its_role_and_its_trouble() {
        let line = r#"{"event":"task_failed","task":"Run nginx","role":"nginx","host":"n","duration_ms":3,"msg":"no","output":null}"#;
        let Some(AnsibleEvent::TaskFailed { task, trouble, .. }) = parse(line) else {
            panic!("not read: {line}");
        };
        assert_eq!(
            (task.title(), trouble.in_full()),
            ("nginx: Run nginx".into(), "no".into())
        );
    }

    #[test]
    fn what_is_no_event_is_not_read_as_one() {
        for line in [
            "",
            "PLAY RECAP",
            "{}",
            r#"{"event":"unheard_of"}"#,
            r#"{"event":"task_ok"}"#,
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
