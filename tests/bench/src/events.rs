//! How soon a client of the event stream is told what happened.

use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use anyhow::Context;
use domain_kernel::{Clock, Timestamp};
use process_exec::SystemClock;
use serde_json::Value;

use crate::local_server::LocalServer;
use crate::report::Row;
use crate::sample::Sample;

/// How many events are waited for, one after the other.
const EVENTS: usize = 300;
/// How long each may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An event as it arrived.
struct Arrival {
    node_id: String,
    took: Duration,
}

/// From an event's own moment, which is taken just before it is written and committed, to its arrival.
pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let server = LocalServer::start()?;
    let caller = server.caller()?;
    let lines = caller.another().follow_events()?;
    let (sender, arrivals) = mpsc::channel();
    let reader = std::thread::spawn(move || read(lines, &sender));
    let mut took = Vec::with_capacity(EVENTS);
    for _ in 0..EVENTS {
        let node_id = caller.create_node()?;
        loop {
            let arrival: Arrival = arrivals.recv_timeout(LIMIT).context("an event did not arrive")?;
            if arrival.node_id == node_id {
                took.push(arrival.took);
                break;
            }
        }
    }
    server.stop()?;
    // The stream ends with the server.
    let read = reader.join();
    read.map_err(|_| anyhow::anyhow!("the reader of the stream panicked"))??;
    let row = Row::new("event: written to arrived by SSE", "ms", Sample::in_ms(took).spread());
    Ok(vec![row.note("its commit included")])
}

fn read(lines: impl Iterator<Item = std::io::Result<String>>, sender: &Sender<Arrival>) -> anyhow::Result<()> {
    for line in lines {
        let line = line?;
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let now = SystemClock.now();
        let event: Value = serde_json::from_str(data)?;
        let at = Timestamp::parse(event["at"].as_str().context("an event without its moment")?)?;
        let arrival = Arrival {
            node_id: event["node_id"].as_str().unwrap_or_default().to_owned(),
            took: now.since(at),
        };
        if sender.send(arrival).is_err() {
            break;
        }
    }
    Ok(())
}
