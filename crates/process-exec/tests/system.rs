//! The system runner against real processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, Limits, StopReason};
use process_exec::{
    CommandRunner, CommandSpec, Ended, ExecError, Ledger, LineHandler, MARK, OutputLine, ProcessKey, Stream,
    SystemClock, SystemRunner, process_key,
};

fn limits(limit: Duration) -> Limits {
    Limits {
        cancel: CancelToken::new(),
        deadline: SystemClock.now().plus(limit),
    }
}

fn sh(script: &str) -> CommandSpec {
    CommandSpec::new("sh").args(["-c", script])
}

struct Bench {
    folder: tempfile::TempDir,
    ledger: Ledger,
    runner: SystemRunner,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path().join("children")).unwrap();
    let runner = SystemRunner::new(Arc::new(SystemClock), ledger.clone());
    Bench { folder, ledger, runner }
}

impl Bench {
    fn records(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("children")).unwrap().count()
    }

    async fn pid_in(&self, name: &str) -> ProcessKey {
        let file = self.folder.path().join(name);
        for _ in 0..500 {
            if let Ok(text) = std::fs::read_to_string(&file)
                && let Ok(pid) = text.trim().parse()
            {
                return process_key(pid).expect("the process of the file lives");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} was not written");
    }
}

fn lives(process: ProcessKey) -> bool {
    process_key(process.pid) == Some(process)
}

#[tokio::test]
async fn what_a_command_prints_and_its_exit_status_come_back() {
    let bench = bench();
    let command = sh("cat; echo problem >&2; exit 7").stdin("line\n");
    let output = bench
        .runner
        .run(command, &limits(Duration::from_secs(10)))
        .await
        .unwrap();
    assert_eq!(output.ended, Ended::Exit(7));
    assert_eq!(
        (output.stdout_text().as_str(), output.stderr_text().as_str()),
        ("line\n", "problem\n")
    );
    assert_eq!(bench.records(), 0);
}

#[tokio::test]
async fn a_child_inherits_no_environment() {
    let bench = bench();
    let command = CommandSpec::new("env").env("GIVEN", "yes");
    let output = bench
        .runner
        .run(command, &limits(Duration::from_secs(10)))
        .await
        .unwrap();
    let mut names: Vec<_> = output
        .stdout_text()
        .lines()
        .filter_map(|l| Some(l.split_once('=')?.0.to_owned()))
        .collect();
    names.retain(|name| name != "PWD" && name != "_" && name != "SHLVL" && name != "OLDPWD");
    names.sort();
    assert_eq!(names, ["GIVEN", "LC_ALL", "PATH", MARK]);
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let error = bench()
        .runner
        .run(CommandSpec::new("no-such-program"), &limits(Duration::from_secs(5)))
        .await;
    assert!(matches!(error, Err(ExecError::NotFound { program, .. }) if program == "no-such-program"));
}

#[tokio::test]
async fn cancelling_ends_descendants_that_left_the_process_group() {
    let bench = bench();
    let limits = limits(Duration::from_secs(60));
    let pid = bench.folder.path().join("pid");
    let command = sh(&format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 300' & wait",
        pid.display()
    ));
    let run = bench.runner.run(command, &limits);
    let cancel = async {
        let process = bench.pid_in("pid").await;
        limits.cancel.cancel(StopReason::Cancelled);
        process
    };
    let (result, process) = tokio::join!(run, cancel);
    assert!(matches!(
        result,
        Err(ExecError::Stopped {
            reason: StopReason::Cancelled,
            ..
        })
    ));
    assert!(!lives(process));
    assert_eq!(bench.records(), 0);
}

#[tokio::test]
async fn a_process_that_ignores_term_is_killed_at_its_deadline() {
    let bench = bench();
    let begin = Instant::now();
    let command = sh("trap '' TERM; echo begun; while :; do sleep 1; done");
    let error = bench.runner.run(command, &limits(Duration::from_millis(300))).await;
    match error {
        Err(ExecError::TimedOut { output, .. }) => assert_eq!(output.stdout_text(), "begun\n"),
        other => panic!("{other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_daemon_that_a_command_left_is_ended_with_it() {
    let bench = bench();
    let pid = bench.folder.path().join("pid");
    let command = sh(&format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 300' </dev/null >/dev/null 2>&1 & sleep 0.2",
        pid.display()
    ));
    let limits = limits(Duration::from_secs(10));
    let run = bench.runner.run(command, &limits);
    let (output, process) = tokio::join!(run, bench.pid_in("pid"));
    assert!(output.unwrap().success());
    assert!(!lives(process));
}

#[tokio::test]
async fn a_dropped_run_takes_its_family_with_it() {
    let bench = bench();
    let pid = bench.folder.path().join("pid");
    let command = sh(&format!("echo $$ > {}; exec sleep 300", pid.display()));
    let limits = limits(Duration::from_secs(60));
    let process = {
        let run = bench.runner.run(command, &limits);
        tokio::select! {
            _ = run => panic!("it ended"),
            process = bench.pid_in("pid") => process,
        }
    };
    let begin = Instant::now();
    while lives(process) && begin.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!lives(process));
}

#[tokio::test]
async fn recovery_ends_what_a_dead_server_left() {
    let bench = bench();
    let pid = bench.folder.path().join("pid");
    let command = sh(&format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 300' & wait $!",
        pid.display()
    ));
    // With the child's status: the shell may see its end before it is ended itself.
    let limits = limits(Duration::from_secs(60));
    let run = bench.runner.run(command, &limits);
    // The run is still going on here, as far as this process knows; another reader of the ledger ends it.
    let recover = async {
        let process = bench.pid_in("pid").await;
        assert_eq!(bench.records(), 1);
        let report = bench.ledger.recover().await.unwrap();
        assert_eq!((report.records, report.left), (1, vec![]));
        assert!(!lives(process));
    };
    let (output, ()) = tokio::join!(run, recover);
    assert!(!output.unwrap().success());
    assert_eq!(bench.records(), 0);
}

#[tokio::test]
async fn a_half_written_record_is_no_trouble() {
    let bench = bench();
    std::fs::write(bench.folder.path().join("children/x.tmp"), "{").unwrap();
    std::fs::write(bench.folder.path().join("children/y.json"), "{").unwrap();
    assert_eq!(bench.ledger.recover().await.unwrap().records, 0);
    assert_eq!(bench.records(), 0);
}

struct Collect(Vec<OutputLine>);

#[async_trait]
impl LineHandler for Collect {
    async fn line(&mut self, line: OutputLine) {
        self.0.push(line);
    }
}

#[tokio::test]
async fn lines_are_handed_over_and_large_output_is_read_to_its_end() {
    let bench = bench();
    let mut lines = Collect(Vec::new());
    let command = sh(
        "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; i=$((i+1)); done; printf 'no end \\377'",
    );
    let output = bench
        .runner
        .stream(command, &limits(Duration::from_secs(20)), &mut lines)
        .await
        .unwrap();
    assert!(output.success());
    assert_eq!(output.stdout.len(), 1024 * 1024);
    assert_eq!(lines.0.len(), 20001);
    assert_eq!(lines.0[20000].text, "no end \u{fffd}");
    assert_eq!(lines.0[0].stream, Stream::Stdout);
}

#[tokio::test]
async fn a_detached_process_is_in_a_session_of_its_own_and_is_not_recorded() {
    let bench = bench();
    let log = bench.folder.path().join("log");
    let command = sh("echo out; echo err >&2; env; exec sleep 300");
    let detached = bench.runner.spawn_detached(command, &log).await.unwrap();
    assert_eq!(bench.records(), 0);
    for _ in 0..500 {
        if std::fs::read_to_string(&log).unwrap().contains("PATH=") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        text.contains("out\n") && text.contains("err\n") && !text.contains(MARK),
        "{text}"
    );
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", detached.process.pid)).unwrap();
    let session = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_ascii_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(session, detached.process.pid.to_string());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(detached.process.pid as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}
