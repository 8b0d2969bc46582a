//! Real nodes of the real server: from the bare image, again, and from the image that the first one left in the cache;
//! beside the first one the floor, the same packages by a shell.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use domain_kernel::Timestamp;
use e2e::{Client, Installation, Machine, left_of_node};
use serde_json::Value;

use crate::bare_machine::{self, BareMachine};
use crate::report::Row;
use crate::sample::Sample;

/// How long a job may take.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Nodes that are made from the image.
const NODES: usize = 5;
/// How often a node that is up to date is provisioned again.
const AGAIN: usize = 3;

/// Every installed package, one a line.
const PACKAGES: &str = "dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' | sed -n 's/^ii *//p'";

const FROM_IMAGE: &str = "local node from the cached image to active";

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    // Machines are overlay mounts: their folder may not be one itself, as a temporary folder in memory could be. The cache
    // is one of its own, so that nothing is left in the user's.
    let folder = tempfile::Builder::new().prefix("pl-bench-").tempdir_in("/var/tmp")?;
    if let Some(reason) = bare_machine::missing(folder.path())? {
        return Ok(vec![
            Row::not_run(FROM_IMAGE, &reason),
            Row::not_run("provisioning", &reason),
        ]);
    }
    let cache = folder.path().join("cache");
    eprintln!("bench: making a base image and a bare machine");
    let bare = BareMachine::acquire(&folder.path().join("bare"), &cache)?;
    measure(bare, &cache)
}

/// One machine at a time: each is given back before the next one is made.
fn measure(bare: BareMachine, cache: &Path) -> anyhow::Result<Vec<Row>> {
    // The roles are a copy: what is edited meanwhile changes nothing half-way.
    let installation = Installation::new()
        .with_own_roles()
        .with("CACHE_DIR", &cache.display().to_string());
    let server = installation.start();
    let client = server.client();
    let data_dir = installation.data_dir();

    eprintln!("bench: provisioning a node from the bare image");
    let (first, done) = made(&client)?;
    let provision = step(&done, "provision")?;
    let from_base = total(&done)?;
    let kept = detail(&done, "keep_image");

    eprintln!("bench: the same packages by a shell");
    let packages = Machine::of(&data_dir, &first).run(PACKAGES);
    let (floor, count) = floor(&bare, &packages)?;
    drop(bare);

    eprintln!("bench: provisioning again");
    let mut again = Vec::new();
    let mut changes = BTreeSet::new();
    for _ in 0..AGAIN {
        let job = client.expect(202, "POST", &format!("/api/nodes/{first}/provision"), None);
        let done = client.success_of(text(&job["job_id"])?, LIMIT);
        again.push(step(&done, "provision")?);
        changes.insert(detail(&done, "provision"));
    }

    give_back(&client, &data_dir, &first)?;

    let mut rows = from_image(&client, &data_dir, &done, &kept)?;
    rows.push(
        Row::new("provisioning from the bare image", "s", vec![("", provision)])
            .ratio_to_floor(provision / floor)
            .note(format!("whole job {from_base:.1} s")),
    );
    rows.push(
        Row::new(
            "floor: the same packages by one apt-get over SSH",
            "s",
            vec![("", floor)],
        )
        .note(format!("{count} packages")),
    );
    let changes: Vec<_> = changes.into_iter().collect();
    rows.push(
        seconds("provisioning again, nothing to change", again)
            .aim("median", 3.0)
            .note(changes.join("; ")),
    );

    server.stop();
    Ok(rows)
}

/// A node of the server, and its job when it had ended well.
pub(crate) fn made(client: &Client) -> anyhow::Result<(String, Value)> {
    let (node, job) = client.create_local_node();
    let done = client.success_of(&job, LIMIT);
    let status = client.node(&node)["status"].clone();
    ensure!(status == "active", "the node is {status}");
    Ok((node, done))
}

/// Makes nodes from the image that the first one left; where it left none, tells the first one's own time.
fn from_image(client: &Client, data_dir: &Path, first: &Value, kept: &str) -> anyhow::Result<Vec<Row>> {
    let mut jobs = Vec::new();
    let mut note = String::new();
    if kept == "kept for the next node" {
        eprintln!("bench: making nodes from the image of the first one");
        for _ in 0..NODES {
            let (node, done) = made(client)?;
            jobs.push(done);
            give_back(client, data_dir, &node)?;
        }
    } else {
        note = format!("from the base image, no runtime image was kept: {kept:?}");
        jobs.push(first.clone());
    }
    let totals = jobs.iter().map(total).collect::<anyhow::Result<Vec<_>>>()?;
    let mut whole = seconds(FROM_IMAGE, totals).aim("median", 3.0);
    if !note.is_empty() {
        whole = whole.note(note);
    }
    let mut rows = vec![whole];
    let steps = jobs[0]["steps"].as_array().context("a job without steps")?;
    for name in steps.iter().map(|step| text(&step["name"])) {
        let name = name?;
        let took = jobs
            .iter()
            .map(|job| step(job, name))
            .collect::<anyhow::Result<Vec<_>>>()?;
        rows.push(seconds(format!("  step {name}"), took));
    }
    Ok(rows)
}

/// Installs on the bare machine what the provisioned one has and it has not: the seconds, and how many packages.
fn floor(bare: &BareMachine, wanted: &str) -> anyhow::Result<(f64, usize)> {
    let (present, _) = bare.run(PACKAGES, Duration::from_secs(30))?;
    let present: BTreeSet<&str> = present.lines().collect();
    let missing: Vec<&str> = wanted.lines().filter(|name| !present.contains(name)).collect();
    ensure!(!missing.is_empty(), "provisioning installed nothing");
    let script = format!(
        "export DEBIAN_FRONTEND=noninteractive\napt-get -q update >/dev/null\n\
         apt-get -q -y --no-install-recommends install {} >/dev/null\n",
        missing.join(" ")
    );
    let (_, took) = bare.run(&script, LIMIT)?;
    Ok((took.as_secs_f64(), missing.len()))
}

/// Gives a node back, which must leave nothing of its machine.
pub(crate) fn give_back(client: &Client, data_dir: &Path, node: &str) -> anyhow::Result<()> {
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(text(&gone["job_id"])?, LIMIT);
    let left = left_of_node(data_dir, node);
    ensure!(left.is_empty(), "left of a node: {left:?}");
    Ok(())
}

pub(crate) fn seconds(metric: impl Into<String>, took: Vec<f64>) -> Row {
    let sample = Sample::new(took);
    let values = vec![
        ("min", sample.min()),
        ("median", sample.median()),
        ("max", sample.max()),
    ];
    Row::new(metric, "s", values)
}

/// From its acceptance to its end, which is when the node is active.
pub(crate) fn total(job: &Value) -> anyhow::Result<f64> {
    between(&job["created_at"], &job["finished_at"])
}

pub(crate) fn step(job: &Value, name: &str) -> anyhow::Result<f64> {
    let step = found(job, name).with_context(|| format!("no step {name}"))?;
    between(&step["started_at"], &step["finished_at"])
}

/// A step's line for the operator; empty where there is none.
fn detail(job: &Value, name: &str) -> String {
    let detail = found(job, name).and_then(|step| step["detail"].as_str());
    detail.unwrap_or_default().to_owned()
}

fn found<'a>(job: &'a Value, name: &str) -> Option<&'a Value> {
    job["steps"].as_array()?.iter().find(|step| step["name"] == name)
}

fn between(begin: &Value, end: &Value) -> anyhow::Result<f64> {
    let moment = |value: &Value| anyhow::Ok(Timestamp::parse(text(value)?)?);
    Ok(moment(end)?.since(moment(begin)?).as_secs_f64())
}

pub(crate) fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().with_context(|| format!("not a text: {value}"))
}
