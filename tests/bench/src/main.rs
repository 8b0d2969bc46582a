//! Measures what users wait for, and prints one table. `scripts/bench` builds and starts it; docs/testing.md tells more.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a table is what it is for, and it looks at processes from outside, in its own time"
)]

mod bare_machine;
mod caller;
mod events;
mod http;
mod local_server;
mod nodes;
mod pages;
mod queue;
mod report;
mod sample;
mod seed;
mod server_process;
mod shell;
mod sites;

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::report::{Machine, Row, Table};

/// Measures Pressluft and prints a table: metric, aim, measured, ratio to the floor.
#[derive(Parser)]
#[command(name = "bench", disable_help_subcommand = true)]
struct Cli {
    /// Print the table as JSON, for programs
    #[arg(long)]
    json: bool,
    /// Measure this part only: queue, http, pages, events, server, nodes or sites
    #[arg(long, value_name = "NAME", value_parser = parse_part)]
    only: Option<&'static Part>,
}

/// What is measured together.
struct Part {
    name: &'static str,
    run: fn() -> anyhow::Result<Vec<Row>>,
}

static PARTS: [Part; 7] = [
    Part {
        name: "queue",
        run: queue::run,
    },
    Part {
        name: "http",
        run: http::run,
    },
    Part {
        name: "pages",
        run: pages::run,
    },
    Part {
        name: "events",
        run: events::run,
    },
    Part {
        name: "server",
        run: server_process::run,
    },
    Part {
        name: "nodes",
        run: nodes::run,
    },
    Part {
        name: "sites",
        run: sites::run,
    },
];

fn parse_part(name: &str) -> Result<&'static Part, String> {
    let known = PARTS.iter().find(|part| part.name == name);
    known.ok_or_else(|| format!("expected one of: {}", PARTS.each_ref().map(|part| part.name).join(", ")))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match measure(cli.only, cli.json) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every part went well. What could not run here is no failure.
fn measure(only: Option<&Part>, json: bool) -> anyhow::Result<bool> {
    let interrupted = watch_signals()?;
    let mut table = Table::new(Machine::look()?);
    for part in PARTS
        .iter()
        .filter(|part| only.is_none_or(|only| only.name == part.name))
    {
        if interrupted.load(Ordering::SeqCst) {
            table.add([Row::not_run(part.name, "interrupted")]);
            continue;
        }
        eprintln!("bench: {}", part.name);
        match outcome_of(part) {
            Ok(rows) => table.add(rows),
            Err(error) => table.add([Row::failed(part.name, &format!("{error:#}"))]),
        }
    }
    let well = table.is_well() && !interrupted.load(Ordering::SeqCst);
    let table = table.finished(Machine::look()?);
    if json {
        println!("{}", table.as_json());
    } else {
        print!("{}", table.as_text());
    }
    Ok(well)
}

/// On a thread of its own: the helpers of the tests fail by panicking, and clean up while they do.
fn outcome_of(part: &'static Part) -> anyhow::Result<Vec<Row>> {
    match std::thread::spawn(part.run).join() {
        Ok(outcome) => outcome,
        Err(panic) => match panic.downcast::<String>() {
            Ok(text) => Err(anyhow!("{text}")),
            Err(panic) => match panic.downcast::<&str>() {
                Ok(text) => Err(anyhow!("{text}")),
                Err(panic) => resume_unwind(panic),
            },
        },
    }
}

/// An interrupt ends no part half-way, because machines would be left: it is told, and nothing more begins. From a terminal
/// the part's server hears it too and ends, so the part fails soon and cleans up.
fn watch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&interrupted);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let watch = async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            eprintln!("bench: interrupted; what has begun is cleaned up first");
            seen.store(true, Ordering::SeqCst);
        }
    };
    let watcher = std::thread::Builder::new().name("signals".to_owned());
    watcher
        .spawn(move || runtime.block_on(watch))
        .context("signals cannot be watched")?;
    Ok(interrupted)
}
