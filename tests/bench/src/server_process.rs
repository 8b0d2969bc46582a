//! The server as a process: how soon it answers, and what it takes while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Context;
use e2e::{Installation, Server};

use crate::report::Row;
use crate::sample::Sample;

/// How often it is started.
const STARTS: usize = 20;
/// The pause between two looks at its memory, how many must agree, and how many there are at most.
const LOOK: Duration = Duration::from_millis(250);
const AGREEING: usize = 8;
const MOST_LOOKS: usize = 120;
/// Lists that are asked for before the second look at its memory.
const LISTS: usize = 100;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let installation = Installation::new();
    let (server, first) = start(&installation)?;
    server.stop();
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 1..STARTS {
        let (server, took) = start(&installation)?;
        server.stop();
        starts.push(took);
    }
    let (server, took) = start(&installation)?;
    starts.push(took);
    let idle = settled(&server)?;
    let client = server.client();
    for _ in 0..LISTS {
        client.get("/api/nodes");
    }
    let used = settled(&server)?;
    server.stop();
    let starts = Sample::in_ms(starts);
    Ok(vec![
        Row::new(
            "start-up: process to /readyz",
            "ms",
            vec![
                ("min", starts.min()),
                ("median", starts.median()),
                ("max", starts.max()),
            ],
        )
        .aim("median", 150.0),
        Row::new(
            "start-up, first in a data directory",
            "ms",
            vec![("", first.as_secs_f64() * 1000.0)],
        )
        .note("makes database, keys and login"),
        Row::new("memory when idle (RSS)", "MB", vec![("", idle)]).aim("", 30.0),
        Row::new("memory when idle after a login and 100 lists", "MB", vec![("", used)]),
    ])
}

/// Starts the server and waits until it says that it is ready: the time from before its process was made.
fn start(installation: &Installation) -> anyhow::Result<(Server, Duration)> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let begin = Instant::now();
    let server = installation.start();
    // It says where it listens before it answers; until then the request waits.
    let answer = agent.get(format!("{}/readyz", server.url)).call()?;
    let took = begin.elapsed();
    anyhow::ensure!(answer.status() == 200, "/readyz was answered {}", answer.status());
    Ok((server, took))
}

/// Its resident memory in MB (1,000,000 bytes) as soon as that stands still.
fn settled(server: &Server) -> anyhow::Result<f64> {
    let mut seen = vec![resident(server)?];
    while seen.len() < MOST_LOOKS {
        std::thread::sleep(LOOK);
        seen.push(resident(server)?);
        let last = &seen[seen.len().saturating_sub(AGREEING)..];
        if last.len() == AGREEING && last.iter().all(|value| *value == last[0]) {
            break;
        }
    }
    seen.last().copied().context("no look at the server's memory")
}

fn resident(server: &Server) -> anyhow::Result<f64> {
    let path = format!("/proc/{}/status", server.pid());
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: f64 = kib.context("no VmRSS")?.trim().parse()?;
    Ok(kib * 1024.0 / 1_000_000.0)
}
