//! Ends what runs have left on a machine. Ending `ssh` ends nothing on the other side, so every process of a run carries
//! a mark in its environment there; see `docs/decisions/0005-ending-commands-on-a-node.md`.

use std::fmt;
use std::time::Duration;

use domain_kernel::{NodeId, StopReason};
use jobs::StepContext;
use nodes_domain::{NodeTarget, RemoteCommand, RemoteOutput, SshAccess, SshError};

const SCRIPT: &str = include_str!("leftovers.sh");

/// How long it may take, with the way to the machine.
const LIMIT: Duration = Duration::from_secs(9);

/// How long it may take on the machine: the script gives up after 5 s.
const REMOTE_LIMIT: Duration = Duration::from_secs(7);

/// Names a run on its machine: the job and the epoch of its claim, so that a worker that has lost its claim never ends
/// what its successor runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunMark(String);

impl RunMark {
    pub(crate) fn of(context: &StepContext) -> Self {
        match context.job_id {
            Some(job) => Self(format!("{job}.{}", context.epoch)),
            None => Self(format!("{}.{}", context.step, context.now().as_micros())),
        }
    }
}

impl fmt::Display for RunMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which processes to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those of the run itself.
    Own,
    /// Those of every other run. Only the holder of the node's claim may ask for it.
    Other,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Swept {
    /// Nothing is left.
    Clean,
    /// These could not be ended, as process ids on the machine.
    Left(String),
    /// The machine could not be asked.
    Unknown(String),
    /// The context stopped it.
    Stopped(StopReason),
}

/// Ends processes on a machine.
pub(crate) async fn end(
    ssh: &dyn SshAccess,
    context: &StepContext,
    node_id: NodeId,
    target: &NodeTarget,
    mark: &RunMark,
    which: Which,
) -> Swept {
    let command = command(mark, which);
    let answer = match which {
        Which::Own => {
            // This is what is done after the step was stopped or ran into its limit, so neither may hinder it; nor may a
            // shared connection that is full or dead.
            let after = StepContext::outside_job(context.step, LIMIT, context.clock());
            ssh.run(node_id, target, &command.over_new_login(), &after).await
        }
        Which::Other => ssh.run(node_id, target, &command, &context.within(LIMIT)).await,
    };
    match answer {
        Ok(output) => read(&output),
        Err(SshError::Stopped(reason)) => Swept::Stopped(reason),
        Err(error) => Swept::Unknown(error.to_string()),
    }
}

fn command(mark: &RunMark, which: Which) -> RemoteCommand {
    let which = match which {
        Which::Own => "own",
        Which::Other => "other",
    };
    // A mark holds nothing that a shell could take for more than a word: letters, digits, `-`, `_` and `.`.
    let shell = format!("sh -s {which} {mark}");
    let script = format!("if [ \"$(id -u)\" = 0 ]; then exec {shell}; else exec sudo -n {shell}; fi");
    RemoteCommand {
        stdin: SCRIPT.into(),
        ..RemoteCommand::script(script, REMOTE_LIMIT)
    }
}

fn read(output: &RemoteOutput) -> Swept {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
    match output.exit_status {
        Some(0) => Swept::Clean,
        Some(3) => Swept::Left(first_line(&output.stdout)),
        _ => Swept::Unknown(first_line(&output.stderr)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use process_exec::{CommandRunner, CommandSpec, SystemRunner};
    use test_support::RealClock;

    use super::*;

    /// Starts what a run may leave, in a process namespace of its own: `other` asks for every run of a machine.
    const MACHINE: &str = r#"
        PL_NODE_RUN=a.1 sleep 1001 &
        PL_NODE_RUN=a.1 sh -c 'env -i sleep 1002 & wait' &
        PL_NODE_RUN=a.1 sh -c 'trap "" TERM; sleep 1003; sleep 1004' &
        PL_NODE_RUN=b.1 sleep 1005 &
        sleep 1006 &
        list() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -x '100[0-9]' | sort | tr '\n' ' '; }
        until [ "$(list)" = '1001 1002 1003 1005 1006 ' ]; do sleep 0.02; done
        sh -s own a.1 < "$0"; echo "own: $? left: $(list)"
        sh -s other a.1 < "$0"; echo "other: $? left: $(list)"
        sh -s other a.1 < "$0"; echo "again: $? left: $(list)"
    "#;

    #[tokio::test]
    async fn a_run_is_ended_with_its_descendants_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("leftovers.sh");
        std::fs::write(&script, SCRIPT).unwrap();
        let runner = SystemRunner::unrecorded(Arc::new(RealClock));
        let context = StepContext::outside_job("test", Duration::from_secs(60), Arc::new(RealClock));
        let command = CommandSpec::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", MACHINE])
            .arg(&script);
        let output = runner.run(command, &context.limits).await.unwrap();
        let expected = "own: 0 left: 1005 1006 \nother: 0 left: 1006 \nagain: 0 left: 1006 \n";
        assert_eq!(output.stdout_text(), expected, "{}", output.stderr_text());
    }

    #[test]
    fn an_answer_is_read_by_its_exit_status() {
        let answer = |status, stdout: &str, stderr: &str| {
            read(&RemoteOutput {
                exit_status: status,
                stdout: stdout.into(),
                stderr: stderr.into(),
            })
        };
        assert_eq!(answer(Some(0), "", ""), Swept::Clean);
        assert_eq!(answer(Some(3), "17 23\n", ""), Swept::Left("17 23".into()));
        assert_eq!(answer(Some(1), "", "no sudo\n"), Swept::Unknown("no sudo".into()));
        assert_eq!(answer(None, "", ""), Swept::Unknown(String::new()));
    }
}
