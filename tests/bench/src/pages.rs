//! How long the pages take that lists are on, in an installation that has been at work for a while.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::caller::Caller;
use crate::local_server::LocalServer;
use crate::report::Row;
use crate::sample::Sample;
use crate::seed::{self, JOBS, LINES, NODES, RUNNING, SITES, Seeded};

/// How often each page is asked for, the first ones left out.
const ASKED: usize = 60;
const WARM_UP: usize = 3;

/// How long the jobs that run may take to begin.
const BEGIN: Duration = Duration::from_secs(30);

/// The median that no page should exceed, in milliseconds.
const AIM: f64 = 50.0;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let mut seeded = None;
    let server = LocalServer::start_with(RUNNING, |database| {
        seeded = Some(seed::fill(database)?);
        Ok(())
    })?;
    let seeded = seeded.context("nothing was seeded")?;
    let caller = server.caller()?;
    wait_for_running(&caller)?;
    let rows = pages(&seeded)
        .into_iter()
        .map(|(name, path)| Ok(Row::new(name, "ms", times(&caller, &path)?.spread()).aim("median", AIM)))
        .collect::<anyhow::Result<Vec<_>>>();
    server.stop()?;
    rows
}

/// Waits until every worker has its job.
fn wait_for_running(caller: &Caller) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let page = String::from_utf8(caller.get("/jobs?status=running")?)?;
        if page.matches("data-job-status=\"running\"").count() == RUNNING {
            return Ok(());
        }
        ensure!(begin.elapsed() < BEGIN, "the jobs that were seeded do not run");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What is measured, by its name in the table.
fn pages(seeded: &Seeded) -> Vec<(String, String)> {
    let with = format!("{NODES} nodes, {SITES} sites, {JOBS} jobs, {RUNNING} running");
    [
        ("GET /".to_owned(), "/".to_owned()),
        ("GET /nodes".to_owned(), "/nodes".to_owned()),
        (
            "GET /nodes, in the middle".to_owned(),
            format!("/nodes?cursor={}", seeded.middle_node),
        ),
        ("GET /nodes/{id}".to_owned(), format!("/nodes/{}", seeded.middle_node)),
        ("GET /sites".to_owned(), "/sites".to_owned()),
        ("GET /nodes?q=".to_owned(), "/nodes?q=9".to_owned()),
        (
            "GET /nodes?attention=true".to_owned(),
            "/nodes?attention=true".to_owned(),
        ),
        ("GET /sites?q=".to_owned(), "/sites?q=9".to_owned()),
        ("GET /sites?unsaved=true".to_owned(), "/sites?unsaved=true".to_owned()),
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
        (
            "GET /jobs?status=failed&node_id=".to_owned(),
            format!("/jobs?status=failed&node_id={}", seeded.middle_node),
        ),
        (
            "GET /jobs?status=succeeded&kind=site_create".to_owned(),
            "/jobs?status=succeeded&kind=site_create".to_owned(),
        ),
        ("GET /jobs/{id}".to_owned(), format!("/jobs/{}", seeded.middle_job)),
        (
            format!("GET /jobs/{{id}}, running, {LINES} lines"),
            format!("/jobs/{}", seeded.running_job),
        ),
        (
            format!("GET /jobs/{{id}}?q=, running, {LINES} lines"),
            format!("/jobs/{}?q=line+42", seeded.running_job),
        ),
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
