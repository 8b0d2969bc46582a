//! Ends what runs have left on a machine. Ending `ssh` ends nothing on the other side, so every process of a run carries
//! a mark in its environment there; see `docs/decisions/0005-ending-commands-on-a-node.md`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use domain_kernel::{CancelToken, Limits, StopReason};
use jobs::StepContext;
use process_exec::{CommandRunner, CommandSpec, Ended, ExecError, Output};

const SCRIPT: &str = include_str!("leftovers.sh");

/// How long it may take: 5 s on the machine at most, and the way there.
const LIMIT: Duration = Duration::from_secs(9);

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

/// Ends processes on the machine called `host` in `ssh_config`.
pub(crate) async fn end(
    runner: &dyn CommandRunner,
    context: &StepContext,
    host: &str,
    ssh_config: &Path,
    mark: &RunMark,
    which: Which,
) -> Swept {
    let limits = match which {
        // This is what is done after the step was stopped or ran into its limit, so neither may hinder it.
        Which::Own => Limits {
            cancel: CancelToken::new(),
            deadline: context.now().plus(LIMIT),
        },
        Which::Other => context.within(LIMIT).limits,
    };
    match runner.run(command(host, ssh_config, mark, which), &limits).await {
        Ok(output) => read(&output),
        Err(ExecError::Stopped { reason, .. }) => Swept::Stopped(reason),
        Err(ExecError::TimedOut { .. }) => Swept::Unknown(format!("no answer within {} s", LIMIT.as_secs())),
        Err(error) => Swept::Unknown(error.to_string()),
    }
}

fn command(host: &str, ssh_config: &Path, mark: &RunMark, which: Which) -> CommandSpec {
    let which = match which {
        Which::Own => "own",
        Which::Other => "other",
    };
    // A mark holds nothing that a shell could take for more than a word: letters, digits, `-`, `_` and `.`.
    let shell = format!("sh -s {which} {mark}");
    CommandSpec::new("ssh")
        .arg("-F")
        .arg(ssh_config)
        // A connection of its own, gone with the command.
        .args([
            "-o",
            "ControlMaster=no",
            "-o",
            "ControlPath=none",
            "-o",
            "ConnectTimeout=4",
        ])
        .arg(host)
        .arg(format!(
            "if [ \"$(id -u)\" = 0 ]; then exec {shell}; else exec sudo -n {shell}; fi"
        ))
        .stdin(SCRIPT)
}

fn read(output: &Output) -> Swept {
    let first_line = |text: String| text.lines().next().unwrap_or_default().trim().to_owned();
    match output.ended {
        Ended::Exit(0) => Swept::Clean,
        Ended::Exit(3) => Swept::Left(first_line(output.stdout_text())),
        Ended::Exit(_) | Ended::Signal(_) => Swept::Unknown(first_line(output.stderr_text())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use process_exec::SystemRunner;
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
            read(&Output {
                ended: Ended::Exit(status),
                stdout: stdout.into(),
                stderr: stderr.into(),
            })
        };
        assert_eq!(answer(0, "", ""), Swept::Clean);
        assert_eq!(answer(3, "17 23\n", ""), Swept::Left("17 23".into()));
        assert_eq!(answer(255, "", "refused\n"), Swept::Unknown("refused".into()));
    }
}
