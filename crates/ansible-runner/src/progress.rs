//! Turns the lines of a run into events of the job while they come.

use async_trait::async_trait;
use jobs::{LogStream, StepContext, TaskProgress, TaskStatus};
use process_exec::{LineHandler, OutputLine, Stream};

use crate::end::Seen;
use crate::event::{AnsibleEvent, Task, parse};

/// Takes the lines of one run.
pub(crate) struct RunProgress<'a> {
    context: &'a StepContext,
    pub(crate) seen: Seen,
}

impl<'a> RunProgress<'a> {
    pub(crate) fn new(context: &'a StepContext) -> Self {
        Self {
            context,
            seen: Seen::default(),
        }
    }

    async fn task(&self, task: &Task, status: TaskStatus, duration_ms: Option<u64>, message: Option<String>) {
        let progress = TaskProgress {
            name: task.title(),
            status,
            duration_ms,
            message,
        };
        self.context.task(&progress).await;
    }

    async fn tell(&self, event: &AnsibleEvent) {
        match event {
            AnsibleEvent::TaskStart(task) => self.task(task, TaskStatus::Started, None, None).await,
            AnsibleEvent::TaskOk {
                task,
                changed,
                duration_ms,
            } => {
                let status = if *changed { TaskStatus::Changed } else { TaskStatus::Ok };
                self.task(task, status, *duration_ms, None).await;
            }
            AnsibleEvent::TaskSkipped { task, duration_ms } => {
                self.task(task, TaskStatus::Skipped, *duration_ms, None).await;
            }
            AnsibleEvent::TaskIgnored {
                task,
                duration_ms,
                trouble,
            } => {
                let message = format!("Failed, which the playbook allows: {}", trouble.in_full());
                self.task(task, TaskStatus::Ok, *duration_ms, Some(message)).await;
            }
            AnsibleEvent::TaskFailed {
                task,
                duration_ms,
                trouble,
                ..
            } => {
                let message = Some(trouble.in_full());
                self.task(task, TaskStatus::Failed, *duration_ms, message).await;
            }
            AnsibleEvent::TaskUnreachable {
                task,
                duration_ms,
                trouble,
            } => {
                let message = Some(trouble.in_full());
                self.task(task, TaskStatus::Unreachable, *duration_ms, message).await;
            }
            AnsibleEvent::TaskRetried { task, attempt, trouble } => {
                let line = format!(
                    "{}: attempt {attempt} did not succeed, trying again: {}",
                    task.title(),
                    trouble.in_full()
                );
                self.context.log(&line).await;
            }
            AnsibleEvent::PlayStart { name } => self.context.log(&format!("Play: {name}")).await,
            AnsibleEvent::NoHosts => self.context.log("The play matched no machine").await,
            // What they hold is read when the run has ended.
            AnsibleEvent::Result { .. } | AnsibleEvent::Stats { .. } => {}
        }
    }
}

#[async_trait]
impl LineHandler for RunProgress<'_> {
    async fn line(&mut self, line: OutputLine) {
        match (line.stream, parse(&line.text)) {
            (Stream::Stdout, Some(event)) => {
                self.seen.note(&event);
                self.tell(&event).await;
            }
            (Stream::Stdout, None) => self.context.output(LogStream::Stdout, &line.text).await,
            (Stream::Stderr, _) if line.text.trim().is_empty() => {}
            (Stream::Stderr, _) => self.context.output(LogStream::Stderr, &line.text).await,
        }
    }
}
