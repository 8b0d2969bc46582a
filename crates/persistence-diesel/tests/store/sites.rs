//! Sites and environments: how they are written, changed and removed.

use domain_kernel::{BackupId, EnvironmentId, JobId, NodeId, SiteId};
use jobs::{JobFilter, JobKind, JobStatus, NewJob, Outcome, PageRequest, Recover, StoreError};
use nodes_domain::{Idempotency, NodeStatus};
use serde_json::json;
use sites_domain::{
    BackupSchedule, BackupScope, BackupTrigger, Change, CreatedInSite, EnvironmentStatus, EnvironmentType, Expected,
    NewEnvironment, NodeLoad, PromotionPreset, SiteFilter, SiteStatus,
};

use crate::site_support::{World, new_backup, new_environment, new_job, new_site, site_tests};
use crate::support::{SECOND, failure, worker};

fn is_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    assert!(
        matches!(&result, Err(StoreError::VersionConflict(met)) if *met == what),
        "{what}: {result:?}"
    );
}

fn is_missing<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    assert!(
        matches!(&result, Err(StoreError::NotFound(met)) if *met == what),
        "{what}: {result:?}"
    );
}

fn key(world: &World, key: &str, hash: &str) -> Option<Idempotency> {
    Some(Idempotency {
        account_id: world.account,
        key: key.to_owned(),
        request_hash: hash.to_owned(),
    })
}

async fn moved(world: &World, id: EnvironmentId, status: EnvironmentStatus) -> EnvironmentStatus {
    world.apply(vec![Change::EnvironmentStatus(id, status)]).await.unwrap();
    world.environment(id).await.resting_status
}

async fn loads(world: &World) -> Vec<NodeLoad> {
    world.sites.node_loads().await.unwrap()
}

site_tests! {
    async fn a_new_site_is_creating_with_its_environment_and_a_job_that_waits(world) {
        let (node, _) = world.active_node().await;
        let created = world.ask_for_site("shop", node).await.unwrap();
        let CreatedInSite { job_id, site_id, environment_id, backup_id, replayed } = created;
        assert_eq!((backup_id, replayed), (None, false));
        let now = world.now();
        let site = world.site(site_id).await;
        assert_eq!((site.status, site.state_version, site.created_at), (SiteStatus::Creating, 1, now));
        assert_eq!((site.slug.as_str(), site.name.as_str(), site.short_id), ("shop", "A shop", site_id.short()));
        assert_eq!(site.primary_environment_id, environment_id);
        let environment = world.environment(environment_id).await;
        assert_eq!((environment.status, environment.resting_status), (EnvironmentStatus::Creating, EnvironmentStatus::Failed));
        assert_eq!((environment.site_id, environment.node_id, environment.state_version), (site_id, node, 1));
        assert_eq!((environment.short_id.clone(), environment.created_at), (environment_id.short(), now));
        assert_eq!((environment.wordpress_version, environment.backup_schedule), (None, None));
        let secrets = world.sites.sealed_secrets(environment_id).await.unwrap();
        assert_eq!(secrets, Some(format!("sealed for {environment_id}")));
        let job = world.catalog.job(job_id).await.unwrap().unwrap().job;
        assert_eq!((job.kind, job.status), (JobKind::SiteCreate, JobStatus::Queued));
        assert_eq!((job.node_id, job.site_id, job.environment_id), (Some(node), Some(site_id), Some(environment_id)));
        assert_eq!(world.told().await, [
            (Some(job_id), Some(node), json!({"site_status": "creating", "site_id": site_id})),
            (Some(job_id), Some(node),
                json!({"environment_status": "creating", "environment_id": environment_id, "site_id": site_id})),
        ]);
        assert_eq!(loads(&world).await, [NodeLoad { node_id: node, environments: 1 }]);
        assert_eq!(world.sites.site_count().await.unwrap(), 1);
        assert_eq!(world.sites.site(SiteId::generate()).await.unwrap(), None);
        assert_eq!(world.sites.environment(EnvironmentId::generate()).await.unwrap(), None);
        assert_eq!(world.sites.sealed_secrets(EnvironmentId::generate()).await.unwrap(), None);
    }

    async fn a_copy_is_cloning_and_keeps_what_was_said_of_it(world) {
        let made = world.active_site("shop").await;
        let id = EnvironmentId::generate();
        let copy = NewEnvironment {
            environment_type: EnvironmentType::Staging,
            source_environment_id: Some(made.environment),
            promotion_preset: Some(PromotionPreset::CommerceProtect),
            ..new_environment(id, made.site, "staging", made.node)
        };
        let changes = vec![Change::SiteStatus(made.site, SiteStatus::Cloning), Change::AddEnvironment(copy)];
        let job = NewJob::on_environment(JobKind::EnvCreate, made.node, made.site, id, 3);
        world.sites.enqueue(vec![Expected::Site(made.site, 2)], changes, job, None).await.unwrap();
        let copy = world.environment(id).await;
        assert_eq!((copy.status, copy.environment_type), (EnvironmentStatus::Cloning, EnvironmentType::Staging));
        assert_eq!(copy.source_environment_id, Some(made.environment));
        assert_eq!(copy.promotion_preset, Some(PromotionPreset::CommerceProtect));
        assert_eq!(copy.preview_url, format!("http://{}.test", id.short()));
        let ids: Vec<_> = world.sites.environments(made.site).await.unwrap().into_iter().map(|found| found.id).collect();
        assert_eq!(ids, [made.environment, id], "oldest first");
        assert_eq!(loads(&world).await, [NodeLoad { node_id: made.node, environments: 2 }]);
    }

    async fn the_end_of_a_job_and_its_meaning_for_the_site_are_written_together(world) {
        let (node, _) = world.active_node().await;
        let created = world.ask_for_site("shop", node).await.unwrap();
        let claim = world.claim().await;
        world.clock.advance(SECOND);
        let version = Change::WordPressVersion(created.environment_id, "7.1.1".to_owned());
        world.sites.change_in_job(&claim, vec![version.clone(), version]).await.unwrap();
        let environment = world.environment(created.environment_id).await;
        assert_eq!((environment.state_version, environment.updated_at), (2, world.now()), "no change is no version");
        assert_eq!(environment.wordpress_version.as_deref(), Some("7.1.1"));
        let changes = vec![
            Change::EnvironmentStatus(created.environment_id, EnvironmentStatus::Active),
            Change::SiteStatus(created.site_id, SiteStatus::Active),
        ];
        world.sites.settle_job(&claim, &Outcome::Succeeded, changes).await.unwrap();
        let job = world.catalog.job(claim.job_id).await.unwrap().unwrap().job;
        assert_eq!(job.status, JobStatus::Succeeded);
        let (site, environment) = (world.site(created.site_id).await, world.environment(created.environment_id).await);
        assert_eq!((site.status, site.state_version, site.updated_at), (SiteStatus::Active, 2, world.now()));
        assert_eq!((environment.status, environment.state_version), (EnvironmentStatus::Active, 3));
        let told = world.told().await;
        assert_eq!(told[2..], [
            (Some(claim.job_id), Some(node), json!({"environment_status": "active",
                "environment_id": created.environment_id, "site_id": created.site_id})),
            (Some(claim.job_id), Some(node), json!({"site_status": "active", "site_id": created.site_id})),
        ]);
    }

    async fn what_is_changed_without_a_job_is_told_of_the_environments_node(world) {
        let made = world.active_site("shop").await;
        let before = world.told().await.len();
        world.apply(vec![
            Change::EnvironmentStatus(made.environment, EnvironmentStatus::Restoring),
            Change::SiteStatus(made.site, SiteStatus::Restoring),
            Change::SiteStatus(made.site, SiteStatus::Restoring),
        ]).await.unwrap();
        let told = world.told().await;
        let subjects: Vec<_> = told[before..].iter().map(|(job, node, _)| (*job, *node)).collect();
        assert_eq!(subjects, [(None, Some(made.node)); 2], "the same status again is no event");
        assert_eq!(world.site(made.site).await.state_version, 4);
    }

    async fn a_slug_is_taken_once_among_sites_and_once_in_a_site(world) {
        let made = world.active_site("shop").await;
        let other = world.active_site("other").await;
        let refused = world.ask_for_site("shop", made.node).await;
        let Err(StoreError::Duplicate(sentence)) = refused else { panic!("{refused:?}") };
        assert_eq!(sentence, "There is a site with the slug `shop` already.");
        let add = |site: SiteId| Change::AddEnvironment(
            new_environment(EnvironmentId::generate(), site, "staging", made.node),
        );
        world.apply(vec![add(made.site), add(other.site)]).await.unwrap();
        let refused = world.apply(vec![add(made.site)]).await;
        let Err(StoreError::Duplicate(sentence)) = refused else { panic!("{refused:?}") };
        assert_eq!(sentence, "The site has an environment with the slug `staging` already.");
        assert_eq!(world.catalog.counts().await.unwrap().queued, 0);
        assert_eq!(world.sites.site_count().await.unwrap(), 2);
    }

    async fn names_are_those_of_the_newest_sites_and_of_those_that_are_asked_for(world) {
        let first = world.active_site("first").await.site;
        let second = world.active_site("second").await.site;
        let named = async |ids: &[SiteId], newest| -> Vec<SiteId> {
            let names = world.sites.site_names(ids, newest).await.unwrap();
            names.into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(named(&[], 10).await, [second, first]);
        assert_eq!(named(&[], 1).await, [second]);
        assert_eq!(named(&[first, second, SiteId::generate()], 1).await, [second, first]);
        assert_eq!(named(&[first], 0).await, [first]);
        let site = world.site(first).await;
        assert_eq!(world.sites.site_names(&[first], 0).await.unwrap(), [(first, site.name)]);
    }

    async fn an_environment_needs_an_active_node_and_a_site(world) {
        let (node, _) = world.active_node().await;
        let version = world.nodes.node(node).await.unwrap().unwrap().state_version;
        let job = NewJob::on_node(JobKind::NodeProvision, node, 3);
        world.nodes.enqueue(node, version, NodeStatus::Provisioning, job, false).await.unwrap();
        is_conflict(world.ask_for_site("shop", node).await, "node");
        let (changes, job) = new_site("shop", NodeId::generate());
        // The job itself names the node that is there: a job of a node that never was cannot be stored at all.
        let job = NewJob { node_id: Some(node), ..job };
        is_missing(world.sites.enqueue(vec![], changes, job, None).await, "node");
        let lost = new_environment(EnvironmentId::generate(), SiteId::generate(), "lost", node);
        is_missing(world.apply(vec![Change::AddEnvironment(lost)]).await, "site");
        assert_eq!(world.sites.site_count().await.unwrap(), 0);
        assert_eq!((loads(&world).await, world.told().await), (vec![], vec![]));
    }

    async fn a_change_that_fails_undoes_those_before_it(world) {
        let made = world.active_site("shop").await;
        let before = (world.site(made.site).await, world.environment(made.environment).await, world.told().await);
        let (mut changes, job) = new_site("new", made.node);
        changes.push(Change::Schedule(EnvironmentId::generate(), None));
        let idempotency = key(&world, "key", "hash");
        let refused = world.sites.enqueue(vec![], changes.clone(), job.clone(), idempotency.clone()).await;
        is_missing(refused, "environment");
        assert!(world.catalog.job(job.id).await.unwrap().is_none());
        let restore = vec![
            Change::EnvironmentStatus(made.environment, EnvironmentStatus::Restoring),
            Change::SiteStatus(made.site, SiteStatus::Creating),
        ];
        is_conflict(world.apply(restore.clone()).await, "site");
        let waiting = new_job(JobKind::EnvRestore, &made);
        world.sites.enqueue(vec![], vec![], waiting, None).await.unwrap();
        let claim = world.claim().await;
        is_conflict(world.sites.change_in_job(&claim, restore.clone()).await, "site");
        is_conflict(world.sites.settle_job(&claim, &Outcome::Succeeded, restore).await, "site");
        let job_after = world.catalog.job(claim.job_id).await.unwrap().unwrap().job;
        assert_eq!(job_after.status, JobStatus::Running);
        let after = (world.site(made.site).await, world.environment(made.environment).await, world.told().await);
        assert_eq!(after, before);
        assert_eq!(loads(&world).await, [NodeLoad { node_id: made.node, environments: 1 }]);
        changes.pop();
        let created = world.sites.enqueue(vec![], changes, job, idempotency).await.unwrap();
        assert!(!created.replayed, "what failed left no key");
    }

    async fn the_same_request_is_answered_with_what_the_first_wrote(world) {
        let made = world.active_site("shop").await;
        let (changes, job) = new_site("new", made.node);
        let first = world.sites.enqueue(vec![], changes, job, key(&world, "site", "a")).await.unwrap();
        let (changes, job) = new_site("new", made.node);
        let again = world.sites.enqueue(vec![], changes.clone(), job, key(&world, "site", "a")).await.unwrap();
        assert_eq!(again, CreatedInSite { replayed: true, ..first });
        let other = new_site("else", made.node).1;
        let refused = world.sites.enqueue(vec![], changes, other, key(&world, "site", "b")).await;
        assert!(matches!(refused, Err(StoreError::IdempotencyMismatch)), "{refused:?}");

        let backup = new_backup(&made, BackupTrigger::Manual);
        let job = new_job(JobKind::BackupCreate, &made).with_backup(backup.id);
        let stale = vec![Expected::Environment(made.environment, 2)];
        let take = async || {
            let change = vec![Change::AddBackup(backup.clone())];
            world.sites.enqueue(stale.clone(), change, job.clone(), key(&world, "backup", "a")).await.unwrap()
        };
        let first = take().await;
        assert_eq!((first.backup_id, first.environment_id), (Some(backup.id), made.environment));
        world.apply(vec![Change::WordPressVersion(made.environment, "7.1.1".to_owned())]).await.unwrap();
        assert_eq!(take().await, CreatedInSite { replayed: true, ..first }, "whatever changed meanwhile");
        assert_eq!(world.sites.site_count().await.unwrap(), 2);
        assert_eq!(world.catalog.counts().await.unwrap().queued, 2);
    }

    async fn what_was_decided_on_another_version_is_refused(world) {
        let made = world.active_site("shop").await;
        let changes = || vec![Change::SiteStatus(made.site, SiteStatus::Deleting)];
        let job = || new_job(JobKind::SiteDelete, &made);
        let cases = [
            (Expected::Site(made.site, 1), "site"),
            (Expected::Environment(made.environment, 3), "environment"),
        ];
        for (expected, what) in cases {
            is_conflict(world.sites.enqueue(vec![expected], changes(), job(), None).await, what);
            is_conflict(world.sites.apply(vec![expected], changes(), None).await, what);
        }
        let gone = Expected::Site(SiteId::generate(), 1);
        is_missing(world.sites.apply(vec![gone], changes(), None).await, "site");
        let gone = Expected::Environment(EnvironmentId::generate(), 1);
        is_missing(world.sites.apply(vec![gone], changes(), None).await, "environment");
        assert_eq!(world.site(made.site).await.status, SiteStatus::Active);
        assert_eq!(world.catalog.counts().await.unwrap().queued, 0);
        let both = vec![Expected::Site(made.site, 2), Expected::Environment(made.environment, 2)];
        world.sites.enqueue(both, changes(), job(), None).await.unwrap();
        assert_eq!(world.site(made.site).await.status, SiteStatus::Deleting);
    }

    async fn an_old_claim_changes_nothing(world) {
        let (node, _) = world.active_node().await;
        let created = world.ask_for_site("shop", node).await.unwrap();
        let old = world.claim().await;
        world.queue.recover(Recover::All).await.unwrap();
        let new = world.claim().await;
        let before = world.told().await;
        for claim in [&old, &jobs::Claim { worker: worker("two"), ..new.clone() }] {
            let changes = || vec![Change::SiteStatus(created.site_id, SiteStatus::Failed)];
            let changed = world.sites.change_in_job(claim, changes()).await;
            assert!(matches!(changed, Err(StoreError::LostLease)), "{changed:?}");
            let settled = world.sites.settle_job(claim, &Outcome::Succeeded, changes()).await;
            assert!(matches!(settled, Err(StoreError::LostLease)), "{settled:?}");
        }
        assert_eq!((world.site(created.site_id).await.state_version, world.told().await), (1, before));
        world.sites.settle_job(&new, &Outcome::Failed(failure("x")), vec![]).await.unwrap();
    }

    async fn a_status_that_the_state_machine_does_not_lead_to_is_refused(world) {
        let made = world.active_site("shop").await;
        is_conflict(world.apply(vec![Change::SiteStatus(made.site, SiteStatus::Creating)]).await, "site");
        for status in [EnvironmentStatus::Creating, EnvironmentStatus::Cloning] {
            is_conflict(world.apply(vec![Change::EnvironmentStatus(made.environment, status)]).await, "environment");
        }
        world.apply(vec![Change::EnvironmentStatus(made.environment, EnvironmentStatus::Deleting)]).await.unwrap();
        is_conflict(world.apply(vec![Change::EnvironmentRests(made.environment)]).await, "environment");
        assert_eq!(world.site(made.site).await.state_version, 2);
        assert_eq!(world.environment(made.environment).await.state_version, 3);
        is_missing(world.apply(vec![Change::SiteStatus(SiteId::generate(), SiteStatus::Active)]).await, "site");
        is_missing(world.apply(vec![Change::EnvironmentRests(EnvironmentId::generate())]).await, "environment");
        is_missing(world.apply(vec![Change::RemoveSite(SiteId::generate())]).await, "site");
        is_missing(world.apply(vec![Change::RemoveEnvironment(EnvironmentId::generate())]).await, "environment");
    }

    async fn an_environment_goes_back_to_where_it_stood(world) {
        let id = world.active_site("shop").await.environment;
        let rests = async || {
            world.apply(vec![Change::EnvironmentRests(id)]).await.unwrap();
            world.environment(id).await.status
        };
        assert_eq!(world.environment(id).await.resting_status, EnvironmentStatus::Active);
        assert_eq!(moved(&world, id, EnvironmentStatus::Restoring).await, EnvironmentStatus::Active);
        assert_eq!(moved(&world, id, EnvironmentStatus::Restoring).await, EnvironmentStatus::Active);
        assert_eq!(rests().await, EnvironmentStatus::Active);
        moved(&world, id, EnvironmentStatus::Restoring).await;
        assert_eq!(moved(&world, id, EnvironmentStatus::Failed).await, EnvironmentStatus::Failed);
        assert_eq!(moved(&world, id, EnvironmentStatus::Restoring).await, EnvironmentStatus::Failed);
        assert_eq!(rests().await, EnvironmentStatus::Failed);
        assert_eq!(moved(&world, id, EnvironmentStatus::Active).await, EnvironmentStatus::Active);
        assert_eq!(rests().await, EnvironmentStatus::Active, "one at rest stays so");
    }

    async fn an_environment_goes_with_its_backups_and_a_site_with_its_environments(world) {
        let made = world.active_site("shop").await;
        let other = world.active_site("other").await;
        let staging = EnvironmentId::generate();
        world.apply(vec![Change::AddEnvironment(new_environment(staging, made.site, "staging", made.node))]).await.unwrap();
        let backups = [
            new_backup(&made, BackupTrigger::Manual),
            sites_domain::NewBackup { environment_id: staging, ..new_backup(&made, BackupTrigger::Manual) },
            new_backup(&other, BackupTrigger::Manual),
        ];
        world.apply(backups.iter().cloned().map(Change::AddBackup).collect()).await.unwrap();
        let there = async || {
            let mut there = Vec::new();
            for backup in &backups {
                there.push(world.sites.backup(backup.id).await.unwrap().is_some());
            }
            there
        };
        world.apply(vec![Change::RemoveEnvironment(staging)]).await.unwrap();
        assert_eq!(there().await, [true, false, true]);
        assert_eq!(world.sites.environment(staging).await.unwrap(), None);
        world.apply(vec![Change::RemoveSite(made.site)]).await.unwrap();
        assert_eq!(there().await, [false, false, true]);
        assert_eq!(world.sites.site(made.site).await.unwrap(), None);
        assert_eq!(world.sites.environments(made.site).await.unwrap(), []);
        assert_eq!(loads(&world).await, [NodeLoad { node_id: other.node, environments: 1 }]);
        let filter = JobFilter { site_id: Some(made.site), ..JobFilter::default() };
        let kept = world.catalog.jobs(&filter, &PageRequest { limit: 9, after: None }).await.unwrap();
        let record = &kept.items[0].job;
        assert_eq!((record.id, record.site_id, record.environment_id), (made.job, Some(made.site), Some(made.environment)));
        world.ask_for_site("shop", other.node).await.unwrap();
    }

    async fn a_node_that_environments_live_on_is_not_given_back(world) {
        let made = world.active_site("shop").await;
        let node = world.nodes.node(made.node).await.unwrap().unwrap();
        let enqueue = async |version, kind, status| {
            world.nodes.enqueue(made.node, version, status, NewJob::on_node(kind, made.node, 3), true).await
        };
        let decommission = async |version| {
            enqueue(version, JobKind::NodeDecommission, NodeStatus::Decommissioning).await
        };
        let refused = decommission(node.state_version).await;
        assert!(matches!(refused, Err(StoreError::NodeInUse { environments: 1 })), "{refused:?}");
        let same = world.nodes.node(made.node).await.unwrap().unwrap();
        assert_eq!((same.status, same.state_version), (NodeStatus::Active, node.state_version));
        assert_eq!(world.catalog.counts().await.unwrap().queued, 0);
        let node = enqueue(node.state_version, JobKind::NodeProvision, NodeStatus::Provisioning).await.unwrap();
        world.apply(vec![Change::RemoveSite(made.site)]).await.unwrap();
        decommission(node.state_version).await.unwrap();
    }

    async fn a_job_of_a_site_is_none_of_its_node(world) {
        let (node, node_job) = world.active_node().await;
        let created = world.ask_for_site("shop", node).await.unwrap();
        let latest = async || {
            let found = world.catalog.latest_jobs(&[node]).await.unwrap();
            found.into_iter().map(|view| view.job.id).collect::<Vec<_>>()
        };
        assert_eq!(latest().await, [node_job], "a node's newest job is one of its own");
        let idle = world.nodes.idle_nodes("host-1", &[NodeStatus::Active]).await.unwrap();
        assert_eq!(idle.len(), 1);
        let job = NewJob::on_node(JobKind::NodeProvision, node, 3);
        let again = job.id;
        let version = idle[0].state_version;
        world.nodes.enqueue(node, version, NodeStatus::Provisioning, job, true).await.unwrap();
        assert_eq!(latest().await, [again]);
        let waiting = world.catalog.job(created.job_id).await.unwrap().unwrap().job;
        assert_eq!(waiting.status, JobStatus::Queued, "what takes a node's job's place takes no site's");
        let claim = world.claim().await;
        assert_eq!(claim.job_id, created.job_id);
        assert!(world.queue.claim(&worker("two"), SECOND).await.unwrap().is_none(), "they never run at once");
    }

    async fn jobs_are_found_by_site(world) {
        let made = world.active_site("shop").await;
        let other = world.active_site("other").await;
        let job = new_job(JobKind::EnvDelete, &made);
        let newest = job.id;
        world.sites.enqueue(vec![], vec![], job, None).await.unwrap();
        let filter = JobFilter { site_id: Some(made.site), ..JobFilter::default() };
        let found = world.catalog.jobs(&filter, &PageRequest { limit: 9, after: None }).await.unwrap();
        assert_eq!(found.items.iter().map(|view| view.job.id).collect::<Vec<_>>(), [newest, made.job]);
        let filter = JobFilter { site_id: Some(other.site), ..JobFilter::default() };
        let found = world.catalog.jobs(&filter, &PageRequest { limit: 9, after: None }).await.unwrap();
        assert_eq!(found.items.iter().map(|view| view.job.id).collect::<Vec<_>>(), [other.job]);
    }

    async fn jobs_are_found_by_environment_and_by_backup(world) {
        let made = world.active_site("shop").await;
        let other = world.active_site("other").await;
        let (first, second, unknown) = (BackupId::generate(), BackupId::generate(), BackupId::generate());
        let mut jobs = Vec::new();
        for (of, backup) in [(&made, first), (&made, second), (&other, unknown)] {
            let job = new_job(JobKind::BackupCreate, of).with_backup(backup);
            jobs.push(job.id);
            world.sites.enqueue(vec![], vec![], job, None).await.unwrap();
        }
        let ids = async |filter: JobFilter| -> Vec<JobId> {
            let found = world.catalog.jobs(&filter, &PageRequest { limit: 9, after: None }).await.unwrap();
            found.items.into_iter().map(|view| view.job.id).collect()
        };
        let of = |environment| JobFilter { environment_id: Some(environment), ..JobFilter::default() };
        assert_eq!(ids(of(made.environment)).await, [jobs[1], jobs[0], made.job]);
        assert_eq!(ids(of(other.environment)).await, [jobs[2], other.job]);
        let making = |backup_ids| JobFilter { backup_ids, ..JobFilter::default() };
        assert_eq!(ids(making(vec![first, unknown])).await, [jobs[2], jobs[0]]);
        assert_eq!(ids(making(vec![BackupId::generate()])).await, []);
        let both = JobFilter { site_id: Some(other.site), ..making(vec![second, unknown]) };
        assert_eq!(ids(both).await, [jobs[2]]);
    }

    async fn site_pages_follow_each_other(world) {
        let (node, _) = world.active_node().await;
        let mut expected = Vec::new();
        for slug in ["a", "b", "c"] {
            expected.insert(0, world.ask_for_site(slug, node).await.unwrap().site_id);
        }
        let first = world.sites.sites(&SiteFilter::default(), &PageRequest { limit: 2, after: None }).await.unwrap();
        let second = world.sites.sites(&SiteFilter::default(), &PageRequest { limit: 2, after: first.next.clone() }).await.unwrap();
        let seen: Vec<_> = first.items.iter().chain(&second.items).map(|site| site.id).collect();
        assert_eq!((seen, second.next), (expected, None));
    }

    async fn the_environments_of_a_node_are_found_whatever_their_site_and_status(world) {
        let made = world.active_site("shop").await;
        let other = world.active_site("other").await;
        let second = world.ask_for_site("second", made.node).await.unwrap();
        let on = async |node| {
            let found = world.sites.environments_on(node).await.unwrap();
            found.into_iter().map(|environment| (environment.id, environment.status)).collect::<Vec<_>>()
        };
        assert_eq!(on(made.node).await, [
            (made.environment, EnvironmentStatus::Active),
            (second.environment_id, EnvironmentStatus::Creating),
        ], "oldest first");
        assert_eq!(on(other.node).await, [(other.environment, EnvironmentStatus::Active)]);
        assert_eq!(on(NodeId::generate()).await, []);
    }

    async fn an_environment_answers_elsewhere_as_soon_as_its_job_says_so(world) {
        let made = world.active_site("shop").await;
        let before = world.environment(made.environment).await;
        world.sites.enqueue(vec![], vec![], new_job(JobKind::EnvReaddress, &made), None).await.unwrap();
        let claim = world.claim().await;
        world.clock.advance(SECOND);
        let moved = Change::PreviewUrl(made.environment, "http://elsewhere.test".to_owned());
        world.sites.change_in_job(&claim, vec![moved.clone(), moved]).await.unwrap();
        let after = world.environment(made.environment).await;
        assert_eq!((after.preview_url.as_str(), after.status), ("http://elsewhere.test", before.status));
        assert_eq!((after.state_version, after.updated_at), (before.state_version + 1, world.now()), "no change is no version");
        let failed = vec![
            Change::EnvironmentStatus(made.environment, EnvironmentStatus::Failed),
            Change::SiteStatus(made.site, SiteStatus::Failed),
        ];
        world.sites.settle_job(&claim, &Outcome::Failed(failure("not there")), failed).await.unwrap();
        assert_eq!(world.environment(made.environment).await.status, EnvironmentStatus::Failed);
        assert_eq!(world.site(made.site).await.status, SiteStatus::Failed);
        let unknown = Change::PreviewUrl(EnvironmentId::generate(), "http://x.test".to_owned());
        is_missing(world.apply(vec![unknown]).await, "environment");
    }

    async fn a_schedule_is_kept_and_given_up(world) {
        let id = world.active_site("shop").await.environment;
        let schedule = BackupSchedule { every_hours: 24, keep_days: 7, backup_scope: BackupScope::Db };
        for (wanted, version) in [(Some(schedule), 3), (None, 4)] {
            world.apply(vec![Change::Schedule(id, wanted.clone())]).await.unwrap();
            let environment = world.environment(id).await;
            assert_eq!((environment.backup_schedule, environment.state_version), (wanted, version));
        }
    }
}
