//! One cgroup per machine in every hierarchy of a host that no systemd manages. Without it several machines share one
//! group: stopping takes long, and `systemctl status` inside fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jobs::StepError;
use rustix::process::{Pid, Signal, kill_process};

use super::mounts;
use crate::failure::{Code, io_failed};
use crate::files::absent_is_fine;
use crate::procfs::{Hierarchy, hierarchies};

fn all(code: Code) -> Result<Vec<Hierarchy>, StepError> {
    Ok(hierarchies(&mounts::table(code)?))
}

/// Makes the machine's groups and says where they are.
pub(crate) fn create(instance: &str) -> Result<Vec<PathBuf>, StepError> {
    let code = Code::LocalAcquisitionFailed;
    let mut groups = Vec::new();
    for hierarchy in all(code)? {
        let group = hierarchy.root.join(instance);
        make(&hierarchy, &group).map_err(|error| io_failed(code, &group, &error))?;
        groups.push(group);
    }
    Ok(groups)
}

fn make(hierarchy: &Hierarchy, group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if hierarchy.cpuset {
        // A v1 cpuset takes no process before it knows its CPUs and memory nodes.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let value = fs::read_to_string(hierarchy.root.join(file))?;
            fs::write(group.join(file), value)?;
        }
    }
    Ok(())
}

/// The machine's groups that exist.
pub(crate) fn existing(code: Code, instance: &str) -> Result<Vec<PathBuf>, StepError> {
    let groups = all(code)?.into_iter().map(|hierarchy| hierarchy.root.join(instance));
    Ok(groups.filter(|group| group.exists()).collect())
}

/// The processes in the machine's groups and below.
pub(crate) fn members(code: Code, instance: &str) -> Result<Vec<i32>, StepError> {
    let mut pids = Vec::new();
    for group in existing(code, instance)? {
        for folder in tree(&group) {
            // A group may vanish while it is read.
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Kills whatever is left in the machine's groups. Says how many there were.
pub(crate) fn kill_members(code: Code, instance: &str) -> Result<usize, StepError> {
    let pids = members(code, instance)?;
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => {
                return Err(StepError::failed(
                    code,
                    format!("process {pid:?} cannot be killed: {error}"),
                ));
            }
        }
    }
    Ok(pids.len())
}

/// Removes the machine's groups, the innermost first.
pub(crate) fn remove(instance: &str) -> Result<(), StepError> {
    let code = Code::NodeReleaseFailed;
    for group in existing(code, instance)? {
        for folder in tree(&group) {
            absent_is_fine(fs::remove_dir(&folder)).map_err(|error| io_failed(code, &folder, &error))?;
        }
    }
    Ok(())
}

/// The group and all below it, the innermost first.
fn tree(group: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(entries) = fs::read_dir(group) {
        for entry in entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            folders.extend(tree(&entry.path()));
        }
    }
    folders.push(group.to_path_buf());
    folders
}
