//! What tests of sites begin with. They run on both databases and on the stores in memory, which promise the same.

use std::sync::Arc;

use domain_kernel::{AccountId, BackupId, Clock, EnvironmentId, JobId, NodeId, SiteId, Timestamp};
use jobs::{Claim, EventFilter, JobCatalog, JobKind, JobStore, NewJob, Outcome, StoreError};
use nodes_domain::{NodeChange, NodeStatus, NodeStore};
use serde_json::Value;
use sites_domain::{
    Backup, BackupScope, BackupTrigger, Change, CreatedInSite, Environment, EnvironmentStatus, EnvironmentType,
    NewBackup, NewEnvironment, NewSite, OverviewStore, Site, SiteStatus, SiteStore,
};
use test_support::{ManualClock, MemoryJobs, MemoryNodes, MemorySites};

use crate::support::{LEASE, TestDatabase, new_node, worker};

/// Declares tests that run on both databases, as `store_tests` does, and in memory.
macro_rules! site_tests {
    ($(async fn $name:ident($world:ident) $body:block)*) => {
        pub(crate) const CASES: &[crate::support::Case] = &[$(crate::support::Case {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: |database| Box::pin(async { $name::case(crate::site_support::World::of(database).await).await }),
        },)*];

        $(mod $name {
            #[allow(unused_imports)]
            use super::*;

            pub(super) async fn case($world: crate::site_support::World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let database = crate::support::TestDatabase::sqlite();
                case(crate::site_support::World::of(database).await).await;
            }

            #[tokio::test]
            async fn in_memory() {
                case(crate::site_support::World::in_memory()).await;
            }
        })*
    };
}
pub(crate) use site_tests;

/// The stores that a test of sites needs, on one thing.
pub(crate) struct World {
    pub(crate) sites: Arc<dyn SiteStore>,
    pub(crate) overview: Arc<dyn OverviewStore>,
    pub(crate) nodes: Arc<dyn NodeStore>,
    pub(crate) queue: Arc<dyn JobStore>,
    pub(crate) catalog: Arc<dyn JobCatalog>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) account: AccountId,
    /// The database, where there is one; it goes when this does.
    pub(crate) database: Option<TestDatabase>,
}

/// An active site with its production environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) node: NodeId,
    pub(crate) site: SiteId,
    pub(crate) environment: EnvironmentId,
    pub(crate) job: JobId,
}

impl World {
    pub(crate) async fn of(database: TestDatabase) -> Self {
        let store = Arc::new(database.store.clone());
        Self {
            sites: store.clone(),
            overview: store.clone(),
            nodes: store.clone(),
            queue: store.clone(),
            catalog: store,
            clock: database.clock.clone(),
            account: database.create_account("ops@example.test").await,
            database: Some(database),
        }
    }

    pub(crate) fn in_memory() -> Self {
        let clock = Arc::new(ManualClock::new());
        let jobs = Arc::new(MemoryJobs::new(clock.clone()));
        let nodes = Arc::new(MemoryNodes::new(clock.clone(), jobs.clone()));
        let sites = Arc::new(MemorySites::new(clock.clone(), jobs.clone(), nodes.clone()));
        Self {
            sites: sites.clone(),
            overview: sites,
            nodes,
            queue: jobs.clone(),
            catalog: jobs,
            clock,
            account: AccountId::generate(),
            database: None,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn claim(&self) -> Claim {
        self.queue.claim(&worker("one"), LEASE).await.unwrap().unwrap().claim
    }

    /// A node that its job made active, and that job.
    pub(crate) async fn active_node(&self) -> (NodeId, JobId) {
        let node = new_node();
        let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3);
        let created = self.nodes.create(node, job, None).await.unwrap();
        let claim = self.claim().await;
        let change = NodeChange::status(NodeStatus::Active);
        let settled = self
            .nodes
            .settle_job(&claim, &Outcome::Succeeded, created.node_id, change);
        settled.await.unwrap();
        (created.node_id, created.job_id)
    }

    /// Asks for a site on a node.
    pub(crate) async fn ask_for_site(&self, slug: &str, node: NodeId) -> Result<CreatedInSite, StoreError> {
        let (changes, job) = new_site(slug, node);
        self.sites.enqueue(vec![], changes, job, None).await
    }

    /// A site that its job made active, on a node of its own.
    pub(crate) async fn active_site(&self, slug: &str) -> Made {
        let (node, _) = self.active_node().await;
        let created = self.ask_for_site(slug, node).await.unwrap();
        let claim = self.claim().await;
        assert_eq!(claim.job_id, created.job_id);
        let changes = vec![
            Change::EnvironmentStatus(created.environment_id, EnvironmentStatus::Active),
            Change::SiteStatus(created.site_id, SiteStatus::Active),
        ];
        self.sites
            .settle_job(&claim, &Outcome::Succeeded, changes)
            .await
            .unwrap();
        Made {
            node,
            site: created.site_id,
            environment: created.environment_id,
            job: created.job_id,
        }
    }

    pub(crate) async fn site(&self, id: SiteId) -> Site {
        self.sites.site(id).await.unwrap().unwrap()
    }

    pub(crate) async fn environment(&self, id: EnvironmentId) -> Environment {
        self.sites.environment(id).await.unwrap().unwrap()
    }

    pub(crate) async fn backup(&self, id: BackupId) -> Backup {
        self.sites.backup(id).await.unwrap().unwrap()
    }

    pub(crate) async fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.sites.apply(vec![], changes, None).await
    }

    /// The events so far that tell a status of a site or of something in it, with the job that they belong to.
    pub(crate) async fn told(&self) -> Vec<(Option<JobId>, Option<NodeId>, Value)> {
        let filter = EventFilter {
            after: 0,
            job_id: None,
            limit: 1000,
        };
        let events = self.catalog.events(&filter).await.unwrap();
        let of_site = events.into_iter().filter(|event| !event.data["site_id"].is_null());
        of_site.map(|event| (event.job_id, event.node_id, event.data)).collect()
    }
}

/// A site with its production environment, and the job that makes it.
pub(crate) fn new_site(slug: &str, node: NodeId) -> (Vec<Change>, NewJob) {
    let (site, environment) = (SiteId::generate(), EnvironmentId::generate());
    let changes = vec![
        Change::AddSite(NewSite {
            id: site,
            name: "A shop".parse().unwrap(),
            slug: slug.parse().unwrap(),
            primary_environment_id: environment,
        }),
        Change::AddEnvironment(new_environment(environment, site, "production", node)),
    ];
    (
        changes,
        NewJob::on_environment(JobKind::SiteCreate, node, site, environment, 3),
    )
}

pub(crate) fn new_environment(id: EnvironmentId, site_id: SiteId, slug: &str, node_id: NodeId) -> NewEnvironment {
    NewEnvironment {
        id,
        site_id,
        name: "An environment".parse().unwrap(),
        slug: slug.parse().unwrap(),
        environment_type: EnvironmentType::Production,
        node_id,
        source_environment_id: None,
        promotion_preset: None,
        preview_url: format!("http://{}.test", id.short()),
        sealed_secrets: format!("sealed for {id}"),
    }
}

/// A backup of a site's production environment.
pub(crate) fn new_backup(made: &Made, trigger: BackupTrigger) -> NewBackup {
    NewBackup {
        id: BackupId::generate(),
        environment_id: made.environment,
        site_id: made.site,
        scope: BackupScope::Full,
        trigger,
        retention_until: None,
        job_id: JobId::generate(),
    }
}

/// A job on a site's production environment.
pub(crate) fn new_job(kind: JobKind, made: &Made) -> NewJob {
    NewJob::on_environment(kind, made.node, made.site, made.environment, 3)
}
