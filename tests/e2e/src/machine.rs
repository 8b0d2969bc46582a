//! A machine as its own root sees it, past SSH: for breaking and mending what a test needs broken.

use std::path::{Path, PathBuf};
use std::process::Command;

use process_exec::{ProcessKey, process_key};
use rustix::process::{Pid, Signal, kill_process};

/// A node's machine.
pub struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// The machine of a node.
    pub fn of(data_dir: &Path, node_id: &str) -> Self {
        let short = &node_id[node_id.len() - 12..];
        Self {
            folder: data_dir.join(format!("machines/pressluft-{short}")),
        }
    }

    /// The program that the machine runs under, if it runs.
    pub fn process(&self) -> Option<ProcessKey> {
        let text = std::fs::read_to_string(self.folder.join("process")).ok()?;
        let pid: u32 = text.split_ascii_whitespace().next()?.parse().ok()?;
        process_key(pid)
    }

    /// Stops it behind Pressluft's back.
    pub fn stop(&self) {
        let process = self.process().expect("the machine runs");
        let pid = Pid::from_raw(process.pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        crate::eventually("the machine's end", std::time::Duration::from_secs(30), || {
            (process_key(process.pid) != Some(process)).then_some(())
        });
    }

    /// Runs a script as the machine's root and returns what it printed. Fails where the script does.
    pub fn run(&self, script: &str) -> String {
        let process = self.process().expect("the machine runs");
        let children = format!("/proc/{0}/task/{0}/children", process.pid);
        let leader = std::fs::read_to_string(children).unwrap();
        let leader = leader.split_ascii_whitespace().next().expect("the machine has an init");
        let output = Command::new("nsenter")
            .args([
                "--target", leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wdns=/",
            ])
            .args(["/bin/sh", "-euc", script])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {} {stderr}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
