//! A look at the host from outside of the server.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use process_exec::ProcessKey;

/// Looks until there is a result; fails after `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(result) = look() {
            return result;
        }
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The children that a server has on record.
pub fn recorded_children(data_dir: &Path) -> Vec<ProcessKey> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("run/children")) else {
        return Vec::new();
    };
    let texts = entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let records = texts.filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    records
        .filter_map(|record| serde_json::from_value(record["process"].clone()).ok())
        .collect()
}

/// Living processes whose command line holds `text`, machines excluded, as `pid command`.
pub fn processes_mentioning(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) && !line.contains("systemd-nspawn") && pid != std::process::id() {
            found.push(format!("{pid} {line}"));
        }
    }
    found
}

/// What is left of a node on this host: processes, mounts, namespaces, interfaces, firewall rules, cgroups, folders,
/// addresses. Empty when it was released whole.
pub fn left_of_node(data_dir: &Path, node_id: &str) -> Vec<String> {
    let short = &node_id[node_id.len() - 12..];
    let mut left = Vec::new();
    let mut note = |what: &str, lines: Vec<String>| {
        left.extend(lines.into_iter().map(|line| format!("{what}: {line}")));
    };
    let having = |text: String| {
        text.lines()
            .filter(|line| line.contains(short))
            .map(str::to_owned)
            .collect()
    };
    note(
        "mount",
        having(std::fs::read_to_string("/proc/self/mountinfo").unwrap()),
    );
    note("namespace", having(output("ip", &["netns", "list"])));
    note("interface", having(output("ip", &["-o", "link"])));
    note("rules", having(output("nft", &["list", "ruleset"])));
    note(
        "cgroup",
        having(output(
            "find",
            &[
                "/sys/fs/cgroup",
                "-ignore_readdir_race",
                "-type",
                "d",
                "-name",
                &format!("*{short}*"),
            ],
        )),
    );
    let leases = "/var/lib/pressluft/nspawn/addresses.json";
    note("address", having(std::fs::read_to_string(leases).unwrap_or_default()));
    let machine = data_dir.join(format!("machines/pressluft-{short}"));
    note(
        "folder",
        machine
            .exists()
            .then(|| machine.display().to_string())
            .into_iter()
            .collect(),
    );
    let ssh = data_dir.join(format!("ssh/pressluft-{short}"));
    note(
        "folder",
        ssh.exists().then(|| ssh.display().to_string()).into_iter().collect(),
    );
    note("process", processes_mentioning(&format!("pressluft-{short}")));
    note(
        "process",
        having(output("pgrep", &["-a", "-f", &format!("systemd-nspawn.*{short}")])),
    );
    left
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
