//! What needs attention, how much there is, and how jobs ended.

use std::time::Duration;

use domain_kernel::{JobErrorCode, JobId, NodeId};
use jobs::{Claim, Failure, JobKind, JobStatus, NewJob, Outcome, PageRequest};
use nodes_domain::{Node, NodeChange, NodeFilter, NodeStatus, ProbeRecord, Readiness};
use sites_domain::{
    BackupChange, BackupCut, BackupScope, BackupStatus, BackupTrigger, Change, Counted, EndedJobs, EnvironmentStatus,
    NewBackup, Overview, OverviewCut, Saved, SiteFilter, SiteStatus, StorageId, StoredObject, Totals, Troubled,
};

use crate::site_support::{Made, World, new_backup, new_environment, new_job, site_tests};
use crate::support::ready;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the overview tells that looks back as far as the product does, ten of each at most.
pub(crate) async fn look(world: &World) -> Overview {
    look_at(world, 10).await
}

async fn look_at(world: &World, limit: u32) -> Overview {
    let now = domain_kernel::Clock::now(&*world.clock);
    let cut = OverviewCut {
        failed_since: now.minus(DAY * 7),
        backups: BackupCut::at(now),
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
    job_that(world, made, kind, outcome, vec![]).await
}

/// The same of a job whose end changes something.
async fn job_that(world: &World, made: &Made, kind: JobKind, outcome: Outcome, changes: Vec<Change>) -> JobId {
    let new = new_job(kind, made);
    let id = new.id;
    world.sites.enqueue(vec![], vec![], new, None).await.unwrap();
    let claim = world.claim().await;
    assert_eq!(claim.job_id, id);
    end(world, &claim, outcome, changes).await;
    id
}

/// Writes what a probe of a node found.
pub(crate) async fn probed(world: &World, node: NodeId, status: NodeStatus, is_ready: bool) {
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

/// A job of a node itself that fails, and the node with it; its id.
async fn node_fails(world: &World, node: NodeId, kind: JobKind, at_work: NodeStatus) -> JobId {
    let new = NewJob::on_node(kind, node, 3);
    let id = new.id;
    let version = world.nodes.node(node).await.unwrap().unwrap().state_version;
    world.nodes.enqueue(node, version, at_work, new, false).await.unwrap();
    let claim = world.claim().await;
    assert_eq!(claim.job_id, id);
    let change = NodeChange::status(NodeStatus::Failed);
    world.nodes.settle_job(&claim, &failed(), node, change).await.unwrap();
    id
}

/// A completed full backup of so many bytes of a site's production environment.
pub(crate) async fn backed_up(world: &World, made: &Made, size_bytes: u64) -> NewBackup {
    completed(world, new_backup(made, BackupTrigger::Manual), size_bytes).await
}

async fn partly_backed_up(world: &World, made: &Made, scope: BackupScope) {
    let backup = new_backup(made, BackupTrigger::Scheduled);
    completed(world, NewBackup { scope, ..backup }, 1).await;
}

/// The same of any backup.
pub(crate) async fn completed(world: &World, backup: NewBackup, size_bytes: u64) -> NewBackup {
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
        let job = retried.id;
        let version = world.nodes.node(failing).await.unwrap().unwrap().state_version;
        world.nodes.enqueue(failing, version, NodeStatus::Provisioning, retried, false).await.unwrap();
        let seen = look(&world).await;
        let id = |found: &Troubled<Node>| found.thing.id;
        assert_eq!(ids(&seen.nodes, id), (vec![unreachable, never_probed, not_ready], 3), "while a job is at it");
        let claim = world.claim().await;
        let change = NodeChange::status(NodeStatus::Failed);
        world.nodes.settle_job(&claim, &failed(), failing, change).await.unwrap();
        let seen = look(&world).await;
        assert_eq!(ids(&seen.nodes, id), (vec![failing, unreachable, never_probed, not_ready], 4));
        let jobs = ids(&seen.nodes, |found| found.failed_job.as_ref().map(|job| job.id)).0;
        assert_eq!(jobs, [Some(job), None, None, None]);
        assert_eq!(failed_jobs(&seen), [], "it is told by its node");
        let seen = look_at(&world, 1).await;
        assert_eq!(ids(&seen.nodes, id), (vec![failing], 4));
        assert_eq!((seen.totals.nodes, seen.totals.nodes_active, seen.totals.nodes_ready), (5, 3, 1));
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

    async fn a_failed_node_is_told_with_its_newest_job_until_another_is_at_it(world) {
        let (node, _) = world.active_node().await;
        node_fails(&world, node, JobKind::NodeProvision, NodeStatus::Provisioning).await;
        let second = node_fails(&world, node, JobKind::NodeDecommission, NodeStatus::Decommissioning).await;
        let seen = look(&world).await;
        assert_eq!(ids(&seen.nodes, |found| found.failed_job.as_ref().unwrap().id), (vec![second], 1));
        assert_eq!(failed_jobs(&seen), []);

        let again = NewJob::on_node(JobKind::NodeProvision, node, 3);
        let version = world.nodes.node(node).await.unwrap().unwrap().state_version;
        world.nodes.enqueue(node, version, NodeStatus::Provisioning, again, false).await.unwrap();
        let claim = world.claim().await;
        let seen = look(&world).await;
        assert_eq!((seen.nodes.count, failed_jobs(&seen)), (0, vec![]));
        let change = NodeChange::status(NodeStatus::Failed);
        world.nodes.settle_job(&claim, &Outcome::Cancelled, node, change).await.unwrap();
        let seen = look(&world).await;
        assert!(seen.nodes.items[0].failed_job.is_none(), "it was cancelled");
    }

    async fn a_failed_job_is_forgotten_after_a_while_or_with_what_it_worked_on(world) {
        let (made, other) = (world.active_site("shop").await, world.active_site("blog").await);
        let stays = job(&world, &made, JobKind::BackupCreate, failed()).await;
        let goes = job(&world, &other, JobKind::BackupCreate, failed()).await;
        assert_eq!(failed_jobs(&look(&world).await), [goes, stays]);
        world.apply(vec![Change::RemoveSite(other.site)]).await.unwrap();
        assert_eq!(failed_jobs(&look(&world).await), [stays], "its site is gone");
        world.clock.advance(DAY * 7 + HOUR);
        assert!(failed_jobs(&look(&world).await).is_empty(), "it is long ago");
    }

    async fn what_failed_and_the_job_that_it_failed_by_are_one_concern(world) {
        let (site, environment) = (world.active_site("shop").await, world.active_site("blog").await);
        let backup = job(&world, &environment, JobKind::BackupCreate, failed()).await;
        let by = |made: &Made, site| vec![
            Change::EnvironmentStatus(made.environment, EnvironmentStatus::Failed),
            Change::SiteStatus(made.site, site),
        ];
        let deletion = job_that(&world, &site, JobKind::SiteDelete, failed(), by(&site, SiteStatus::Failed)).await;
        let restore = job_that(&world, &environment, JobKind::EnvRestore, failed(), by(&environment, SiteStatus::Active)).await;
        let seen = look(&world).await;
        let told = |seen: &Overview| {
            let sites = ids(&seen.failed_sites, |found| found.failed_job.as_ref().map(|job| job.id)).0;
            let environments = ids(&seen.failed_environments, |found| found.failed_job.as_ref().map(|job| job.id)).0;
            (sites, environments)
        };
        assert_eq!(told(&seen), (vec![Some(deletion)], vec![Some(restore)]));
        assert_eq!(failed_jobs(&seen), []);

        // While a job is at it nothing is told. Then it works again, which is no backup.
        world.clock.advance(HOUR);
        let begins = Change::EnvironmentStatus(environment.environment, EnvironmentStatus::Creating);
        world.apply(vec![begins]).await.unwrap();
        assert_eq!(failed_jobs(&look(&world).await), [backup]);
        let works = Change::EnvironmentStatus(environment.environment, EnvironmentStatus::Active);
        job_that(&world, &environment, JobKind::EnvReaddress, Outcome::Succeeded, vec![works]).await;
        let seen = look(&world).await;
        assert_eq!((told(&seen).1, failed_jobs(&seen)), (vec![], vec![backup]));
        job(&world, &environment, JobKind::BackupCreate, Outcome::Succeeded).await;
        assert_eq!(failed_jobs(&look(&world).await), []);

        // A reset ends it as well.
        let works = vec![
            Change::EnvironmentStatus(site.environment, EnvironmentStatus::Active),
            Change::SiteStatus(site.site, SiteStatus::Active),
        ];
        world.apply(works).await.unwrap();
        let seen = look(&world).await;
        assert_eq!((told(&seen).0, failed_jobs(&seen)), (vec![], vec![]));
    }

    async fn an_environment_that_a_removal_of_its_site_left_failed_is_told_with_that_job(world) {
        let made = world.active_site("shop").await;
        let staging = Made { environment: domain_kernel::EnvironmentId::generate(), ..made };
        world.apply(vec![
            Change::AddEnvironment(new_environment(staging.environment, made.site, "staging", made.node)),
            Change::EnvironmentStatus(staging.environment, EnvironmentStatus::Active),
        ]).await.unwrap();
        job(&world, &staging, JobKind::EnvCreate, Outcome::Succeeded).await;
        let fails = |made: &Made| Change::EnvironmentStatus(made.environment, EnvironmentStatus::Failed);
        let all = vec![fails(&made), fails(&staging), Change::SiteStatus(made.site, SiteStatus::Failed)];
        let told = async || {
            let seen = look(&world).await;
            let job = |job: &Option<jobs::Job>| job.as_ref().map(|job| job.id);
            let sites = ids(&seen.failed_sites, |found| job(&found.failed_job)).0;
            let environments = ids(&seen.failed_environments, |found| job(&found.failed_job)).0;
            (sites, environments)
        };
        for kind in [JobKind::SiteDelete, JobKind::SiteAbandon] {
            let removal = job_that(&world, &made, kind, failed(), all.clone()).await;
            assert_eq!(told().await, (vec![Some(removal)], vec![]));
            // Production was put right, the copy was not.
            world.apply(vec![
                Change::EnvironmentStatus(made.environment, EnvironmentStatus::Active),
                Change::SiteStatus(made.site, SiteStatus::Active),
            ]).await.unwrap();
            assert_eq!(told().await, (vec![], vec![Some(removal)]), "{kind}");
        }
        let restore = job_that(&world, &staging, JobKind::EnvRestore, failed(), vec![fails(&staging)]).await;
        assert_eq!(told().await, (vec![], vec![Some(restore)]), "its own job is the later one");
        job(&world, &made, JobKind::SiteDelete, Outcome::Cancelled).await;
        assert_eq!(told().await, (vec![], vec![None]), "the newest one did not fail");
    }

    async fn a_restore_that_was_rolled_back_stands_until_the_environment_was_found_to_work_since(world) {
        let made = world.active_site("shop").await;
        world.clock.advance(HOUR);
        let begins = Change::EnvironmentStatus(made.environment, EnvironmentStatus::Restoring);
        let rests = Change::EnvironmentRests(made.environment);
        world.apply(vec![begins.clone()]).await.unwrap();
        let restore = job_that(&world, &made, JobKind::EnvRestore, failed(), vec![rests.clone()]).await;
        assert_eq!(failed_jobs(&look(&world).await), [restore], "it is as it was before");
        // So does another that was cancelled, and a change that proves nothing.
        world.clock.advance(HOUR);
        world.apply(vec![begins.clone()]).await.unwrap();
        job_that(&world, &made, JobKind::EnvRestore, Outcome::Cancelled, vec![rests]).await;
        world.apply(vec![Change::WordPressVersion(made.environment, "7.2".to_owned())]).await.unwrap();
        assert_eq!(failed_jobs(&look(&world).await), [restore]);
        let works = Change::EnvironmentStatus(made.environment, EnvironmentStatus::Active);
        world.apply(vec![begins, works]).await.unwrap();
        assert_eq!(failed_jobs(&look(&world).await), []);
    }

    async fn every_kind_is_counted_beyond_those_that_are_told(world) {
        for slug in ["one", "two", "three"] {
            let made = world.active_site(slug).await;
            job(&world, &made, JobKind::BackupCreate, failed()).await;
            let failing = world.active_site(&format!("{slug}-fails")).await;
            let changes = vec![
                Change::EnvironmentStatus(failing.environment, EnvironmentStatus::Failed),
                Change::SiteStatus(failing.site, SiteStatus::Failed),
            ];
            job_that(&world, &failing, JobKind::SiteDelete, failed(), changes).await;
            node_fails(&world, failing.node, JobKind::NodeProvision, NodeStatus::Provisioning).await;
        }
        world.clock.advance(DAY + HOUR);
        let seen = look_at(&world, 2).await;
        let told = |items: usize, count: u64| { assert_eq!((items, count), (2, count)); count };
        assert_eq!(told(seen.failed_jobs.items.len(), seen.failed_jobs.count), 3);
        assert_eq!(told(seen.failed_sites.items.len(), seen.failed_sites.count), 3);
        assert_eq!(told(seen.unsaved_sites.items.len(), seen.unsaved_sites.count), 3);
        assert_eq!(told(seen.nodes.items.len(), seen.nodes.count), 6, "three failed, three were never looked at");
        // The lists that the overview leads to have as many.
        let page = PageRequest { limit: 9, after: None };
        let wanted = NodeFilter { needs_attention: true, ..NodeFilter::default() };
        assert_eq!(world.nodes.nodes(&wanted, &page).await.unwrap().items.len(), 6);
        let wanted = SiteFilter { unsaved: Some(BackupCut::at(world.now())), ..SiteFilter::default() };
        assert_eq!(world.sites.sites(&wanted, &page).await.unwrap().items.len(), 3);
        let wanted = SiteFilter { status: Some(SiteStatus::Failed), ..SiteFilter::default() };
        assert_eq!(world.sites.sites(&wanted, &page).await.unwrap().items.len(), 3);
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
        assert_eq!(ids(&seen.failed_sites, |found| found.thing.id), (vec![made.site], 1));
        let environments = ids(&seen.failed_environments, |found| (found.thing.environment.id, found.thing.site.as_str().to_owned()));
        assert_eq!(environments, (vec![(other.environment, "A shop".to_owned())], 1));
        assert!(seen.failed_sites.items[0].failed_job.is_none(), "the job that made it succeeded");
    }

    async fn sites_older_than_a_day_need_a_recent_backup_of_production(world) {
        let made = world.active_site("shop").await;
        assert_eq!(look(&world).await.unsaved_sites.count, 0, "it is new");
        world.clock.advance(DAY + HOUR);
        let seen = look(&world).await;
        assert_eq!(ids(&seen.unsaved_sites, |found| (found.site.id, found.saved)), (vec![(made.site, Saved::default())], 1));

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
        assert_eq!(seen.unsaved_sites.items[0].saved.whole(), Some(at));
        world.apply(vec![Change::Backup(backup.id, BackupChange::Status(BackupStatus::Expired))]).await.unwrap();
        let seen = look(&world).await;
        assert_eq!((seen.unsaved_sites.items[0].saved, seen.totals.backup_bytes), (Saved::default(), 5));

        // What is at work or failed is told elsewhere.
        world.apply(vec![Change::EnvironmentStatus(made.environment, EnvironmentStatus::Failed)]).await.unwrap();
        assert_eq!(look(&world).await.unsaved_sites.count, 0);
        assert_eq!((seen.totals.sites, seen.totals.environments), (1, 2));
    }

    async fn a_site_is_saved_by_recent_backups_of_both_its_parts_and_by_no_checkpoint(world) {
        let made = world.active_site("shop").await;
        world.clock.advance(DAY * 2);
        let seen = async || {
            let seen = look(&world).await.unsaved_sites;
            seen.items.into_iter().next().map(|found| found.saved)
        };
        completed(&world, new_backup(&made, BackupTrigger::Checkpoint), 9).await;
        assert_eq!(seen().await, Some(Saved::default()), "a checkpoint holds what a restore replaced");

        let first = world.now();
        partly_backed_up(&world, &made, BackupScope::Db).await;
        assert_eq!(seen().await, Some(Saved { database: Some(first), files: None }));
        world.clock.advance(DAY);
        partly_backed_up(&world, &made, BackupScope::Files).await;
        assert_eq!(seen().await, None);

        world.clock.advance(DAY * 6 + HOUR);
        assert_eq!(seen().await, Some(Saved { database: Some(first), files: Some(first.plus(DAY)) }), "one part is old");
        partly_backed_up(&world, &made, BackupScope::Files).await;
        assert_eq!(seen().await.unwrap().database, Some(first), "the other part is as old as before");
        partly_backed_up(&world, &made, BackupScope::Db).await;
        assert_eq!(seen().await, None);
        world.clock.advance(DAY * 7 + HOUR);
        backed_up(&world, &made, 7).await;
        assert_eq!(seen().await, None, "a full one holds both");
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
