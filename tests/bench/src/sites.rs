//! Sites on a real node: creation, clone, backup and restore, each beside its floor, the same work by a shell as root on the same
//! node (`tests/bench/floors`), taken in turns.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::{Client, Environment, Installation, Machine};
use serde_json::{Value, json};

use crate::bare_machine;
use crate::nodes::{give_back, made, seconds, step, text, total};
use crate::report::Row;
use crate::sample::Sample;
use crate::shell::Shell;

/// How often each is measured.
const ROUNDS: usize = 6;
/// How long a job may take; the first one fetches WordPress.
const LIMIT: Duration = Duration::from_secs(15 * 60);

const ARTIFACTS: &str = "/var/lib/pressluft/artifacts";

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::Builder::new().prefix("pl-bench-").tempdir_in("/var/tmp")?;
    if let Some(reason) = bare_machine::missing(folder.path())? {
        return Ok(vec![Row::not_run("sites", &reason)]);
    }
    // The cache is one of its own, so that nothing is left in the user's. The roles are a copy: what is edited meanwhile changes
    // nothing half-way.
    let cache = folder.path().join("cache");
    let installation = Installation::new()
        .with_own_roles()
        .with("CACHE_DIR", &cache.display().to_string());
    let server = installation.start();
    let client = server.client();
    eprintln!("bench: provisioning a node");
    let (node, _) = made(&client)?;

    eprintln!("bench: a first site, which fetches WordPress");
    let first = asked(&client, "/api/sites", json!({"name": "first", "slug": "first"}))?;
    let rows = measure(&client, &installation.data_dir(), &node, folder.path(), &first)?;

    for site in items(&client.get("/api/sites?limit=100"))? {
        let path = format!("/api/sites/{}", text(&site["id"])?);
        let gone = client.expect(202, "DELETE", &path, Some(json!({"confirm": site["slug"]})));
        client.success_of(text(&gone["job_id"])?, LIMIT);
    }
    give_back(&client, &installation.data_dir(), &node)?;
    server.stop();
    Ok(rows)
}

/// Which of the two is timed first.
#[derive(Clone, Copy)]
enum Order {
    FloorFirst,
    OursFirst,
}

impl Order {
    fn of(round: usize) -> Self {
        if round.is_multiple_of(2) {
            Self::FloorFirst
        } else {
            Self::OursFirst
        }
    }

    fn both<F, O>(
        self,
        floor: impl FnOnce() -> anyhow::Result<F>,
        ours: impl FnOnce() -> anyhow::Result<O>,
    ) -> anyhow::Result<(F, O)> {
        match self {
            Self::FloorFirst => {
                let floor = floor()?;
                Ok((floor, ours()?))
            }
            Self::OursFirst => {
                let ours = ours()?;
                Ok((floor()?, ours))
            }
        }
    }
}

/// Seconds of the product and of its floor.
#[derive(Default)]
struct Pair {
    ours: Vec<f64>,
    floor: Vec<f64>,
}

impl Pair {
    fn add(&mut self, ours: f64, floor: Duration) {
        self.ours.push(ours);
        self.floor.push(floor.as_secs_f64());
    }

    /// A row with the ratio of the medians, and one of the floor.
    fn rows(self, metric: &str, most: f64, floor: &str) -> [Row; 2] {
        let ratio = ratio(&self.ours, &self.floor);
        [
            seconds(metric, self.ours).at_most_over_floor(ratio, most),
            seconds(format!("floor: {floor}"), self.floor),
        ]
    }
}

fn ratio(ours: &[f64], floor: &[f64]) -> f64 {
    let median = |values: &[f64]| Sample::new(values.to_vec()).median();
    median(ours) / median(floor)
}

fn measure(client: &Client, data_dir: &Path, node: &str, folder: &Path, first: &Value) -> anyhow::Result<Vec<Row>> {
    let shell = Shell::open(data_dir, node)?;
    let machine = Machine::of(data_dir, node);
    let tar = machine.run(&format!("ls {ARTIFACTS}/*.tar"));
    let (tar, cli) = (tar.trim(), format!("{ARTIFACTS}/wp-cli.phar"));
    let (mut site, mut clone, mut backup, mut restore) =
        (Pair::default(), Pair::default(), Pair::default(), Pair::default());
    let mut without_checkpoint = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("bench: sites, round {} of {ROUNDS}", round + 1);
        let (name, copy) = (format!("floorsite{round}"), format!("floorcopy{round}"));
        let (host, copy_host) = (format!("{name}.test"), format!("{copy}.test"));
        let script = |script: &str, arguments: &[&str]| {
            let ran = shell.run(script, arguments, Stdio::null(), Stdio::null());
            ran.map(|ran| ran.took)
        };

        // What the one has written may still be on its way to the disk while the other is timed: each goes first by turns.
        let order = Order::of(round);
        let slug = format!("site-{round}");
        let (floor, job) = order.both(
            || script(include_str!("../floors/site.sh"), &[&name, &host, tar, &cli]),
            || asked(client, "/api/sites", json!({"name": slug, "slug": slug})),
        )?;
        site.add(total(&job)?, floor);
        let made = Environment::seen(client, text(&job["environment_id"])?);

        let body = json!({"name": "copy", "slug": "copy", "type": "clone", "source_environment_id": made.id});
        let (floor, job) = order.both(
            || {
                script(
                    include_str!("../floors/clone.sh"),
                    &[&name, &host, &copy, &copy_host, &cli],
                )
            },
            || asked(client, &format!("/api/sites/{}/environments", made.site), body),
        )?;
        clone.add(total(&job)?, floor);

        let archive = folder.join("archive");
        let path = format!("/api/environments/{}/backups", made.id);
        let ((floor, sum), job) = order.both(
            || back_up(&shell, &name, &archive),
            || asked(client, &path, json!({"backup_scope": "full"})),
        )?;
        backup.add(total(&job)?, floor);

        let path = format!("/api/environments/{}/restore", made.id);
        let (floor, job) = order.both(
            || bring_back(&shell, &name, &host, &archive, &sum),
            || asked(client, &path, json!({"backup_id": job["backup_id"]})),
        )?;
        restore.add(total(&job)?, floor);
        without_checkpoint.push(total(&job)? - step(&job, "checkpoint")?);
    }
    let alone = ratio(&without_checkpoint, &restore.floor);
    let mut rows = Vec::new();
    rows.push(seconds("site with its artifacts fetched and sent", vec![total(first)?]));
    rows.extend(site.rows("site creation", 2.0, "a site by a shell"));
    rows.extend(clone.rows("clone of a fresh site", 1.5, "a clone by a shell"));
    rows.extend(backup.rows(
        "backup of a fresh site",
        1.5,
        "a backup by a shell, streamed off the node",
    ));
    rows.extend(restore.rows("restore of a fresh site", 1.5, "a restore by a shell, sent to the node"));
    rows.push(
        seconds("  the same without its checkpoint backup", without_checkpoint)
            .at_most_over_floor(alone, 1.5)
            .note("the floor takes none"),
    );
    Ok(rows)
}

/// Asks for something of sites and waits for its job, which must end well.
fn asked(client: &Client, path: &str, body: Value) -> anyhow::Result<Value> {
    let accepted = client.expect(202, "POST", path, Some(body));
    Ok(client.success_of(text(&accepted["job_id"])?, LIMIT))
}

fn items(list: &Value) -> anyhow::Result<&Vec<Value>> {
    list["items"].as_array().context("a list without items")
}

/// Streams a backup of a floor's site into a file, hashed on both ends: how long that took, and the hash.
fn back_up(shell: &Shell, name: &str, archive: &Path) -> anyhow::Result<(Duration, String)> {
    let begin = Instant::now();
    let mut local = Command::new("sh")
        .args(["-c", "tee -- \"$0\" | sha256sum"])
        .arg(archive)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let input = local.stdin.take().context("no pipe")?;
    let ran = shell.run(
        include_str!("../floors/backup.sh"),
        &[name],
        Stdio::null(),
        Stdio::from(input),
    )?;
    let output = local.wait_with_output()?;
    let took = begin.elapsed();
    let sum = ran.errors.trim().to_owned();
    let here = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && sum.len() == 64 && here.starts_with(&sum),
        "the hashes differ: {sum:?} on the node, {here:?} here"
    );
    Ok((took, sum))
}

/// Brings a floor's site back from a file.
fn bring_back(shell: &Shell, name: &str, host: &str, archive: &Path, sum: &str) -> anyhow::Result<Duration> {
    let script = include_str!("../floors/restore.sh");
    let input = Stdio::from(File::open(archive)?);
    Ok(shell.run(script, &[name, host, sum], input, Stdio::null())?.took)
}
