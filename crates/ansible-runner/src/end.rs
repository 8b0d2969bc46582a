//! Tells from the events of a run and its exit status how it ended. Events come first: exit statuses are reused (4 is an
//! unreachable host and a playbook that cannot be read), events are not.

use domain_kernel::JobErrorCode;
use jobs::Failure;
use nodes_domain::ProvisionSummary;
use process_exec::Ended;
use serde_json::Value;

use crate::event::{AnsibleEvent, HostStats, Task, Trouble};

/// The longest part of a task's message that is shown as the failure, in characters.
const MAX_MESSAGE: usize = 300;

/// What has been seen of a run.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    failed: Option<Failure>,
    unreachable: Option<String>,
    no_hosts: bool,
    stats: Option<Vec<HostStats>>,
    result: Option<Value>,
}

/// What a run that went well has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// The counts of its tasks.
    pub(crate) summary: ProvisionSummary,
    /// What its last module that returns something to the control plane returned.
    pub(crate) result: Option<Value>,
}

impl Seen {
    pub(crate) fn note(&mut self, event: &AnsibleEvent) {
        match event {
            AnsibleEvent::TaskFailed {
                task, trouble, code, ..
            } => {
                self.failed
                    .get_or_insert_with(|| failure(task, trouble, code.as_deref()));
            }
            AnsibleEvent::TaskUnreachable { task, trouble, .. } => {
                self.unreachable.get_or_insert_with(|| sentence(task, trouble));
            }
            AnsibleEvent::NoHosts => self.no_hosts = true,
            AnsibleEvent::Result { data } => self.result = Some(data.clone()),
            AnsibleEvent::Stats { hosts } => self.stats = Some(hosts.values().copied().collect()),
            AnsibleEvent::PlayStart { .. }
            | AnsibleEvent::TaskStart(_)
            | AnsibleEvent::TaskOk { .. }
            | AnsibleEvent::TaskSkipped { .. }
            | AnsibleEvent::TaskRetried { .. }
            | AnsibleEvent::TaskIgnored { .. } => {}
        }
    }

    /// How a run ended that was neither stopped nor ran into its limit.
    pub(crate) fn classify(self, ended: Ended) -> Result<Done, Failure> {
        if ended == Ended::Exit(0) {
            return self.done();
        }
        // A machine that stops answering makes tasks fail too: unreachable is the cause.
        if let Some(detail) = self.unreachable {
            return Err(Failure::new(JobErrorCode::AnsibleHostUnreachable, detail));
        }
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let code = match ended {
            Ended::Exit(4) => JobErrorCode::AnsibleSyntaxError,
            Ended::Exit(1 | 5) => JobErrorCode::AnsiblePlayError,
            Ended::Exit(250) => JobErrorCode::AnsibleUnexpectedError,
            Ended::Exit(_) | Ended::Signal(_) => JobErrorCode::AnsibleUnknownExit,
        };
        Err(Failure::new(code, ending(ended)))
    }

    fn done(self) -> Result<Done, Failure> {
        // Ansible exits with 0 as well when a play had nobody to work on.
        let hosts = self.stats.as_deref().unwrap_or_default();
        if self.no_hosts || hosts.is_empty() {
            let detail = "ansible-playbook ended without working on the machine";
            return Err(Failure::new(JobErrorCode::AnsiblePlayError, detail));
        }
        let summary = ProvisionSummary {
            ok: hosts.iter().map(|host| host.ok).sum(),
            changed: hosts.iter().map(|host| host.changed).sum(),
        };
        Ok(Done {
            summary,
            result: self.result,
        })
    }
}

/// What a failed task means. A module that names a code has said all in its message; of the others the task is told too.
fn failure(task: &Task, trouble: &Trouble, code: Option<&str>) -> Failure {
    match code.and_then(|code| code.parse().ok()) {
        Some(code) => Failure::new(code, message(trouble)),
        None => Failure::new(JobErrorCode::AnsibleHostFailed, sentence(task, trouble)),
    }
}

/// The task and its module's message.
fn sentence(task: &Task, trouble: &Trouble) -> String {
    format!("Task `{}`: {}", task.title(), message(trouble))
}

/// The module's message in one line. What a command printed stays in the job's log.
fn message(trouble: &Trouble) -> String {
    let message: String = trouble.msg.split_whitespace().collect::<Vec<_>>().join(" ");
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    }
}

fn ending(ended: Ended) -> String {
    match ended {
        Ended::Exit(status) => format!("ansible-playbook ended with exit status {status}"),
        Ended::Signal(signal) => format!("ansible-playbook was ended by signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse;

    const FAILED: &str = r#"{"event":"task_failed","task":"Run nginx","role":"nginx","host":"n","duration_ms":3,"msg":"it is\nnot well","output":"raw"}"#;
    const UNREACHABLE: &str = r#"{"event":"task_unreachable","task":"Run nginx","role":"nginx","host":"n","duration_ms":3,"msg":"gone","output":null}"#;
    const IGNORED: &str =
        r#"{"event":"task_ignored","task":"t","role":null,"host":"n","duration_ms":3,"msg":"no","output":null}"#;
    const STATS: &str = r#"{"event":"stats","hosts":{"n":{"ok":4,"changed":2,"failed":0}}}"#;
    const NO_STATS: &str = r#"{"event":"stats","hosts":{}}"#;
    const NO_HOSTS: &str = r#"{"event":"no_hosts"}"#;

    fn end(lines: &[&str], ended: Ended) -> Result<Done, Failure> {
        let mut seen = Seen::default();
        for line in lines {
            seen.note(&parse(line).unwrap());
        }
        seen.classify(ended)
    }

    #[test]
    fn each_end_has_its_code() {
        use JobErrorCode as Code;
        let table: &[(&[&str], Ended, Code)] = &[
            (&[UNREACHABLE, STATS], Ended::Exit(4), Code::AnsibleHostUnreachable),
            (&[FAILED, STATS], Ended::Exit(2), Code::AnsibleHostFailed),
            (
                &[FAILED, UNREACHABLE, STATS],
                Ended::Exit(6),
                Code::AnsibleHostUnreachable,
            ),
            (
                &[UNREACHABLE, FAILED, STATS],
                Ended::Exit(6),
                Code::AnsibleHostUnreachable,
            ),
            (&[FAILED], Ended::Exit(250), Code::AnsibleHostFailed),
            (&[UNREACHABLE], Ended::Signal(9), Code::AnsibleHostUnreachable),
            (&[], Ended::Exit(4), Code::AnsibleSyntaxError),
            (&[], Ended::Exit(1), Code::AnsiblePlayError),
            (&[], Ended::Exit(5), Code::AnsiblePlayError),
            (&[], Ended::Exit(250), Code::AnsibleUnexpectedError),
            (&[], Ended::Exit(2), Code::AnsibleUnknownExit),
            (&[], Ended::Exit(99), Code::AnsibleUnknownExit),
            (&[], Ended::Exit(125), Code::AnsibleUnknownExit),
            (&[], Ended::Signal(9), Code::AnsibleUnknownExit),
            (&[IGNORED], Ended::Exit(4), Code::AnsibleSyntaxError),
            (&[NO_HOSTS, NO_STATS], Ended::Exit(0), Code::AnsiblePlayError),
            (&[], Ended::Exit(0), Code::AnsiblePlayError),
        ];
        for (lines, ended, code) in table {
            let failure = end(lines, *ended).expect_err("a failure");
            assert_eq!(failure.code, *code, "{lines:?} {ended:?}");
        }
    }

    #[test]
    fn a_run_that_worked_on_the_machine_and_exits_with_zero_has_succeeded() {
        let summary = ProvisionSummary { ok: 4, changed: 2 };
        let done = Ok(Done { summary, result: None });
        assert_eq!(end(&[STATS], Ended::Exit(0)), done);
        assert_eq!(end(&[IGNORED, STATS], Ended::Exit(0)), done);
        // A failure that a rescue has dealt with.
        assert_eq!(end(&[FAILED, STATS], Ended::Exit(0)), done);
    }

    #[test]
    fn the_last_result_of_a_module_is_the_result_of_the_run() {
        let results = [
            r#"{"event":"result","data":{"n":1}}"#,
            r#"{"event":"result","data":{"n":2}}"#,
        ];
        let done = end(&[results[0], results[1], STATS], Ended::Exit(0)).unwrap();
        assert_eq!(done.result, Some(serde_json::json!({"n": 2})));
        let failure = end(&[results[0], FAILED, STATS], Ended::Exit(2)).expect_err("a failure");
        assert_eq!(failure.code, JobErrorCode::AnsibleHostFailed);
    }

    #[test]
    fn a_code_that_a_module_names_is_the_failure_with_the_modules_message() {
        let with = |code: &str| FAILED.replace("\"raw\"", &format!("\"raw\",\"code\":\"{code}\""));
        let failure = |line: &str| end(&[line, STATS], Ended::Exit(2)).expect_err("a failure");
        let named = failure(&with("WP_CLI_FAILED"));
        assert_eq!(named, Failure::new(JobErrorCode::WpCliFailed, "it is not well"));
        let unknown = failure(&with("NO_SUCH_CODE"));
        assert_eq!(unknown, failure(FAILED), "what is no code of the registry is none");
        let gone = end(&[&with("WP_CLI_FAILED"), UNREACHABLE], Ended::Exit(6)).expect_err("a failure");
        assert_eq!(gone.code, JobErrorCode::AnsibleHostUnreachable);
    }

    #[test]
    fn a_failure_names_the_task_and_its_message_and_holds_no_raw_output() {
        let failure = end(&[FAILED], Ended::Exit(2)).expect_err("a failure");
        assert_eq!(failure.detail, "Task `nginx: Run nginx`: it is not well");
    }

    #[test]
    fn a_long_message_is_cut() {
        let line = FAILED.replace("it is\\nnot well", &"ä".repeat(2000));
        let failure = end(&[&line], Ended::Exit(2)).expect_err("a failure");
        assert!(failure.detail.ends_with('…') && failure.detail.chars().count() < 350);
    }
}
