//! A machine as its own root sees it, past SSH: for breaking and mending what a test needs broken.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use process_exec::{ProcessKey, process_key};
use rustix::process::{Pid, Signal, kill_process};

use crate::blocking::{block_on, context};

/// How long a machine may take to shut down.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What a command inside a machine came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit status; 128 and the number of the signal that ended it.
    pub status: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

impl Ran {
    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// What it printed, as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it complained, as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = || 128 + output.status.signal().unwrap_or(0);
        Self {
            status: output.status.code().unwrap_or_else(signal),
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }
}

/// The inside of a machine of `acquisition-nspawn`, whoever started it.
#[derive(Debug, Clone)]
pub struct Inside {
    folder: PathBuf,
}

impl Inside {
    /// The machine of that folder, `<data dir>/machines/pressluft-<short id>`.
    pub fn of(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The program that the machine runs under, if it runs.
    pub fn process(&self) -> Option<ProcessKey> {
        let text = std::fs::read_to_string(self.folder.join("process")).ok()?;
        let stat = text.lines().next()?;
        let pid = stat.split(' ').next()?.parse().ok()?;
        // Field 22 of proc(5)'s stat; the program's name, which may hold anything, ends with the last bracket.
        let start_time = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?;
        process_key(pid).filter(|process| process.start_time.to_string() == start_time)
    }

    /// A command that enters the machine and becomes `program` there, as root in `/`.
    pub fn enter(&self, program: &[&str]) -> Command {
        let process = self.process().expect("the machine runs");
        let children = format!("/proc/{0}/task/{0}/children", process.pid);
        let leader = std::fs::read_to_string(children).unwrap();
        let leader = leader.split_ascii_whitespace().next().expect("the machine has an init");
        let mut command = Command::new("/usr/bin/nsenter");
        command
            .args(["--target", leader, "--mount", "--uts", "--ipc", "--net", "--pid"])
            .args(["--root", "--wdns=/"])
            .args(program);
        command
    }

    /// Runs a program with that input and tells how it ended.
    pub fn try_run(&self, program: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.enter(program);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // A program need not read what it is given.
            scope.spawn(move || {
                let _unread = pipe.write_all(stdin);
            });
            child.wait_with_output().unwrap().into()
        })
    }

    /// Runs a shell script and returns what it printed. Panics where the script fails.
    pub fn run(&self, script: &str) -> String {
        let ran = self.try_run(&["/bin/sh", "-euc", script], b"");
        assert!(ran.success(), "{script}: {} {}", ran.status, ran.stderr_text());
        ran.stdout_text()
    }

    /// Shuts the machine down, as its power button would, and waits for its end.
    pub fn stop(&self) {
        let process = self.process().expect("the machine runs");
        let pid = Pid::from_raw(process.pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        block_on(async || {
            let ctx = context("stop").within(STOP_LIMIT);
            while process_key(process.pid) == Some(process) {
                ctx.sleep(Duration::from_millis(20))
                    .await
                    .expect("the machine shuts down");
            }
        });
    }
}
