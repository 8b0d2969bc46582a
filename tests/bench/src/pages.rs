//! How long the pages take that lists are on, in an installation that has been at work for a while.

use std::time::Instant;

use anyhow::Context;

use crate::caller::Caller;
use crate::local_server::LocalServer;
use crate::report::Row;
use crate::sample::Sample;
use crate::seed::{self, JOBS, NODES, SITES, Seeded};

/// How often each page is asked for, the first ones left out.
const ASKED: usize = 60;
const WARM_UP: usize = 3;

/// The median that no page should exceed, in milliseconds.
const AIM: f64 = 50.0;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let mut seeded = None;
    let server = LocalServer::start_with(|database| {
        seeded = Some(seed::fill(database)?);
        Ok(())
    })?;
    let seeded = seeded.context("nothing was seeded")?;
    let caller = server.caller()?;
    let rows = pages(&seeded)
        .into_iter()
        .map(|(name, path)| Ok(Row::new(name, "ms", times(&caller, &path)?.spread()).aim("median", AIM)))
        .collect::<anyhow::Result<Vec<_>>>();
    server.stop()?;
    rows
}

/// What is measured, by its name in the table.
fn pages(seeded: &Seeded) -> Vec<(String, String)> {
    let with = format!("{NODES} nodes, {SITES} sites, {JOBS} jobs");
    [
        ("GET /".to_owned(), "/".to_owned()),
        ("GET /nodes".to_owned(), "/nodes".to_owned()),
        (
            "GET /nodes, in the middle".to_owned(),
            format!("/nodes?cursor={}", seeded.middle_node),
        ),
        ("GET /nodes/{id}".to_owned(), format!("/nodes/{}", seeded.middle_node)),
        ("GET /sites".to_owned(), "/sites".to_owned()),
        ("GET /sites/{id}".to_owned(), format!("/sites/{}", seeded.middle_site)),
        ("GET /jobs".to_owned(), "/jobs".to_owned()),
        (
            "GET /jobs, in the middle".to_owned(),
            format!("/jobs?cursor={}", seeded.middle_job),
        ),
        ("GET /jobs?status=failed".to_owned(), "/jobs?status=failed".to_owned()),
        ("GET /jobs?status=running".to_owned(), "/jobs?status=running".to_owned()),
        (
            "GET /jobs?kind=env_restore".to_owned(),
            "/jobs?kind=env_restore".to_owned(),
        ),
        (
            "GET /jobs?node_id=".to_owned(),
            format!("/jobs?node_id={}", seeded.middle_node),
        ),
        ("GET /jobs/{id}".to_owned(), format!("/jobs/{}", seeded.middle_job)),
    ]
    .map(|(name, path)| (format!("{name}, {with}"), path))
    .into()
}

fn times(caller: &Caller, path: &str) -> anyhow::Result<Sample> {
    for _ in 0..WARM_UP {
        caller.get(path)?;
    }
    let mut took = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let begin = Instant::now();
        caller.get(path)?;
        took.push(begin.elapsed());
    }
    Ok(Sample::in_ms(took))
}
