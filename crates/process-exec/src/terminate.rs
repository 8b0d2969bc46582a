//! Ends a process with all its descendants.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::proc_table::{ProcessKey, family, process_key};

/// How long processes have to end after TERM before KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How long to wait for the kernel after KILL.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// Sends a signal to every member of the family and returns who was alive.
pub(crate) fn signal_family(mark: &str, root: Option<ProcessKey>, signal: Signal) -> io::Result<Vec<u32>> {
    let members = family(mark, root)?;
    for member in &members {
        send(*member, signal)?;
    }
    Ok(members.into_iter().map(|member| member.pid).collect())
}

fn send(process: ProcessKey, signal: Signal) -> io::Result<()> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return Ok(());
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(());
    };
    // The handle now stands for one process; only where that is still the one meant is it signalled.
    if process_key(process.pid) != Some(process) {
        return Ok(());
    }
    match pidfd_send_signal(&handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// TERM, a grace of 5 s, then KILL, until none of the family is left. Returns those that are left all the same.
pub(crate) async fn end_family(mark: &str, root: Option<ProcessKey>, grace: Duration) -> io::Result<Vec<u32>> {
    let begin = Instant::now();
    let mut signal = Signal::TERM;
    loop {
        let (mark, now) = (mark.to_owned(), signal);
        let scan = tokio::task::spawn_blocking(move || signal_family(&mark, root, now));
        let alive = scan.await.map_err(io::Error::other)??;
        let elapsed = begin.elapsed();
        if alive.is_empty() || elapsed > grace + AFTER_KILL {
            return Ok(alive);
        }
        if elapsed >= grace {
            signal = Signal::KILL;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
