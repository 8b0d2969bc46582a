//! Reads `/proc`: who is whose parent, who carries a mark. Format: proc(5).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A process for as long as it lives: pids are used again, a pid with its start time is not within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Its pid.
    pub pid: u32,
    /// Clock ticks between boot and its start.
    pub start_time: u64,
}

/// The id of the present boot; pids and start times of another boot mean nothing.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The process that has `pid` now, zombies excluded. `None` where there is none.
pub fn process_key(pid: u32) -> Option<ProcessKey> {
    read_stat(pid).filter(|stat| !stat.dead).map(|stat| ProcessKey {
        pid,
        start_time: stat.start_time,
    })
}

struct Stat {
    parent: u32,
    start_time: u64,
    dead: bool,
}

fn read_stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may hold anything, parentheses included.
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        dead: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// Every living process that carries `mark` (a whole `NAME=value`) in its environment or descends from one that does,
/// or from `root`. Never this process itself.
pub(crate) fn family(mark: &str, root: Option<ProcessKey>) -> io::Result<Vec<ProcessKey>> {
    let own = std::process::id();
    let mut processes = HashMap::new();
    let mut members = HashSet::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between any two of these reads; then it is of no interest any more.
        let Some(stat) = read_stat(pid) else { continue };
        if stat.dead || pid == own {
            continue;
        }
        let is_root = root.is_some_and(|root| root.pid == pid && root.start_time == stat.start_time);
        if is_root || carries(pid, mark) {
            members.insert(pid);
        }
        processes.insert(pid, stat);
    }
    loop {
        let before = members.len();
        for (pid, stat) in &processes {
            if members.contains(&stat.parent) {
                members.insert(*pid);
            }
        }
        if members.len() == before {
            break;
        }
    }
    let key = |pid: &u32| {
        processes.get(pid).map(|stat| ProcessKey {
            pid: *pid,
            start_time: stat.start_time,
        })
    };
    Ok(members.iter().filter_map(key).collect())
}

fn carries(pid: u32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_and_spaces_is_no_trouble() {
        let numbers: Vec<_> = (3..=40).map(|n| n.to_string()).collect();
        let line = format!("7 (a) b (c)) S {}", numbers[1..].join(" "));
        let stat = parse_stat(&line).unwrap();
        assert_eq!((stat.parent, stat.start_time, stat.dead), (4, 22, false));
    }

    #[test]
    fn this_process_has_a_key_and_pid_zero_has_none() {
        assert!(process_key(std::process::id()).is_some());
        assert_eq!(process_key(0), None);
    }
}
