//! Fills a database as a few busy days would have: nodes, sites with backups, jobs that ended in every way, and some that the
//! server goes on with. It is written
//! through the stores, in a folder in memory, and put in its place when it is whole.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use domain_kernel::{BackupId, Clock, EnvironmentId, JobErrorCode, JobId, NodeId, SiteId, Timestamp};
use jobs::{Claim, Failure, JobKind, JobStore, LogStream, NewEvent, NewJob, Outcome, StepStatus, WorkerId};
use nodes_domain::{
    AcquisitionSource, CheckEvidence, NewNode, NodeChange, NodeName, NodeStatus, NodeStore, NodeTarget, ProbeFacts,
    ProbeResult, ProviderId, readiness,
};
use persistence_diesel::Database;
use process_exec::SystemClock;
use sites_domain::{
    BackupChange, BackupScope, BackupStatus, BackupTrigger, Change, EnvironmentStatus, EnvironmentType, NewBackup,
    NewEnvironment, NewSite, SiteStatus, SiteStore, StorageId, StoredObject, preview_url,
};

pub(crate) const NODES: usize = 1000;
pub(crate) const SITES: usize = 500;
pub(crate) const JOBS: usize = 20_000;

/// The newest jobs have steps and a log: those that a page shows.
const WITH_STEPS: usize = 1000;

/// Jobs that the server finds waiting, and runs.
pub(crate) const RUNNING: usize = 4;

/// Lines that the first of them has told already.
pub(crate) const LINES: usize = 5000;

/// From one job to the next: they fill somewhat less than a week.
const PAUSE: Duration = Duration::from_secs(26);

/// How long a step takes.
const STEP: Duration = Duration::from_secs(1);

/// Things in the middle of their lists.
pub(crate) struct Seeded {
    pub(crate) middle_node: NodeId,
    pub(crate) middle_site: SiteId,
    pub(crate) middle_job: JobId,
    pub(crate) running_job: JobId,
}

/// Writes a database to a path at which there is none.
pub(crate) fn fill(database: &Path) -> anyhow::Result<Seeded> {
    // Every job is several commits: on a disk each of them waits for it.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory } else { Path::new("/var/tmp") };
    let folder = tempfile::Builder::new().prefix("pl-bench-seed-").tempdir_in(parent)?;
    let made = folder.path().join("seed.sqlite");
    // No job may be due later than now.
    let took = PAUSE * (JOBS + RUNNING) as u32 + STEP * (3 * WITH_STEPS + 1) as u32;
    let clock = Arc::new(StoodClock::new(SystemClock.now().minus(took)));
    let store = Database::open(&format!("sqlite:{}", made.display()), clock.clone())?;
    store.migrate()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seeded = runtime.block_on(Seed { store, clock }.write())?;
    drop(runtime);
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", made.display());
        if Path::new(&from).exists() {
            std::fs::copy(&from, format!("{}{suffix}", database.display())).context("the database cannot be copied")?;
        }
    }
    Ok(seeded)
}

/// A clock that goes on when it is told to.
struct StoodClock(AtomicI64);

impl StoodClock {
    fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for StoodClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

struct Seed {
    store: Database,
    clock: Arc<StoodClock>,
}

/// An active site on a node.
#[derive(Clone, Copy)]
struct Made {
    node: NodeId,
    site: SiteId,
    environment: EnvironmentId,
}

impl Seed {
    async fn write(self) -> anyhow::Result<Seeded> {
        let mut nodes = Vec::with_capacity(NODES);
        for number in 0..NODES {
            nodes.push(self.node(number).await?);
        }
        let mut sites = Vec::with_capacity(SITES);
        for (number, node) in nodes.iter().take(SITES).enumerate() {
            sites.push(self.site(number, *node).await?);
        }
        let mut jobs = Vec::with_capacity(JOBS);
        for number in NODES + SITES..JOBS {
            jobs.push(self.job(number, sites[number % SITES]).await?);
        }
        let running_job = self.waiting_job(LINES).await?;
        for _ in 1..RUNNING {
            self.waiting_job(0).await?;
        }
        Ok(Seeded {
            running_job,
            middle_node: nodes[SITES / 2],
            middle_site: sites[SITES / 2].site,
            middle_job: jobs[jobs.len() / 2],
        })
    }

    async fn claim(&self) -> anyhow::Result<Claim> {
        self.clock.advance(PAUSE);
        let claimed = self
            .store
            .claim(&WorkerId::new("seed"), Duration::from_secs(60))
            .await?;
        Ok(claimed.context("no job waits")?.claim)
    }

    /// An active, ready node of another host: this server does not look at it.
    async fn node(&self, number: usize) -> anyhow::Result<NodeId> {
        let id = NodeId::generate();
        let job = NewJob::on_node(JobKind::NodeProvision, id, 3);
        self.store.create(new_node(id), job, None).await?;
        let claim = self.claim().await?;
        let target = NodeTarget {
            hostname: address(number).to_string(),
            public_ip: Some(address(number)),
            ssh_port: 22,
            ssh_user: "root".to_owned(),
            ssh_private_key_path: "key".into(),
            host_key: format!("ssh-ed25519 {}{number:05}", "A".repeat(63))
                .parse()
                .map_err(|error| anyhow::anyhow!("{error}"))?,
        };
        let mut change = NodeChange::status(NodeStatus::Active);
        change.target = Some(target);
        let node = NodeStore::node(&self.store, id).await?.context("no such node")?;
        change.readiness = Some(readiness(
            &node_with(node, &change),
            NodeStatus::Active,
            Some(&self.facts()),
            self.clock.now(),
        ));
        change.seen_at = Some(self.clock.now());
        NodeStore::settle_job(&self.store, &claim, &Outcome::Succeeded, id, change).await?;
        Ok(id)
    }

    /// A node that is being made; its worker was stopped after it had told so many lines.
    async fn waiting_job(&self, lines: usize) -> anyhow::Result<JobId> {
        let id = NodeId::generate();
        let created = self
            .store
            .create(new_node(id), NewJob::on_node(JobKind::NodeProvision, id, 3), None);
        let job_id = created.await?.job_id;
        if lines > 0 {
            let claim = self.claim().await?;
            self.store.step_started(&claim, 0, "acquire").await?;
            for line in 0..lines {
                let line = format!("line {line} of what its step printed on the way");
                self.store
                    .append(&claim, NewEvent::log("acquire", LogStream::Stdout, &line))
                    .await?;
            }
            self.store.finish(&claim, &Outcome::Yielded).await?;
        }
        Ok(job_id)
    }

    fn facts(&self) -> ProbeFacts {
        let now = self.clock.now();
        let evidence = |check: usize| CheckEvidence {
            check: format!("check_{check}"),
            command: "sudo -n systemctl is-active nginx".to_owned(),
            exit_status: Some(0),
            output: "active".to_owned(),
            checked_at: now,
        };
        ProbeFacts {
            result: ProbeResult::LoggedIn {
                sudo: true,
                runtime: Vec::new(),
            },
            evidence: (0..10).map(evidence).collect(),
            checked_at: now,
        }
    }

    async fn site(&self, number: usize, node: NodeId) -> anyhow::Result<Made> {
        let (site, environment) = (SiteId::generate(), EnvironmentId::generate());
        let text = |error: &dyn std::fmt::Display| anyhow::anyhow!("{error}");
        let name: sites_domain::SiteName = format!("Site {number}").parse().map_err(|error| text(&error))?;
        let changes = vec![
            Change::AddSite(NewSite {
                id: site,
                name: name.clone(),
                slug: format!("site-{number}").parse().map_err(|error| text(&error))?,
                primary_environment_id: environment,
            }),
            Change::AddEnvironment(NewEnvironment {
                id: environment,
                site_id: site,
                name,
                slug: sites_domain::Slug::production(),
                environment_type: EnvironmentType::Production,
                node_id: node,
                source_environment_id: None,
                promotion_preset: None,
                preview_url: preview_url(&environment.short(), address(number), None),
                sealed_secrets: "sealed".to_owned(),
            }),
        ];
        let job = NewJob::on_environment(JobKind::SiteCreate, node, site, environment, 3);
        self.store.enqueue_in_site(changes, job).await?;
        let claim = self.claim().await?;
        let changes = vec![
            Change::EnvironmentStatus(environment, EnvironmentStatus::Active),
            Change::WordPressVersion(environment, "7.1.1".to_owned()),
            Change::SiteStatus(site, SiteStatus::Active),
        ];
        SiteStore::settle_job(&self.store, &claim, &Outcome::Succeeded, changes).await?;
        Ok(Made {
            node,
            site,
            environment,
        })
    }

    /// A backup or a restore that has ended: of ten one failed, of fifty one was cancelled.
    async fn job(&self, number: usize, made: Made) -> anyhow::Result<JobId> {
        let kind = if number.is_multiple_of(40) {
            JobKind::EnvRestore
        } else {
            JobKind::BackupCreate
        };
        let (outcome, status) = match number {
            number if number.is_multiple_of(50) => (Outcome::Cancelled, BackupStatus::Failed),
            number if number.is_multiple_of(10) => {
                let failure = Failure::new(
                    JobErrorCode::BackupStorageFailed,
                    "the storage did not answer within 30 s",
                );
                (Outcome::Failed(failure), BackupStatus::Failed)
            }
            _ => (Outcome::Succeeded, BackupStatus::Completed),
        };
        let new = NewJob::on_environment(kind, made.node, made.site, made.environment, 3);
        let (id, backup) = (new.id, BackupId::generate());
        let is_backup = kind == JobKind::BackupCreate;
        let added = Change::AddBackup(NewBackup {
            id: backup,
            environment_id: made.environment,
            site_id: made.site,
            scope: BackupScope::Full,
            trigger: BackupTrigger::Manual,
            retention_until: None,
            job_id: id,
        });
        let added = if is_backup { vec![added] } else { Vec::new() };
        self.store.enqueue_in_site(added, new).await?;
        let claim = self.claim().await?;
        ensure!(claim.job_id == id, "another job was claimed");
        if number + WITH_STEPS >= JOBS {
            self.steps(&claim).await?;
        }
        let mut changes = Vec::new();
        if is_backup {
            changes.push(Change::Backup(backup, BackupChange::Status(BackupStatus::Running)));
            changes.push(Change::Backup(backup, end_of_backup(id, status)));
        }
        SiteStore::settle_job(&self.store, &claim, &outcome, changes).await?;
        Ok(id)
    }

    async fn steps(&self, claim: &Claim) -> anyhow::Result<()> {
        for (ordinal, step) in ["stage", "store", "unstage"].into_iter().enumerate() {
            self.store.step_started(claim, ordinal as u32, step).await?;
            for line in 0..5 {
                let line = NewEvent::log(step, LogStream::Stdout, &format!("line {line} of what it prints"));
                self.store.append(claim, line).await?;
            }
            self.clock.advance(STEP);
            self.store
                .step_finished(claim, step, StepStatus::Succeeded, None)
                .await?;
        }
        Ok(())
    }
}

/// Asking for a job without anything that it was decided on.
trait EnqueueInSite {
    async fn enqueue_in_site(&self, changes: Vec<Change>, job: NewJob) -> anyhow::Result<()>;
}

impl EnqueueInSite for Database {
    async fn enqueue_in_site(&self, changes: Vec<Change>, job: NewJob) -> anyhow::Result<()> {
        SiteStore::enqueue(self, Vec::new(), changes, job, None).await?;
        Ok(())
    }
}

fn new_node(id: NodeId) -> NewNode {
    NewNode {
        id,
        name: NodeName::default_for(id),
        source: AcquisitionSource::Local,
        provider: ProviderId::new("waiting"),
        host_id: "another".to_owned(),
        remote: None,
    }
}

fn end_of_backup(job: JobId, status: BackupStatus) -> BackupChange {
    if status != BackupStatus::Completed {
        return BackupChange::Status(status);
    }
    BackupChange::Completed {
        storage: StorageId::new("local"),
        path: format!("backups/{job}.tar.zst"),
        object: StoredObject {
            size_bytes: 27_262_976,
            sha256: "0f".repeat(32),
        },
    }
}

fn node_with(node: nodes_domain::Node, change: &NodeChange) -> nodes_domain::Node {
    nodes_domain::Node {
        target: change.target.clone(),
        ..node
    }
}

fn address(number: usize) -> IpAddr {
    let [.., high, low] = (number as u32).to_be_bytes();
    Ipv4Addr::new(10, 200, high, low).into()
}
