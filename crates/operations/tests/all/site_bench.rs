//! What operations works with for sites, in memory.

use std::sync::Arc;

use domain_kernel::{BackupId, EnvironmentId, JobId, NodeId, SiteId};
use jobs::{Job, JobCatalog, JobFilter, JobKind, Outcome, PageRequest, RetryPolicy, RunEnd, Workflow};
use nodes_domain::NodeStatus;
use operations::{
    BackupCreate, BackupKeeper, BackupStorages, CreateEnv, CreateSite, EnvCreate, EnvDelete, EnvReaddress, EnvRestore,
    NodesService, PreviewKeeper, SiteCreate, SiteDelete, SiteDeps, SiteWork, SitesService,
};
use sites_domain::{
    Backup, BackupScope, CreatedInSite, Environment, EnvironmentStatus, EnvironmentType, Site, SiteStatus,
};
use test_support::{
    FakeArtifacts, FakeEnvironment, FakeEnvironments, FakeNodeFiles, FakePreview, FakeProbe, FakeSecretBox,
    FakeSiteRuntime, FakeSsh, FakeTransfer, ManualClock, MemoryJobs, MemoryNodes, MemorySites, MemoryStorage,
    NumberedTokens, RecordingSignal,
};

use crate::bench::Bench;

/// The parts of a control plane that are about sites.
pub(crate) struct SiteBench {
    pub(crate) rows: Arc<MemorySites>,
    pub(crate) files: FakeNodeFiles,
    pub(crate) runtime: Arc<FakeSiteRuntime>,
    pub(crate) environments: FakeEnvironments,
    pub(crate) preview: Arc<FakePreview>,
    pub(crate) artifacts: Arc<FakeArtifacts>,
    pub(crate) transfer: Arc<FakeTransfer>,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) storages: BackupStorages,
    pub(crate) deps: SiteDeps,
    pub(crate) service: Arc<SitesService>,
    work: SiteWork,
}

impl SiteBench {
    pub(crate) fn new(
        clock: Arc<ManualClock>,
        jobs: Arc<MemoryJobs>,
        nodes: Arc<MemoryNodes>,
        nodes_service: Arc<NodesService>,
        ssh: Arc<FakeSsh>,
        probe: Arc<FakeProbe>,
        signal: Arc<RecordingSignal>,
    ) -> Self {
        let rows = Arc::new(MemorySites::new(clock.clone(), jobs.clone(), nodes.clone()));
        let files = FakeNodeFiles::default();
        let answers = files.clone();
        ssh.answer(move |node_id, command| answers.answer(node_id, command));
        let runtime = Arc::new(FakeSiteRuntime::new(files.clone()));
        let environments = runtime.environments();
        let preview = Arc::new(FakePreview::new(environments.clone()));
        let artifacts = Arc::new(FakeArtifacts::default());
        let transfer = Arc::new(FakeTransfer::new(files.clone()));
        let storage = Arc::new(MemoryStorage::new("local"));
        let storages = BackupStorages::new(storage.clone());
        let deps = SiteDeps {
            sites: rows.clone(),
            nodes: nodes_service,
            node_store: nodes.clone(),
            ssh: ssh.clone(),
            preview: preview.clone(),
            secrets: Arc::new(FakeSecretBox),
            tokens: Arc::new(NumberedTokens::default()),
            clock: clock.clone(),
            signal,
            preview_domain: None,
            max_attempts: RetryPolicy::default().max_attempts(),
        };
        let work = SiteWork {
            sites: rows.clone(),
            node_store: nodes,
            catalog: jobs,
            runtime: runtime.clone(),
            artifacts: artifacts.clone(),
            transfer: transfer.clone(),
            ssh,
            preview: preview.clone(),
            probe,
            secrets: Arc::new(FakeSecretBox),
            storages: storages.clone(),
            preview_domain: None,
        };
        Self {
            rows,
            files,
            environments,
            runtime,
            preview,
            artifacts,
            transfer,
            storage,
            storages,
            service: Arc::new(SitesService::new(deps.clone())),
            deps,
            work,
        }
    }

    pub(crate) fn workflows(&self) -> Vec<Arc<dyn Workflow>> {
        let work = || self.work.clone();
        vec![
            Arc::new(SiteCreate::new(work())),
            Arc::new(EnvCreate::new(work())),
            Arc::new(SiteDelete::new(work())),
            Arc::new(EnvDelete::new(work())),
            Arc::new(BackupCreate::new(work())),
            Arc::new(EnvRestore::new(work())),
            Arc::new(EnvReaddress::new(work())),
            Arc::new(SiteDelete::abandoning(work())),
            Arc::new(EnvDelete::abandoning(work())),
        ]
    }

    pub(crate) fn keeper(&self, clock: Arc<ManualClock>) -> BackupKeeper {
        BackupKeeper::new(self.service.clone(), self.storages.clone(), clock)
    }
}

/// A request for a site on whichever node is best.
pub(crate) fn site_request(slug: &str) -> CreateSite {
    CreateSite {
        name: "A shop".parse().unwrap(),
        slug: slug.parse().unwrap(),
        node_id: None,
        admin_email: "me@example.test".to_owned(),
    }
}

/// A request for a staging environment.
pub(crate) fn staging_request(slug: &str, source: EnvironmentId) -> CreateEnv {
    CreateEnv {
        name: "Staging".parse().unwrap(),
        slug: slug.parse().unwrap(),
        environment_type: EnvironmentType::Staging,
        source_environment_id: source,
        promotion_preset: None,
    }
}

impl Bench {
    /// The keeper of preview URLs.
    pub(crate) fn preview_keeper(&self) -> PreviewKeeper {
        PreviewKeeper::new(self.sites.service.clone(), self.jobs.clone(), self.clock.clone())
    }

    /// Gives a node's machine another address, as the reconciler finds it.
    pub(crate) fn readdress(&self, node_id: NodeId, address: &str) {
        let mut node = self.node(node_id);
        let target = node.target.as_mut().expect("the node has an address");
        target.public_ip = Some(address.parse().unwrap());
        self.nodes.put(node);
    }

    /// Makes a node one that does not answer.
    pub(crate) fn set_node_status(&self, node_id: NodeId, status: NodeStatus) {
        let mut node = self.node(node_id);
        node.status = status;
        self.nodes.put(node);
    }

    /// The jobs of a kind, newest first.
    pub(crate) async fn jobs_of(&self, kind: JobKind) -> Vec<Job> {
        let filter = JobFilter {
            kind: Some(kind),
            ..JobFilter::default()
        };
        let page = PageRequest {
            limit: 100,
            after: None,
        };
        let found = self.jobs.jobs(&filter, &page).await.unwrap();
        found.items.into_iter().map(|view| view.job).collect()
    }

    /// Asks for a site; its job waits.
    pub(crate) async fn asked_site(&self, slug: &str) -> CreatedInSite {
        let created = self.sites.service.create_site(site_request(slug), None, None).await;
        created.unwrap()
    }

    /// A ready node and a site on it whose preview was proved.
    pub(crate) async fn active_site(&self) -> CreatedInSite {
        self.active_node().await;
        let created = self.asked_site("shop").await;
        assert_eq!(self.run().await, RunEnd::Settled(Outcome::Succeeded));
        assert_eq!(self.site(created.site_id).status, SiteStatus::Active);
        created
    }

    /// A staging environment of that site.
    pub(crate) async fn active_staging(&self, site: &CreatedInSite) -> CreatedInSite {
        let request = staging_request("staging", site.environment_id);
        let created = self
            .sites
            .service
            .create_environment(site.site_id, request, None, None)
            .await;
        let created = created.unwrap();
        assert_eq!(self.run().await, RunEnd::Settled(Outcome::Succeeded));
        created
    }

    /// A complete backup of an environment, kept until it is given up.
    pub(crate) async fn stored_backup(&self, environment: EnvironmentId) -> BackupId {
        let created = self
            .sites
            .service
            .create_backup(environment, BackupScope::Full, None, None, None)
            .await
            .unwrap();
        assert_eq!(self.run().await, RunEnd::Settled(Outcome::Succeeded));
        created.backup_id.unwrap()
    }

    pub(crate) fn site(&self, id: SiteId) -> Site {
        self.sites.rows.find_site(id).expect("the site is there")
    }

    pub(crate) fn environment(&self, id: EnvironmentId) -> Environment {
        self.sites.rows.find_environment(id).expect("the environment is there")
    }

    pub(crate) fn backup(&self, id: BackupId) -> Backup {
        let all = self.sites.rows.all_backups();
        all.into_iter()
            .find(|backup| backup.id == id)
            .expect("the backup is there")
    }

    /// Where a site and an environment of it stand.
    pub(crate) fn standing(&self, of: &CreatedInSite) -> (SiteStatus, EnvironmentStatus) {
        (self.site(of.site_id).status, self.environment(of.environment_id).status)
    }

    /// What an environment holds on its node.
    pub(crate) fn held(&self, id: EnvironmentId) -> FakeEnvironment {
        self.sites.environments.get(&id.short()).expect("it is on its node")
    }

    pub(crate) fn set_content(&self, id: EnvironmentId, content: &str) {
        self.sites
            .environments
            .change(&id.short(), |known| known.content = content.to_owned());
    }

    /// The details of a job's steps, for the operator.
    pub(crate) fn detail(&self, job: JobId, step: &str) -> String {
        self.step(job, step).detail.unwrap_or_default()
    }

    pub(crate) fn node_of(&self, id: EnvironmentId) -> NodeId {
        self.environment(id).node_id
    }
}

impl Bench {
    /// Runs the due job until something lies unfinished in the storage; then its worker dies.
    pub(crate) async fn run_until_unfinished(&self) {
        let claimed = self.claim().await;
        {
            let mut run = std::pin::pin!(self.runner.run(claimed, domain_kernel::CancelToken::new()));
            while self.sites.storage.unfinished().is_empty() {
                assert!(futures_util::poll!(&mut run).is_pending(), "it ended before");
            }
        }
        jobs::JobStore::recover(self.jobs.as_ref(), jobs::Recover::All)
            .await
            .unwrap();
    }
}
