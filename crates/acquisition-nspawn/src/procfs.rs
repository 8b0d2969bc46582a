//! Reads the texts of /proc that tell one process, one mount and one cgroup hierarchy from another. Pure.

use std::path::{Path, PathBuf};

use process_exec::ProcessKey;

/// A process of one boot of this host: a pid alone is reused, a pid with its start time and boot is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    /// The process.
    pub(crate) process: ProcessKey,
    /// The boot that its start time counts from.
    pub(crate) boot_id: String,
}

/// Reads the file that the start script writes: the `/proc/<pid>/stat` line of the machine's process, then the boot id.
pub(crate) fn parse_process_file(text: &str) -> Option<ProcessIdentity> {
    let mut lines = text.lines();
    let process = parse_stat(lines.next()?)?;
    let boot_id = lines.next()?.trim();
    (boot_id.len() == 36).then(|| ProcessIdentity {
        process,
        boot_id: boot_id.to_owned(),
    })
}

/// The name in parentheses may hold anything, so the fields are counted from its end: the start time is field 22.
fn parse_stat(text: &str) -> Option<ProcessKey> {
    let (pid, rest) = text.split_once(" (")?;
    let (_, fields) = rest.rsplit_once(") ")?;
    let start_time = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(ProcessKey {
        pid: pid.trim().parse().ok()?,
        start_time,
    })
}

/// The pid that a process has in its innermost namespace, from `/proc/<pid>/status`.
pub(crate) fn innermost_pid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) target: PathBuf,
    /// The kind of file system.
    pub(crate) fs_type: String,
    /// What was mounted, as it was named.
    pub(crate) source: String,
    /// The file system's own options.
    pub(crate) options: String,
}

/// Reads `/proc/self/mountinfo`. Lines that are not of its form are left out.
pub(crate) fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let target = mount.split(' ').nth(4)?;
    let mut fields = file_system.splitn(3, ' ');
    Some(Mount {
        target: PathBuf::from(unescape(target)),
        fs_type: fields.next()?.to_owned(),
        source: unescape(fields.next()?),
        options: unescape(fields.next()?),
    })
}

/// Undoes the kernel's `\040` for a blank and its like.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'\\')
            .then(|| text.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The lower layers of an overlay mount; none of another kind of mount.
pub(crate) fn lower_layers(mount: &Mount) -> Vec<PathBuf> {
    let overlay = mount.fs_type == "overlay";
    let options = mount.options.split(',').filter(|_| overlay);
    let layers = options.filter_map(|option| option.strip_prefix("lowerdir="));
    layers.flat_map(|layers| layers.split(':')).map(PathBuf::from).collect()
}

/// The mounts at or below `path`, the innermost first: the order to unmount them in.
pub(crate) fn mounts_under<'a>(mounts: &'a [Mount], path: &Path) -> Vec<&'a Mount> {
    let mut under: Vec<_> = mounts.iter().filter(|mount| mount.target.starts_with(path)).collect();
    under.reverse();
    under
}

/// A cgroup hierarchy of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its root folder.
    pub(crate) root: PathBuf,
    /// Whether it holds the v1 `cpuset` controller, whose new groups are unusable until told their CPUs.
    pub(crate) cpuset: bool,
}

/// Every cgroup hierarchy, v1 and v2, that stands in a mount table.
pub(crate) fn hierarchies(mounts: &[Mount]) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mounts
        .iter()
        .filter(|mount| mount.fs_type == "cgroup" || mount.fs_type == "cgroup2")
    {
        if found.iter().any(|known| known.root == mount.target) {
            continue;
        }
        found.push(Hierarchy {
            root: mount.target.clone(),
            cpuset: mount.fs_type == "cgroup" && mount.options.split(',').any(|option| option == "cpuset"),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "6a5a5d5f-6d5c-4b8f-9c58-0b4bb1d6d6ae";

    #[test]
    fn a_process_is_told_by_pid_and_start_time_whatever_its_name() {
        let stat = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        let identity = parse_process_file(&format!("{stat}\n{BOOT}\n")).unwrap();
        assert_eq!(
            identity.process,
            ProcessKey {
                pid: 4711,
                start_time: 987_654
            }
        );
        assert_eq!(identity.boot_id, BOOT);
    }

    #[test]
    fn a_half_written_process_file_names_no_process() {
        let stat = "4711 (sh) R 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        for text in ["", stat, "4711 (sh\n", "4711 (sh) S 1\n", &format!("{stat}\n6a5a")] {
            assert_eq!(parse_process_file(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_first_process_of_a_machine_is_told_by_its_inner_pid() {
        assert_eq!(innermost_pid("Name:\tsystemd\nNSpid:\t4712\t1\n"), Some(1));
        assert_eq!(innermost_pid("Name:\tsystemd\nNSpid:\t4712\n"), Some(4712));
        assert_eq!(innermost_pid("Name:\tsystemd\n"), None);
    }

    const TABLE: &str = "\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset,clone_children
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
60 27 0:60 / /var/a\\040b/merged rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/var/a\\040b/upper,workdir=/w
61 60 0:61 / /var/a\\040b/merged/proc rw - proc proc rw
";

    #[test]
    fn mounts_are_undone_from_the_inside_out() {
        let mounts = parse_mountinfo(TABLE);
        let under = mounts_under(&mounts, Path::new("/var/a b"));
        let targets: Vec<_> = under.iter().map(|mount| mount.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/var/a b/merged/proc", "/var/a b/merged"]);
        assert!(under[1].options.contains("upperdir=/var/a b/upper"));
        assert!(mounts_under(&mounts, Path::new("/var/a")).is_empty());
    }

    #[test]
    fn every_cgroup_hierarchy_is_found_with_its_kind() {
        let found = hierarchies(&parse_mountinfo(TABLE));
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.root.to_str().unwrap(), one.cpuset))
            .collect();
        assert_eq!(
            told,
            [
                ("/sys/fs/cgroup/memory", false),
                ("/sys/fs/cgroup/cpuset", true),
                ("/sys/fs/cgroup/unified", false)
            ]
        );
    }
}
