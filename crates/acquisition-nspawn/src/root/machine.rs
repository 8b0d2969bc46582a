//! The machine's process: started detached, found again by pid and start time, waited for, stopped.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use jobs::{StepContext, StepError};
use process_exec::{ProcessKey, boot_id, process_key};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncReadExt;

use super::host::Host;
use super::{cgroup, network};
use crate::failure::{Code, io_failed};
use crate::files::{Lock, read_if_there, remove_if_there, write_atomic};
use crate::names::MachineNames;
use crate::procfs::{innermost_pid, parse_process_file};
use crate::record::MachineFolder;

/// The script that becomes the machine.
const START_SCRIPT: &str = include_str!("start.sh");

/// How often a machine is looked at while it boots or stops.
const POLL: Duration = Duration::from_millis(50);

/// What nftables, databases and logs need inside beyond nspawn's own set.
const CAPABILITIES: &str = "--capability=CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_SYS_RESOURCE,CAP_SYSLOG";

/// The machine's process, if it is alive. A pid that was reused or is of another boot is not it.
pub(crate) fn running(code: Code, folder: &MachineFolder) -> Result<Option<ProcessKey>, StepError> {
    let path = folder.process();
    let text = read_if_there(&path).map_err(|error| io_failed(code, &path, &error))?;
    let Some(identity) = text.as_deref().and_then(parse_process_file) else {
        return Ok(None);
    };
    let boot = boot_id().map_err(|error| io_failed(code, Path::new("/proc"), &error))?;
    Ok((boot == identity.boot_id && is_alive(identity.process)).then_some(identity.process))
}

fn is_alive(process: ProcessKey) -> bool {
    process_key(process.pid) == Some(process)
}

/// The machine's first process as this host numbers it: the door to its namespaces. None until it is there.
pub(crate) fn leader(machine: ProcessKey) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children", pid = machine.pid)).ok()?;
    children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"));
            status.ok().as_deref().and_then(innermost_pid) == Some(1)
        })
}

/// Starts the machine. It belongs to nobody: it outlives the server and everything that the server ends.
pub(crate) async fn start(
    host: &Host,
    ctx: &StepContext,
    names: &MachineNames,
    folder: &MachineFolder,
) -> Result<(), StepError> {
    let code = Code::LocalAcquisitionFailed;
    forget_last_run(ctx, code, folder).await?;
    let instance = names.instance();
    let mut command = if managed_by_systemd() {
        unit_of_systemd(&instance)
    } else {
        Vec::new()
    };
    // By file: systemd-run would expand the `$` of a script among the arguments.
    let script = folder.path().join("start.sh");
    write_atomic(&script, START_SCRIPT.as_bytes(), 0o600).map_err(|error| io_failed(code, &script, &error))?;
    command.extend(["sh".to_owned(), script.to_string_lossy().into_owned()]);
    command.push(folder.path().to_string_lossy().into_owned());
    if !managed_by_systemd() {
        let groups = cgroup::create(&instance)?;
        command.extend(groups.iter().map(|group| group.to_string_lossy().into_owned()));
    }
    command.push("--".to_owned());
    command.extend(program(names, folder));
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    host.detach(code, &command, &folder.console()).await
}

/// Removes what the last run wrote, under the start script's own lock: a script that an earlier call started may be at it.
async fn forget_last_run(ctx: &StepContext, code: Code, folder: &MachineFolder) -> Result<(), StepError> {
    let _lock = Lock::file(ctx, code, &folder.path().join("start.lock")).await?;
    if running(code, folder)?.is_none() {
        for path in [folder.process(), folder.console()] {
            remove_if_there(&path).map_err(|error| io_failed(code, &path, &error))?;
        }
    }
    Ok(())
}

/// Whether systemd is this host's first process.
fn managed_by_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// On a host with systemd the machine gets a unit of its own, which brings its cgroup. (Not tested so far.)
fn unit_of_systemd(instance: &str) -> Vec<String> {
    let unit = format!("--unit={instance}");
    let words = [
        "systemd-run",
        "--quiet",
        "--collect",
        &unit,
        "-p",
        "Delegate=yes",
        "-p",
        "KillMode=mixed",
        "--",
    ];
    words.map(str::to_owned).to_vec()
}

fn program(names: &MachineNames, folder: &MachineFolder) -> Vec<String> {
    let words = [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        &format!("--machine={}", names.instance()),
        &format!("--directory={}", folder.merged().display()),
        "--boot",
        &format!("--network-namespace-path={}", network::namespace_path(names).display()),
        "--console=pipe",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        CAPABILITIES,
    ];
    words.map(str::to_owned).to_vec()
}

/// Waits until the machine has booted and its sshd answers at `address`.
pub(crate) async fn wait_until_up(
    host: &Host,
    ctx: &StepContext,
    folder: &MachineFolder,
    address: Ipv4Addr,
    limit: Duration,
) -> Result<(), StepError> {
    let mut seen = Seen::NotStarted;
    match watch_boot(host, &ctx.within(limit), folder, address, &mut seen).await {
        Err(StepError::DeadlineExceeded) => {
            // The machine's own limit is a failure of its own; the job's is not.
            ctx.check()?;
            Err(timed_out(host, ctx, folder, address, seen).await?)
        }
        other => other,
    }
}

/// How far a machine was seen to come.
#[derive(Debug, Clone, Copy)]
enum Seen {
    NotStarted,
    Started,
    Booted,
}

async fn watch_boot(
    host: &Host,
    ctx: &StepContext,
    folder: &MachineFolder,
    address: Ipv4Addr,
    seen: &mut Seen,
) -> Result<(), StepError> {
    loop {
        match life(folder)? {
            Life::Ended => return Err(died(ctx, folder).await),
            Life::ToBegin => {}
            Life::Running(machine) => {
                *seen = Seen::Started;
                if let Some(leader) = leader(machine)
                    && has_booted(host, ctx, leader).await?
                {
                    *seen = Seen::Booted;
                    if sshd_answers(address).await {
                        return Ok(());
                    }
                }
            }
        }
        ctx.sleep(POLL).await?;
    }
}

/// A machine that was told to start.
#[derive(Debug)]
enum Life {
    ToBegin,
    Running(ProcessKey),
    Ended,
}

/// Where it is. It leaves traces from its start on, so they are looked for before the machine is: one that starts between
/// the two looks has not ended.
fn life(folder: &MachineFolder) -> Result<Life, StepError> {
    let began = folder.process().exists() || fs::metadata(folder.console()).is_ok_and(|console| console.len() > 0);
    Ok(match running(Code::LocalAcquisitionFailed, folder)? {
        Some(machine) => Life::Running(machine),
        None if began => Life::Ended,
        None => Life::ToBegin,
    })
}

/// Asks the machine's own systemd. It counts as up even where a unit failed: sshd is asked by itself.
async fn has_booted(host: &Host, ctx: &StepContext, leader: u32) -> Result<bool, StepError> {
    let leader = leader.to_string();
    let answer = host
        .ask(ctx, &["nsenter", "-t", &leader, "-a", "systemctl", "is-system-running"])
        .await?;
    Ok(matches!(answer.trim(), "running" | "degraded"))
}

async fn sshd_answers(address: Ipv4Addr) -> bool {
    let greeting = async {
        let mut stream = tokio::net::TcpStream::connect((address, 22)).await?;
        let mut start = [0_u8; 4];
        stream.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(&start == b"SSH-")
    };
    matches!(
        tokio::time::timeout(Duration::from_secs(1), greeting).await,
        Ok(Ok(true))
    )
}

async fn died(ctx: &StepContext, folder: &MachineFolder) -> StepError {
    for line in fs::read_to_string(folder.console())
        .unwrap_or_default()
        .lines()
        .take(50)
    {
        ctx.output(jobs::LogStream::Stderr, line).await;
    }
    StepError::failed(
        Code::LocalAcquisitionFailed,
        "The machine ended while it booted; the job's log has its console.",
    )
}

async fn timed_out(
    host: &Host,
    ctx: &StepContext,
    folder: &MachineFolder,
    address: Ipv4Addr,
    seen: Seen,
) -> Result<StepError, StepError> {
    let leader = running(Code::LocalAcquisitionFailed, folder)?.and_then(leader);
    if let Some(leader) = leader {
        let leader = leader.to_string();
        let listing = host
            .ask(ctx, &["nsenter", "-t", &leader, "-n", "ip", "-4", "-o", "addr"])
            .await?;
        if !listing.contains(&format!(" {address}/")) {
            return Ok(StepError::failed(
                Code::LocalAddressMissing,
                format!("{address} is not on the machine"),
            ));
        }
    }
    let seen = match seen {
        Seen::NotStarted => "The machine's process was not there in time.",
        Seen::Started => "The machine's own system did not come up in time.",
        Seen::Booted => "The machine booted, but its sshd did not answer in time.",
    };
    Ok(StepError::failed(Code::LocalAcquisitionTimeout, seen))
}

/// How a machine was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It shut down by itself, or did not run.
    InOrder,
    /// It was killed.
    Killed,
}

/// Stops the machine: asks it to shut down, and kills it where it does not within `limit`.
pub(crate) async fn stop(
    ctx: &StepContext,
    code: Code,
    names: &MachineNames,
    folder: &MachineFolder,
    limit: Duration,
) -> Result<Stopped, StepError> {
    let mut stopped = Stopped::InOrder;
    if let Some(machine) = running(code, folder)? {
        // For nspawn a second TERM means at once: a shutdown that an earlier call asked for is waited for instead.
        if !was_told_to_stop(code, folder)? || !ended_within(ctx, machine, limit).await? {
            remember_stop(code, folder)?;
            signal(code, machine, Signal::TERM)?;
        }
        if !ended_within(ctx, machine, limit).await? {
            ctx.log("The machine does not shut down; it is killed.").await;
            signal(code, machine, Signal::KILL)?;
            stopped = Stopped::Killed;
        }
        if !ended_within(ctx, machine, limit).await? {
            return Err(StepError::failed(
                code,
                format!("process {} of the machine does not end", machine.pid),
            ));
        }
    }
    // A killed nspawn leaves all of the machine's processes; a start script may not have written down yet who it is.
    let instance = names.instance();
    let until = ctx.now().plus(limit);
    while cgroup::kill_members(code, &instance)? > 0 {
        if ctx.now() >= until {
            let left = cgroup::members(code, &instance)?;
            return Err(StepError::failed(
                code,
                format!("processes of the machine do not end: {left:?}"),
            ));
        }
        ctx.sleep(POLL).await?;
    }
    Ok(stopped)
}

/// Whether the machine that the folder tells of was told to shut down.
pub(crate) fn was_told_to_stop(code: Code, folder: &MachineFolder) -> Result<bool, StepError> {
    let read = |path: &Path| read_if_there(path).map_err(|error| io_failed(code, path, &error));
    let told = read(&folder.stopping())?;
    Ok(told.is_some() && told == read(&folder.process())?)
}

/// Written before the machine is told: should nothing have come of it, the next stop tells it after its limit.
fn remember_stop(code: Code, folder: &MachineFolder) -> Result<(), StepError> {
    let path = folder.process();
    let text = read_if_there(&path).map_err(|error| io_failed(code, &path, &error))?;
    let path = folder.stopping();
    write_atomic(&path, text.unwrap_or_default().as_bytes(), 0o600).map_err(|error| io_failed(code, &path, &error))
}

async fn ended_within(ctx: &StepContext, machine: ProcessKey, limit: Duration) -> Result<bool, StepError> {
    let until = ctx.now().plus(limit);
    while is_alive(machine) {
        if ctx.now() >= until {
            return Ok(false);
        }
        ctx.sleep(POLL).await?;
    }
    Ok(true)
}

/// Signals exactly this process: the descriptor is taken before it is checked, so a reused pid is never hit.
fn signal(code: Code, machine: ProcessKey, signal: Signal) -> Result<(), StepError> {
    let pid = i32::try_from(machine.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(()) };
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) if is_alive(machine) => pidfd_send_signal(&process, signal),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(StepError::failed(
            code,
            format!("process {} cannot be signalled: {error}", machine.pid),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_starts_while_it_is_looked_at_has_not_ended() {
        let data = tempfile::tempdir().unwrap();
        let folder = MachineFolder::new(data.path(), "pressluft-0123456789ab");
        fs::create_dir_all(folder.path()).unwrap();
        let ready = folder.path().join("process.new");
        for round in 0..500 {
            let stat = fs::read_to_string("/proc/self/stat").unwrap();
            fs::write(&ready, stat + &boot_id().unwrap() + "\n").unwrap();
            assert!(matches!(life(&folder), Ok(Life::ToBegin)), "round {round}");
            std::thread::scope(|threads| {
                threads.spawn(|| fs::rename(&ready, folder.process()).unwrap());
                loop {
                    match life(&folder).unwrap() {
                        Life::ToBegin => {}
                        Life::Running(machine) => break assert_eq!(machine.pid, std::process::id()),
                        Life::Ended => panic!("it is told to have ended in round {round}"),
                    }
                }
            });
            fs::remove_file(folder.process()).unwrap();
        }
    }

    #[test]
    fn a_machine_has_ended_where_it_left_a_trace_and_no_process() {
        let data = tempfile::tempdir().unwrap();
        let folder = MachineFolder::new(data.path(), "pressluft-0123456789ab");
        fs::create_dir_all(folder.path()).unwrap();
        fs::write(folder.console(), "").unwrap();
        assert!(matches!(life(&folder), Ok(Life::ToBegin)));
        fs::write(folder.console(), "cannot enter the cgroup\n").unwrap();
        assert!(matches!(life(&folder), Ok(Life::Ended)));
        fs::write(folder.console(), "").unwrap();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        fs::write(folder.process(), stat + "another boot\n").unwrap();
        assert!(matches!(life(&folder), Ok(Life::Ended)));
    }
}
