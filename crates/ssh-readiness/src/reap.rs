//! Finds and ends `ssh` masters by their control socket. A master outlives the command that started it by design, and a
//! server that died leaves its masters behind; they would end by themselves after a minute without use.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use process_exec::{ProcessKey, process_key};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long a master has to end after TERM before KILL, and then again for the kernel.
const GRACE: Duration = Duration::from_secs(2);

/// Ends, and waits for, every `ssh` with a control socket at `place`: a socket, or a folder of sockets. Returns how many
/// there were.
pub(crate) async fn end_masters(place: &Path) -> io::Result<usize> {
    let begin = Instant::now();
    let mut signal = Signal::TERM;
    let mut first = None;
    loop {
        let (place, now) = (place.to_owned(), signal);
        let scan = tokio::task::spawn_blocking(move || signal_masters(&place, now));
        let alive = scan.await.map_err(io::Error::other)??;
        let count = *first.get_or_insert(alive.len());
        if alive.is_empty() {
            return Ok(count);
        }
        if begin.elapsed() > GRACE * 2 {
            return Err(io::Error::other(format!("ssh could not be ended: {alive:?}")));
        }
        if begin.elapsed() > GRACE {
            signal = Signal::KILL;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn signal_masters(place: &Path, signal: Signal) -> io::Result<Vec<u32>> {
    let mut alive = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(process) = process_key(pid).filter(|_| is_master(pid, place)) else {
            continue;
        };
        if send(process, place, signal)? {
            alive.push(pid);
        }
    }
    Ok(alive)
}

/// Whether a process is `ssh` with a control socket at `place`. While it connects the socket is in its arguments; later
/// its title is `ssh: <socket> [mux]`. Processes may end between any two reads, and then are none.
fn is_master(pid: u32, place: &Path) -> bool {
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The kernel adds ` (deleted)` when the program was replaced by an upgrade.
    if name.split(' ').next() != Some("ssh") {
        return false;
    }
    let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let place = place.as_os_str().as_encoded_bytes();
    arguments.windows(place.len()).any(|window| window == place)
}

/// Signals a process if it still is the one meant; returns whether it was alive.
fn send(process: ProcessKey, place: &Path, signal: Signal) -> io::Result<bool> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(false);
    };
    // The handle stands for one process for ever: what is true of it now stays true of what is signalled.
    if process_key(process.pid) != Some(process) || !is_master(process.pid, place) {
        return Ok(false);
    }
    match pidfd_send_signal(&handle, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
