//! What a server and everything that it starts execute and connect to, as the kernel sees it: `strace -f`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A program that was executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The thread that did.
    pub pid: u32,
    /// The program's path.
    pub program: String,
    /// Its arguments as strace shows them, the first of which is its name; long ones are cut.
    pub args: String,
}

impl Executed {
    /// Whether it is the gate of `process-exec`: the shell that a child waits in until it is on record, and that becomes
    /// the program itself then.
    pub fn is_gate(&self) -> bool {
        self.program == "/bin/sh"
            && self
                .args
                .contains(r#""-c", "IFS= read -r go || exit 125; exec \"$@\"", "sh", "/"#)
    }

    /// The last part of its path.
    pub fn name(&self) -> &str {
        self.program.rsplit('/').next().unwrap_or(&self.program)
    }
}

/// A connection that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// An address and a port.
    Internet(String, u16),
    /// A socket of this host.
    Unix(String),
}

/// The record of a traced server.
pub struct Trace {
    file: PathBuf,
}

/// What was read of a record.
pub struct Traced {
    executed: Vec<Executed>,
    connected: Vec<(u32, Peer)>,
    parents: BTreeMap<u32, u32>,
}

impl Trace {
    pub(crate) fn to(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// The command that runs another one traced: as its grandchild, so that the traced one is this process's own child.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let file = self.file.display().to_string();
        let words = [
            "strace",
            "-D",
            "-f",
            "--seccomp-bpf",
            "-qq",
            // Machines have pids of their own: theirs are told as this host knows them.
            "--decode-pids=pidns",
            "-s",
            "4096",
            "-e",
            "signal=none",
            "-e",
            "trace=execve,connect,clone,clone3,fork,vfork",
            "-o",
            &file,
            "--",
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Reads what was recorded. Call it when the server has ended.
    pub fn read(&self) -> Traced {
        Traced::parse(&std::fs::read_to_string(&self.file).unwrap())
    }
}

impl Traced {
    fn parse(text: &str) -> Self {
        let mut traced = Self {
            executed: Vec::new(),
            connected: Vec::new(),
            parents: BTreeMap::new(),
        };
        // A call that another thread's came between stands on two lines.
        let mut begun: BTreeMap<u32, String> = BTreeMap::new();
        for line in text.lines() {
            let Some((pid, call)) = line.split_once(' ') else {
                continue;
            };
            let pid: u32 = pid.parse().unwrap_or_else(|_| panic!("not a line of strace: {line}"));
            let call = call.trim_start();
            if let Some(first) = call.strip_suffix(" <unfinished ...>") {
                begun.insert(pid, first.to_owned());
            } else if let Some(rest) = call.strip_prefix("<... ") {
                let rest = rest.split_once(" resumed>").map_or("", |(_, rest)| rest);
                let first = begun.remove(&pid).unwrap_or_default();
                traced.take(pid, &format!("{first}{rest}"));
            } else {
                traced.take(pid, call);
            }
        }
        // What never came back was executed or connected all the same.
        for (pid, call) in begun {
            traced.take(pid, &call);
        }
        traced
    }

    fn take(&mut self, pid: u32, call: &str) {
        let Some((name, rest)) = call.split_once('(') else {
            return;
        };
        match name {
            "execve" if !rest.contains(" = -1 ENOENT") => {
                let mut quoted = rest.splitn(3, '"');
                let program = quoted.nth(1).unwrap_or_default().to_owned();
                let args = quoted.next().unwrap_or_default().to_owned();
                self.executed.push(Executed { pid, program, args });
            }
            "connect" => self.connected.extend(peer(rest).map(|peer| (pid, peer))),
            "clone" | "clone3" | "fork" | "vfork" => {
                let told = rest.rsplit_once(" = ").map_or("", |(_, told)| told);
                let child = match told.split_once("/* ") {
                    Some((_, outside)) => outside.split(' ').next(),
                    None => Some(told.trim()),
                };
                let child = child.and_then(|child| child.parse().ok());
                if let Some(child) = child {
                    self.parents.insert(child, pid);
                }
            }
            _ => {}
        }
    }

    /// The same without what was done by a program of that name and by everything that it started.
    #[must_use]
    pub fn without(self, program: &str) -> Self {
        let starts = self.executed.iter().filter(|executed| executed.name() == program);
        let roots: BTreeSet<u32> = starts.map(|executed| executed.pid).collect();
        let is_below = |pid: u32| {
            let mut next = Some(pid);
            while let Some(pid) = next {
                if roots.contains(&pid) {
                    return true;
                }
                next = self.parents.get(&pid).copied();
            }
            false
        };
        Self {
            executed: self
                .executed
                .iter()
                .filter(|executed| !is_below(executed.pid))
                .cloned()
                .collect(),
            connected: self
                .connected
                .iter()
                .filter(|(pid, _)| !is_below(*pid))
                .cloned()
                .collect(),
            parents: self.parents,
        }
    }

    /// What was executed, in order.
    pub fn executed(&self) -> &[Executed] {
        &self.executed
    }

    /// The names of the programs that were executed, gates left out.
    pub fn programs(&self) -> BTreeSet<String> {
        let programs = self.executed.iter().filter(|executed| !executed.is_gate());
        programs.map(|executed| executed.name().to_owned()).collect()
    }

    /// Where connections went that leave this process's host, and to other addresses of it.
    pub fn addresses(&self) -> BTreeSet<(String, u16)> {
        let peers = self.connected.iter().filter_map(|(_, peer)| match peer {
            Peer::Internet(address, port) => Some((address.clone(), *port)),
            Peer::Unix(_) => None,
        });
        peers.collect()
    }

    /// The sockets of this host that were connected to.
    pub fn sockets(&self) -> BTreeSet<String> {
        let peers = self.connected.iter().filter_map(|(_, peer)| match peer {
            Peer::Unix(path) => Some(path.clone()),
            Peer::Internet(..) => None,
        });
        peers.collect()
    }
}

/// The peer in the arguments of `connect`; none for families that reach nobody (netlink, unspecified).
fn peer(args: &str) -> Option<Peer> {
    let value = |key: &str, end: char| {
        let rest = args.split_once(key)?.1;
        Some(rest.split_once(end)?.0.to_owned())
    };
    let family = value("sa_family=", ',')?;
    match family.as_str() {
        "AF_INET" => Some(Peer::Internet(
            value("inet_addr(\"", '"')?,
            value("sin_port=htons(", ')')?.parse().ok()?,
        )),
        "AF_INET6" => Some(Peer::Internet(
            value("inet_pton(AF_INET6, \"", '"')?,
            value("sin6_port=htons(", ')')?.parse().ok()?,
        )),
        "AF_UNIX" => Some(Peer::Unix(value("sun_path=", '}')?.trim_matches('"').to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"10 execve("/srv/pressluft", ["pressluft", "dev"], 0x7ffd /* 9 vars */) = 0
10 clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 11
11 vfork( <unfinished ...>
12 execve("/opt/multipass", ["multipass", "list"], 0x55 /* 3 vars */ <unfinished ...>
11 <... vfork resumed>)                  = 12
12 <... execve resumed>)                  = 0
12 clone(child_stack=NULL, flags=SIGCHLD) = 7 /* 13 in strace's PID NS */
13 execve("/usr/bin/systemd-nspawn", ["systemd-nspawn"], 0x55 /* 3 vars */) = 0
13 connect(3, {sa_family=AF_UNIX, sun_path="/run/dbus"}, 110) = 0
11 execve("/nope/ssh", ["ssh"], 0x55 /* 3 vars */) = -1 ENOENT (No such file or directory)
11 connect(9, {sa_family=AF_INET, sin_port=htons(22), sin_addr=inet_addr("10.0.0.2")}, 16) = -1 EINPROGRESS (x)
11 connect(9, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = 0
"#;

    #[test]
    fn calls_on_one_line_or_two_are_read_and_what_a_program_started_can_be_left_out() {
        let traced = Traced::parse(RECORD);
        let names = |traced: &Traced| traced.programs().into_iter().collect::<Vec<_>>();
        assert_eq!(names(&traced), ["multipass", "pressluft", "systemd-nspawn"]);
        let addresses: Vec<_> = traced.addresses().into_iter().collect();
        assert_eq!(
            addresses,
            [("10.0.0.2".to_owned(), 22), ("2001:db8::1".to_owned(), 443)]
        );
        assert_eq!(traced.sockets().into_iter().collect::<Vec<_>>(), ["/run/dbus"]);
        let others = traced.without("multipass");
        assert_eq!(names(&others), ["pressluft"]);
        assert!(others.sockets().is_empty());
    }
}
