//! A job as plain text, to be copied into a message or kept in a file.

use std::fmt;

use jobs::{Event, EventKind, JobView};

use super::activity::item;
use super::job::{is_parked, kind_name, status_words, steps_of};
use super::when::{self, exact};

/// What stands before the log.
pub(crate) struct JobText<'a> {
    pub(crate) view: &'a JobView,
    /// The names of what it works on, as far as that is there.
    pub(crate) node: Option<&'a str>,
    pub(crate) site: Option<&'a str>,
    pub(crate) environment: Option<&'a str>,
    pub(crate) asked_by: Option<String>,
}

impl fmt::Display for JobText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JobView { job, steps } = self.view;
        let mut fact = |name: &str, value: Option<String>| match value {
            Some(value) => writeln!(f, "{name:<13}{}", harmless(&value)),
            None => Ok(()),
        };
        let named = |name: Option<&str>, id: Option<String>| match (name, id) {
            (Some(name), Some(id)) => Some(format!("{name} ({id})")),
            (None, Some(id)) => Some(format!("gone ({id})")),
            (_, None) => None,
        };
        fact("Job:", Some(format!("{} ({})", kind_name(job.kind), job.id)))?;
        fact("Status:", Some(status_words(job, is_parked(job, steps)).to_owned()))?;
        fact(
            "Attempt:",
            Some(format!("{} of {}", job.attempt_count, job.max_attempts)),
        )?;
        fact("Node:", named(self.node, job.node_id.map(|id| id.to_string())))?;
        fact("Site:", named(self.site, job.site_id.map(|id| id.to_string())))?;
        fact(
            "Environment:",
            named(self.environment, job.environment_id.map(|id| id.to_string())),
        )?;
        fact("Backup:", job.backup_id.map(|id| id.to_string()))?;
        fact("Asked by:", self.asked_by.clone())?;
        fact("Accepted:", Some(exact(job.created_at)))?;
        fact("Started:", job.started_at.map(exact))?;
        fact("Ended:", job.finished_at.map(exact))?;
        let ended = job.finished_at.zip(job.started_at);
        fact("Took:", ended.map(|(end, begun)| when::duration(end.since(begun))))?;
        if let Some(error) = &job.error {
            fact("Error:", Some(error.code.as_str().to_owned()))?;
            fact("", Some(error.message()))?;
        }
        writeln!(f, "\nSteps")?;
        for step in steps {
            let known = steps_of(job.kind).iter().find(|(name, _)| *name == step.name);
            let title = known.map_or(step.name.as_str(), |(_, title)| title);
            let took = step.finished_at.map(|end| when::duration(end.since(step.started_at)));
            let detail = step.detail.as_ref().map(|detail| format!(": {detail}"));
            let line = format!(
                "  {:<10} {:>12}  attempt {}  {title}{}",
                step.status.as_str(),
                took.unwrap_or_default(),
                step.attempt,
                detail.unwrap_or_default()
            );
            writeln!(f, "{}", harmless(&line))?;
        }
        writeln!(f, "\nLog, times in UTC")
    }
}

/// A line of the log: every task, line, step and status of the job.
pub(crate) fn event_line(event: &Event) -> Option<String> {
    let field = |name: &str| event.data[name].as_str().unwrap_or_default();
    let said = match event.kind {
        EventKind::Log | EventKind::Task => {
            let item = item(event)?;
            match item.note.as_str() {
                _ if item.is_begun() => return None,
                "" => item.text,
                note => format!("{} ({note})", item.text),
            }
        }
        EventKind::Step => match field("detail") {
            "" => format!("[{}] {}", field("step"), field("status")),
            detail => format!("[{}] {}: {detail}", field("step"), field("status")),
        },
        EventKind::Status if event.data["status"].is_string() => {
            format!("[job] {}, attempt {}", field("status"), event.data["attempt"])
        }
        EventKind::Status => return None,
    };
    Some(format!("{}  {}\n", exact(event.at), harmless(&said)))
}

/// Without marks that a terminal would obey, those that turn the direction of what follows included.
fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| {
        if (c.is_control() && c != '\t') || turns(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}
