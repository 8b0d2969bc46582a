//! The filters of nodes and of sites, and what a page of sites is made of.

use std::time::Duration;

use domain_kernel::{EnvironmentId, JobId, NodeId, SiteId};
use jobs::{JobKind, NewJob, Outcome, PageRequest};
use nodes_domain::{AcquisitionSource, NewNode, NodeBrief, NodeChange, NodeFilter, NodeStatus, NodeTarget, RemoteHost};
use sites_domain::{BackupChange, BackupCut, BackupStatus, BackupTrigger, Change, NewSite, SiteFilter, SiteStatus};

use crate::overview::{backed_up, completed, look, probed};
use crate::site_support::{World, new_backup, new_environment, new_job, site_tests};
use crate::support::{SECOND, new_node, target};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn all() -> PageRequest {
    PageRequest { limit: 99, after: None }
}

async fn nodes(world: &World, filter: NodeFilter) -> Vec<NodeId> {
    let found = world.nodes.nodes(&filter, &all()).await.unwrap();
    found.items.into_iter().map(|node| node.id).collect()
}

async fn nodes_with(world: &World, text: &str) -> Vec<NodeId> {
    let search = Some(text.parse().unwrap());
    nodes(
        world,
        NodeFilter {
            search,
            ..NodeFilter::default()
        },
    )
    .await
}

async fn sites(world: &World, filter: SiteFilter) -> Vec<SiteId> {
    let found = world.sites.sites(&filter, &all()).await.unwrap();
    found.items.into_iter().map(|site| site.id).collect()
}

async fn sites_with(world: &World, text: &str) -> Vec<SiteId> {
    let search = Some(text.parse().unwrap());
    sites(
        world,
        SiteFilter {
            search,
            ..SiteFilter::default()
        },
    )
    .await
}

/// A node of this name that is being provisioned.
async fn named(world: &World, name: &str, host: Option<RemoteHost>) -> NodeId {
    let node = NewNode {
        name: name.parse().unwrap(),
        source: if host.is_some() {
            AcquisitionSource::Remote
        } else {
            AcquisitionSource::Local
        },
        remote: host,
        ..new_node()
    };
    let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3);
    world.nodes.create(node, job, None).await.unwrap().node_id
}

/// A site of this name, with its production environment on a node.
async fn named_site(world: &World, name: &str, slug: &str, node: NodeId) -> SiteId {
    let (site, environment) = (SiteId::generate(), EnvironmentId::generate());
    let changes = vec![
        Change::AddSite(NewSite {
            id: site,
            name: name.parse().unwrap(),
            slug: slug.parse().unwrap(),
            primary_environment_id: environment,
        }),
        Change::AddEnvironment(new_environment(environment, site, "production", node)),
    ];
    world.apply(changes).await.unwrap();
    site
}

site_tests! {
    async fn nodes_are_found_by_a_part_of_their_name_without_wildcards(world) {
        let shop = named(&world, "My Shop_1", None).await;
        let whole = named(&world, "100% 'café\\ \"x\"", None).await;
        assert_eq!(nodes_with(&world, "shop").await, [shop]);
        assert_eq!(nodes_with(&world, "Y sHO").await, [shop]);
        assert_eq!(nodes_with(&world, "_").await, [shop], "no wildcard");
        assert_eq!(nodes_with(&world, "%").await, [whole], "no wildcard");
        assert_eq!(nodes_with(&world, "' OR '1").await, []);
        for part in ["'caf", "\\ \"x", "FÉ"] {
            let found = nodes_with(&world, part).await;
            assert_eq!(found, if part == "FÉ" { vec![] } else { vec![whole] }, "{part}");
        }
        assert_eq!(nodes_with(&world, "é").await, [whole]);
        assert_eq!(nodes_with(&world, "null").await, []);
    }

    async fn nodes_are_found_by_host_and_address(world) {
        let host = RemoteHost {
            hostname: "web-1.example.test".parse().unwrap(),
            ssh_port: 22,
            ssh_user: "deploy".parse().unwrap(),
            public_ip: Some("2001:db8::7".parse().unwrap()),
            host_key_fingerprint: None,
        };
        let remote = named(&world, "first", Some(host)).await;
        let claim = world.claim().await;
        let change = NodeChange { status: Some(NodeStatus::Active), ..NodeChange::default() };
        world.nodes.settle_job(&claim, &Outcome::Succeeded, remote, change).await.unwrap();
        let local = named(&world, "second", None).await;
        let claim = world.claim().await;
        let place = NodeTarget {
            hostname: "vm-seven".to_owned(),
            public_ip: Some("192.0.2.77".parse().unwrap()),
            ..target()
        };
        let change = NodeChange { target: Some(place), ..NodeChange::default() };
        world.nodes.change_in_job(&claim, local, change).await.unwrap();
        for (part, found) in [
            ("EXAMPLE", vec![remote]),
            ("2001:DB8", vec![remote]),
            ("vm-seven", vec![local]),
            ("0.2.77", vec![local]),
            // Neither what else is stored of them, nor two texts side by side.
            ("deploy", vec![]),
            ("ssh-ed25519", vec![]),
            ("hostname", vec![]),
            ("firstweb", vec![]),
            ("s", vec![local, remote]),
        ] {
            assert_eq!(nodes_with(&world, part).await, found, "{part}");
        }
    }

    async fn nodes_are_found_by_status_and_by_whether_they_need_attention(world) {
        let (good, _) = world.active_node().await;
        probed(&world, good, NodeStatus::Active, true).await;
        let (not_ready, _) = world.active_node().await;
        probed(&world, not_ready, NodeStatus::Active, false).await;
        let (never_seen, _) = world.active_node().await;
        let (unreachable, _) = world.active_node().await;
        probed(&world, unreachable, NodeStatus::Unreachable, false).await;
        let failed = named(&world, "failed", None).await;
        let claim = world.claim().await;
        let change = NodeChange::status(NodeStatus::Failed);
        world.nodes.settle_job(&claim, &Outcome::Cancelled, failed, change).await.unwrap();
        let gone = named(&world, "gone", None).await;
        let claim = world.claim().await;
        for status in [NodeStatus::Decommissioning, NodeStatus::Decommissioned] {
            world.nodes.change_in_job(&claim, gone, NodeChange::status(status)).await.unwrap();
        }
        let waiting = named(&world, "waiting", None).await;

        let of = |status| NodeFilter { status: Some(status), ..NodeFilter::default() };
        assert_eq!(nodes(&world, of(NodeStatus::Active)).await, [never_seen, not_ready, good]);
        assert_eq!(nodes(&world, of(NodeStatus::Failed)).await, [failed]);
        assert_eq!(nodes(&world, of(NodeStatus::Provisioning)).await, [waiting]);
        assert_eq!(nodes(&world, of(NodeStatus::Decommissioned)).await, [gone], "who asks for it gets it");
        let attention = NodeFilter { needs_attention: true, ..NodeFilter::default() };
        assert_eq!(nodes(&world, attention.clone()).await, [failed, unreachable, never_seen, not_ready]);
        let told = look(&world).await.nodes.items;
        let told: Vec<NodeId> = told.into_iter().map(|node| node.thing.id).collect();
        assert_eq!(nodes(&world, attention.clone()).await, told, "as the overview tells it");
        let both = NodeFilter { status: Some(NodeStatus::Active), ..attention.clone() };
        assert_eq!(nodes(&world, both).await, [never_seen, not_ready]);
        let named = NodeFilter { search: Some("FAIL".parse().unwrap()), ..attention };
        assert_eq!(nodes(&world, named).await, [failed]);
        let everything = NodeFilter { include_decommissioned: true, ..NodeFilter::default() };
        assert_eq!(nodes(&world, everything).await.len(), 7);
        assert_eq!(nodes(&world, NodeFilter::default()).await.len(), 6);
    }

    async fn pages_of_what_is_looked_for_follow_each_other(world) {
        let mut expected = Vec::new();
        for name in ["a-1", "b", "a-2", "a-3"] {
            let id = named(&world, name, None).await;
            if name != "b" {
                expected.insert(0, id);
            }
        }
        let filter = NodeFilter { search: Some("a-".parse().unwrap()), ..NodeFilter::default() };
        let first = world.nodes.nodes(&filter, &PageRequest { limit: 2, after: None }).await.unwrap();
        let second = world.nodes.nodes(&filter, &PageRequest { limit: 2, after: first.next.clone() }).await.unwrap();
        let seen: Vec<_> = first.items.iter().chain(&second.items).map(|node| node.id).collect();
        assert_eq!((seen, second.next), (expected, None));
    }

    async fn nodes_in_brief_are_the_ready_ones_and_those_that_are_asked_for(world) {
        let (good, _) = world.active_node().await;
        probed(&world, good, NodeStatus::Active, true).await;
        let (unreachable, _) = world.active_node().await;
        probed(&world, unreachable, NodeStatus::Unreachable, true).await;
        let (never_seen, _) = world.active_node().await;
        let brief = async |ids: &[NodeId]| {
            let found = world.nodes.node_briefs(ids).await.unwrap();
            found.into_iter().map(|node| (node.id, node.is_ready)).collect::<Vec<_>>()
        };
        assert_eq!(brief(&[]).await, [(good, true)]);
        let asked = [good, unreachable, never_seen, NodeId::generate()];
        assert_eq!(brief(&asked).await, [(never_seen, false), (unreachable, false), (good, true)]);
        let node = world.nodes.node(good).await.unwrap().unwrap();
        let brief = NodeBrief { id: good, name: node.name, status: NodeStatus::Active, is_ready: true };
        assert_eq!(world.nodes.node_briefs(&[]).await.unwrap(), [brief]);
    }

    async fn sites_are_found_by_name_and_slug_and_status_and_node(world) {
        let (one, _) = world.active_node().await;
        let (other, _) = world.active_node().await;
        let shop = named_site(&world, "Zoë's Corner_Shop", "first", one).await;
        let blog = named_site(&world, "50% off", "corner-blog", other).await;
        assert_eq!(sites_with(&world, "corner").await, [blog, shop]);
        assert_eq!(sites_with(&world, "CORNER-B").await, [blog]);
        assert_eq!(sites_with(&world, "r_s").await, [shop]);
        assert_eq!(sites_with(&world, "_").await, [shop], "no wildcard");
        assert_eq!(sites_with(&world, "%").await, [blog], "no wildcard");
        assert_eq!(sites_with(&world, "offcorner").await, []);
        assert_eq!(sites_with(&world, "ë'S").await, [shop]);
        let on = |node| SiteFilter { node_id: Some(node), ..SiteFilter::default() };
        assert_eq!(sites(&world, on(one)).await, [shop]);
        assert_eq!(sites(&world, on(other)).await, [blog]);
        assert_eq!(sites(&world, on(NodeId::generate())).await, []);
        world.apply(vec![Change::SiteStatus(blog, SiteStatus::Failed)]).await.unwrap();
        let of = |status| SiteFilter { status: Some(status), ..SiteFilter::default() };
        assert_eq!(sites(&world, of(SiteStatus::Failed)).await, [blog]);
        assert_eq!(sites(&world, of(SiteStatus::Creating)).await, [shop]);
        assert_eq!(sites(&world, of(SiteStatus::Active)).await, []);
        let all_of_it = SiteFilter {
            search: Some("corner".parse().unwrap()),
            node_id: Some(other),
            ..of(SiteStatus::Failed)
        };
        assert_eq!(sites(&world, all_of_it.clone()).await, [blog]);
        assert_eq!(sites(&world, SiteFilter { node_id: Some(one), ..all_of_it }).await, []);
        let second = new_environment(EnvironmentId::generate(), shop, "staging", one);
        world.apply(vec![Change::AddEnvironment(second)]).await.unwrap();
        assert_eq!(sites(&world, on(one)).await, [shop], "once, however many environments it has there");
    }

    async fn sites_that_need_a_backup_are_those_that_the_overview_tells(world) {
        let saved = world.active_site("saved").await;
        let bare = world.active_site("bare").await;
        let unsaved = async || {
            let cut = BackupCut::at(world.now());
            let found = sites(&world, SiteFilter { unsaved: Some(cut), ..SiteFilter::default() }).await;
            let told = look(&world).await.unsaved_sites.items;
            assert_eq!(found, told.into_iter().map(|told| told.site.id).collect::<Vec<_>>());
            found
        };
        assert_eq!(unsaved().await, [], "not old enough");
        world.clock.advance(DAY + SECOND);
        assert_eq!(unsaved().await, [bare.site, saved.site]);
        backed_up(&world, &saved, 1).await;
        assert_eq!(unsaved().await, [bare.site]);
        world.clock.advance(DAY * 7 + SECOND);
        assert_eq!(unsaved().await, [bare.site, saved.site]);
    }

    async fn the_job_of_interest_is_the_one_at_work_else_the_one_that_waits_longest_else_the_newest(world) {
        let (shop, blog) = (world.active_site("shop").await, world.active_site("blog").await);
        let of_interest = async |ids: &[SiteId]| {
            let mut found: Vec<JobId> = world.catalog.jobs_of_interest(ids).await.unwrap().into_iter().map(|view| view.job.id).collect();
            found.sort();
            found
        };
        let both = [blog.site, shop.site, SiteId::generate()];
        assert_eq!(of_interest(&both).await, [shop.job, blog.job], "of each its newest, though it has ended");
        assert_eq!(of_interest(&[]).await, []);
        let mut ids = Vec::new();
        for _ in 0..7 {
            let job = new_job(JobKind::BackupCreate, &shop);
            ids.push(job.id);
            world.sites.enqueue(vec![], vec![], job, None).await.unwrap();
        }
        assert_eq!(of_interest(&both).await, [blog.job, ids[0]], "it waits longest");
        assert_eq!(of_interest(&[blog.site]).await, [blog.job]);
        let claim = world.claim().await;
        world.sites.settle_job(&claim, &Outcome::Succeeded, vec![]).await.unwrap();
        assert_eq!(of_interest(&both).await, [blog.job, ids[1]]);
        let at_work = world.claim().await;
        assert_eq!(of_interest(&both).await, [blog.job, at_work.job_id]);
        world.queue.step_started(&at_work, 0, "one").await.unwrap();
        let view = world.catalog.jobs_of_interest(&[shop.site]).await.unwrap().remove(0);
        assert_eq!((view.job.id, view.steps.len()), (at_work.job_id, 1), "with its steps");
        for id in &ids {
            world.catalog.request_cancel(*id, None).await.unwrap();
        }
        world.sites.settle_job(&at_work, &Outcome::Cancelled, vec![]).await.unwrap();
        while let Some(claimed) = world.queue.claim(&crate::support::worker("one"), SECOND).await.unwrap() {
            world.sites.settle_job(&claimed.claim, &Outcome::Cancelled, vec![]).await.unwrap();
        }
        assert_eq!(of_interest(&both).await, [blog.job, ids[6]], "all have ended: the newest");
    }

    async fn environments_and_newest_backups_are_told_for_many_at_once(world) {
        let (shop, blog) = (world.active_site("shop").await, world.active_site("blog").await);
        let ids = [blog.environment, EnvironmentId::generate(), shop.environment];
        let found = world.sites.environments_by_ids(&ids).await.unwrap();
        assert_eq!(found, [world.environment(shop.environment).await, world.environment(blog.environment).await]);
        assert_eq!(world.sites.environments_by_ids(&[]).await.unwrap(), []);
        let newest = async || world.sites.newest_backups(&ids).await.unwrap();
        assert_eq!(newest().await, []);
        backed_up(&world, &shop, 1).await;
        world.clock.advance(SECOND);
        let later = world.now();
        backed_up(&world, &shop, 1).await;
        assert_eq!(newest().await, [(shop.environment, later)]);
        world.clock.advance(SECOND);
        let newest_of_all = backed_up(&world, &shop, 1).await.id;
        assert_eq!(newest().await, [(shop.environment, world.now())]);
        world.apply(vec![Change::Backup(newest_of_all, BackupChange::Status(BackupStatus::Expired))]).await.unwrap();
        assert_eq!(newest().await, [(shop.environment, later)], "one that was given up is none");
        world.clock.advance(SECOND);
        completed(&world, new_backup(&shop, BackupTrigger::Checkpoint), 1).await;
        assert_eq!(newest().await, [(shop.environment, later)], "a checkpoint holds what a restore replaced");
        world.apply(vec![Change::AddBackup(new_backup(&shop, BackupTrigger::Manual))]).await.unwrap();
        backed_up(&world, &blog, 1).await;
        assert_eq!(newest().await, [(shop.environment, later), (blog.environment, world.now())], "one that waits is none");
    }
}
