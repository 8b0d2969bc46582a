//! What needs attention, how much there is, and how jobs ended.

use std::time::Duration;

use domain_kernel::{JobErrorCode, JobId, NodeId};
use jobs::{Claim, Failure, JobKind, JobStatus, NewJob, Outcome};
use nodes_domain::{NodeChange, NodeStatus, ProbeRecord, Readiness};
use sites_domain::{
    BackupChange, BackupStatus, BackupTrigger, Change, Counted, EndedJobs, EnvironmentStatus, NewBackup, Overview,
    OverviewCut, SiteStatus, StorageId, StoredObject, Totals,
};

use crate::site_support::{Made, World, new_backup, new_environment, new_job, site_tests};
use crate::support::ready;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the overview tells that looks back as far as the product does, ten of each at most.
async fn look(world: &World) -> Overview {
    look_at(world, 10).await
}

async fn look_at(world: &World, limit: u32) -> Overview {
    let now = domain_kernel::Clock::now(&*world.clock);
    let cut = OverviewCut {
        failed_since: now.minus(DAY * 7),
        backed_up_since: now.minus(DAY * 7),
        made_before: now.minus(DAY),
        ended_since: now.minus(DAY),
        limit,
    };
    world.overview.overview(cut).await.unwrap()
}

fn ids<T, I>(found: &Counted<T>, id: impl Fn(&T) -> I) -> (Vec<I>, u64) {
    (found.items.iter().map(id).collect(), found.count)
}

fn failed_jobs(seen: &Overview) -> Vec<JobId> {
    let (jobs, count) = ids(&seen.failed_jobs, |job| job.view.job.id);
    assert_eq!(jobs.len() as u64, count);
    jobs
}

async fn end(world: &World, claim: &Claim, outcome: Outcome, changes: Vec<Change>) {
    world.sites.settle_job(claim, &outcome, changes).await.unwrap();
}

fn failed() -> Outcome {
    Outcome::Failed(Failure::new(JobErrorCode::BackupStorageFailed, "no answer"))
}

/// Writes a job on a site's production environment and ends it; its id.
async fn job(world: &World, made: &Made, kind: JobKind, outcome: Outcome) -> JobId {
    let new = new_job(kind, made);
    let id = new.id;
    world.sites.enqueue(vec![], vec![], new, None).await.unwrap();
    let claim = world.claim().await;
    assert_eq!(claim.job_id, id);
    end(world, &claim, outcome, vec![]).await;
    id
}

/// Writes what a probe of a node found.
async fn probed(world: &World, node: NodeId, status: NodeStatus, is_ready: bool) {
    let version = world.nodes.node(node).await.unwrap().unwrap().state_version;
    let record = ProbeRecord {
        status,
        readiness: Readiness {
            is_ready,
            ..ready(domain_kernel::Clock::now(&*world.clock))
        },
        probe_failures: 0,
        seen_at: None,
    };
    world.nodes.record_probe(node, version, record).await.unwrap();
}

/// A completed backup of so many bytes of a site's production environment.
async fn backed_up(world: &World, made: &Made, size_bytes: u64) -> NewBackup {
    let backup = new_backup(made, BackupTrigger::Manual);
    let completed = BackupChange::Completed {
        storage: StorageId::new("local"),
        path: "a".to_owned(),
        object: StoredObject {
            size_bytes,
            sha256: "b".to_owned(),
        },
    };
    let changes = vec![
        Change::AddBackup(backup.clone()),
        Change::Backup(backup.id, BackupChange::Status(BackupStatus::Running)),
        Change::Backup(backup.id, completed),
    ];
    world.apply(changes).await.unwrap();
    backup
}

site_tests! {
    async fn an_empty_installation_has_nothing(world) {
        let seen = look(&world).await;
        assert_eq!(seen.totals, Totals::default());
        assert_eq!((seen.nodes.count, seen.failed_sites.count, seen.unsaved_sites.count), (0, 0, 0));
        assert!(failed_jobs(&seen).is_empty() && seen.ended.is_empty());
    }

    async fn nodes_need_attention_where_they_are_not_both_active_and_ready(world) {
        let (ready_one, _) = world.active_node().await;
        probed(&world, ready_one, NodeStatus::Active, true).await;
        let (not_ready, _) = world.active_node().await;
        probed(&world, not_ready, NodeStatus::Active, false).await;
        let (never_probed, _) = world.active_node().await;
        let (unreachable, _) = world.active_node().await;
        probed(&world, unreachable, NodeStatus::Unreachable, false).await;
        let (failing, _) = world.active_node().await;
        let retried = NewJob::on_node(JobKind::NodeProvision, failing, 3);
        let version = world.nodes.node(failing).await.unwrap().unwrap().state_version;
        world.nodes.enqueue(failing, version, NodeStatus::Provisioning, retried, false).await.unwrap();
        let seen = look(&world).await;
        assert_eq!(ids(&seen.nodes, |node| node.id), (vec![unreachable, never_probed, not_ready], 3), "while a job is at it");
        let claim = world.claim().await;
        let change = NodeChange::status(NodeStatus::Failed);
        world.nodes.settle_job(&claim, &failed(), failing, change).await.unwrap();
        let seen = look(&world).await;
        assert_eq!(ids(&seen.nodes, |node| node.id), (vec![failing, unreachable, never_probed, not_ready], 4));
        let seen = look_at(&world, 1).await;
        assert_eq!(ids(&seen.nodes, |node| node.id), (vec![failing], 4));
        assert_eq!((seen.totals.nodes, seen.totals.nodes_active), (5, 3));
    }

    async fn a_failed_job_stands_until_a_later_one_of_its_kind_on_the_same_thing(world) {
        let (made, other) = (world.active_site("shop").await, world.active_site("blog").await);
        let first = job(&world, &made, JobKind::BackupCreate, failed()).await;
        assert_eq!(failed_jobs(&look(&world).await), [first]);
        // Another kind, another thing and a cancelled one make up for nothing.
        job(&world, &made, JobKind::EnvRestore, Outcome::Succeeded).await;
        job(&world, &other, JobKind::BackupCreate, Outcome::Succeeded).await;
        job(&world, &made, JobKind::BackupCreate, Outcome::Cancelled).await;
        assert_eq!(failed_jobs(&look(&world).await), [first]);
        let second = job(&world, &made, JobKind::BackupCreate, failed()).await;
        assert_eq!(failed_jobs(&look(&world).await), [second], "the later one stands in its place");
        let seen = look(&world).await;
        let named = &seen.failed_jobs.items[0];
        let names = (named.site.as_ref().unwrap().as_str(), named.environment.as_ref().unwrap().as_str());
        assert_eq!(names, ("A shop", "An environment"));
        assert!(named.node.is_some());
        job(&world, &made, JobKind::BackupCreate, Outcome::Succeeded).await;
        assert!(failed_jobs(&look(&world).await).is_empty());
    }

    async fn a_failed_job_is_forgotten_after_a_while_or_with_what_it_worked_on(world) {
        let made = world.active_site("shop").await;
        let on_site = job(&world, &made, JobKind::BackupCreate, failed()).await;
        let (node, _) = world.active_node().await;
        let again = NewJob::on_node(JobKind::NodeProvision, node, 3);
        let on_node = again.id;
        world.nodes.enqueue(node, 2, NodeStatus::Provisioning, again, false).await.unwrap();
        let claim = world.claim().await;
        let change = NodeChange::status(NodeStatus::Failed);
        world.nodes.settle_job(&claim, &failed(), node, change).await.unwrap();
        assert_eq!(failed_jobs(&look(&world).await), [on_node, on_site]);

        let removal = NewJob::on_node(JobKind::NodeDecommission, node, 3);
        let version = world.nodes.node(node).await.unwrap().unwrap().state_version;
        world.nodes.enqueue(node, version, NodeStatus::Decommissioning, removal, false).await.unwrap();
        let claim = world.claim().await;
        let change = NodeChange::status(NodeStatus::Decommissioned);
        world.nodes.settle_job(&claim, &Outcome::Succeeded, node, change).await.unwrap();
        assert_eq!(failed_jobs(&look(&world).await), [on_site], "the node is gone");

        world.clock.advance(DAY * 7 + HOUR);
        assert!(failed_jobs(&look(&world).await).is_empty(), "it is long ago");
    }

    async fn failed_sites_are_told_and_failed_environments_of_others(world) {
        let (made, other) = (world.active_site("shop").await, world.active_site("blog").await);
        let statuses = |made: &Made, site| vec![
            Change::SiteStatus(made.site, SiteStatus::Restoring),
            Change::EnvironmentStatus(made.environment, EnvironmentStatus::Failed),
            Change::SiteStatus(made.site, site),
        ];
        world.apply(statuses(&made, SiteStatus::Failed)).await.unwrap();
        world.apply(statuses(&other, SiteStatus::Active)).await.unwrap();
        let seen = look(&world).await;
        assert_eq!(ids(&seen.failed_sites, |site| site.id), (vec![made.site], 1));
        let environments = ids(&seen.failed_environments, |found| (found.environment.id, found.site.as_str().to_owned()));
        assert_eq!(environments, (vec![(other.environment, "A shop".to_owned())], 1));
    }

    async fn sites_older_than_a_day_need_a_recent_backup_of_production(world) {
        let made = world.active_site("shop").await;
        assert_eq!(look(&world).await.unsaved_sites.count, 0, "it is new");
        world.clock.advance(DAY + HOUR);
        let seen = look(&world).await;
        assert_eq!(ids(&seen.unsaved_sites, |found| (found.site.id, found.newest_backup)), (vec![(made.site, None)], 1));

        // One that did not end well, and one of another environment, save nothing.
        let broken = new_backup(&made, BackupTrigger::Manual);
        let (staging, environment) = (domain_kernel::EnvironmentId::generate(), made.site);
        world.apply(vec![
            Change::AddEnvironment(new_environment(staging, environment, "staging", made.node)),
            Change::AddBackup(broken.clone()),
            Change::Backup(broken.id, BackupChange::Status(BackupStatus::Failed)),
        ]).await.unwrap();
        backed_up(&world, &Made { environment: staging, ..made }, 5).await;
        assert_eq!(look(&world).await.unsaved_sites.count, 1);

        let at = domain_kernel::Clock::now(&*world.clock);
        let backup = backed_up(&world, &made, 7).await;
        let seen = look(&world).await;
        assert_eq!((seen.unsaved_sites.count, seen.totals.backups, seen.totals.backup_bytes), (0, 2, 12));
        world.clock.advance(DAY * 7 + HOUR);
        let seen = look(&world).await;
        assert_eq!(seen.unsaved_sites.items[0].newest_backup, Some(at));
        world.apply(vec![Change::Backup(backup.id, BackupChange::Status(BackupStatus::Expired))]).await.unwrap();
        let seen = look(&world).await;
        assert_eq!((seen.unsaved_sites.items[0].newest_backup, seen.totals.backup_bytes), (None, 5));

        // What is at work or failed is told elsewhere.
        world.apply(vec![Change::EnvironmentStatus(made.environment, EnvironmentStatus::Failed)]).await.unwrap();
        assert_eq!(look(&world).await.unsaved_sites.count, 0);
        assert_eq!((seen.totals.sites, seen.totals.environments), (1, 2));
    }

    async fn running_jobs_come_with_the_names_of_what_they_work_on(world) {
        let made = world.active_site("shop").await;
        let new = new_job(JobKind::BackupCreate, &made);
        world.sites.enqueue(vec![], vec![], new, None).await.unwrap();
        world.sites.enqueue(vec![], vec![], new_job(JobKind::EnvRestore, &made), None).await.unwrap();
        let claim = world.claim().await;
        world.queue.step_started(&claim, 0, "stage").await.unwrap();
        let seen = look(&world).await;
        assert_eq!(ids(&seen.running_jobs, |job| job.view.job.id), (vec![claim.job_id], 1));
        let running = &seen.running_jobs.items[0];
        assert_eq!((running.view.steps.len(), running.site.as_ref().unwrap().as_str()), (1, "A shop"));
        assert_eq!((seen.totals.jobs_running, seen.totals.jobs_queued), (1, 1));
    }

    async fn ended_jobs_are_counted_by_full_hours_in_utc(world) {
        let made = world.active_site("shop").await;
        let first = domain_kernel::Clock::now(&*world.clock);
        job(&world, &made, JobKind::BackupCreate, failed()).await;
        world.clock.advance(HOUR + Duration::from_secs(59 * 60));
        job(&world, &made, JobKind::BackupCreate, Outcome::Succeeded).await;
        job(&world, &made, JobKind::BackupCreate, Outcome::Cancelled).await;
        job(&world, &made, JobKind::BackupCreate, Outcome::Cancelled).await;
        let ended = |hour, status, jobs| EndedJobs { hour, status, jobs };
        // The site and its node were made by jobs too.
        assert_eq!(look(&world).await.ended, [
            ended(first, JobStatus::Failed, 1),
            ended(first, JobStatus::Succeeded, 2),
            ended(first.plus(HOUR), JobStatus::Cancelled, 2),
            ended(first.plus(HOUR), JobStatus::Succeeded, 1),
        ]);
        world.clock.advance(DAY - HOUR);
        assert_eq!(look(&world).await.ended.len(), 2, "the first hour is long ago");
    }
}
