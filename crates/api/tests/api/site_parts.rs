//! What sites stand on in these tests, and sites that a worker has made.

use std::sync::Arc;

use domain_kernel::{BackupId, EnvironmentId, JobErrorCode, JobId, NodeId, SiteId};
use jobs::{Failure, Outcome, RetryPolicy, Workflow};
use operations::{
    BackupCreate, BackupStorages, EnvCreate, EnvDelete, EnvReaddress, EnvRestore, NodesService, SiteCreate, SiteDelete,
    SiteDeps, SiteWork, SitesService,
};
use serde_json::json;
use test_support::{
    FakeArtifacts, FakeNodeFiles, FakePreview, FakeProbe, FakeSecretBox, FakeSiteRuntime, FakeSsh, FakeTransfer, Fault,
    ManualClock, MemoryJobs, MemoryNodes, MemorySites, MemoryStorage, NumberedTokens, RecordingSignal, RuntimeMethod,
};

use crate::panel::{Answer, Panel};

/// The fakes behind the use cases and the workflows of sites.
pub(crate) struct SiteParts {
    pub(crate) rows: Arc<MemorySites>,
    pub(crate) service: Arc<SitesService>,
    pub(crate) runtime: Arc<FakeSiteRuntime>,
    pub(crate) preview: Arc<FakePreview>,
    work: SiteWork,
}

impl SiteParts {
    pub(crate) fn new(
        clock: &Arc<ManualClock>,
        jobs: &Arc<MemoryJobs>,
        nodes: &Arc<MemoryNodes>,
        nodes_service: &Arc<NodesService>,
        ssh: &Arc<FakeSsh>,
        probe: &Arc<FakeProbe>,
        signal: &Arc<RecordingSignal>,
    ) -> Self {
        let rows = Arc::new(MemorySites::new(clock.clone(), jobs.clone(), nodes.clone()));
        let files = FakeNodeFiles::default();
        let answers = files.clone();
        ssh.answer(move |node_id, command| answers.answer(node_id, command));
        let runtime = Arc::new(FakeSiteRuntime::new(files.clone()));
        let preview = Arc::new(FakePreview::new(runtime.environments()));
        let service = SitesService::new(SiteDeps {
            sites: rows.clone(),
            nodes: nodes_service.clone(),
            node_store: nodes.clone(),
            ssh: ssh.clone(),
            preview: preview.clone(),
            secrets: Arc::new(FakeSecretBox),
            tokens: Arc::new(NumberedTokens::default()),
            clock: clock.clone(),
            signal: signal.clone(),
            preview_domain: None,
            max_attempts: RetryPolicy::default().max_attempts(),
        });
        let work = SiteWork {
            sites: rows.clone(),
            node_store: nodes.clone(),
            catalog: jobs.clone(),
            runtime: runtime.clone(),
            artifacts: Arc::new(FakeArtifacts::default()),
            transfer: Arc::new(FakeTransfer::new(files)),
            ssh: ssh.clone(),
            preview: preview.clone(),
            probe: probe.clone(),
            secrets: Arc::new(FakeSecretBox),
            storages: BackupStorages::new(Arc::new(MemoryStorage::new("local"))),
            preview_domain: None,
        };
        Self {
            rows,
            service: Arc::new(service),
            runtime,
            preview,
            work,
        }
    }

    pub(crate) fn workflows(&self) -> Vec<Arc<dyn Workflow>> {
        let work = || self.work.clone();
        vec![
            Arc::new(SiteCreate::new(work())),
            Arc::new(SiteDelete::new(work())),
            Arc::new(EnvCreate::new(work())),
            Arc::new(EnvDelete::new(work())),
            Arc::new(SiteDelete::abandoning(work())),
            Arc::new(EnvDelete::abandoning(work())),
            Arc::new(EnvRestore::new(work())),
            Arc::new(EnvReaddress::new(work())),
            Arc::new(BackupCreate::new(work())),
        ]
    }

    /// From now on a method of the runtime fails for good.
    pub(crate) fn break_runtime(&self, method: RuntimeMethod) {
        let failure = Failure::new(JobErrorCode::AnsiblePlayError, "the play is broken");
        self.runtime.fail_always(method, Fault::Refuses(failure));
    }
}

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) job: JobId,
    pub(crate) site: SiteId,
    pub(crate) environment: EnvironmentId,
    pub(crate) backup: Option<BackupId>,
}

impl Accepted {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 202, "{answer:?}");
        let body = answer.json();
        let text = |name: &str| {
            body[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {body}"))
                .to_owned()
        };
        Self {
            job: text("job_id").parse().unwrap(),
            site: text("site_id").parse().unwrap(),
            environment: text("environment_id").parse().unwrap(),
            backup: body["backup_id"].as_str().map(|id| id.parse().unwrap()),
        }
    }
}

impl Panel {
    /// Asks for a site.
    pub(crate) async fn ask_site(&self, slug: &str) -> Answer {
        let body = json!({"name": "A shop", "slug": slug}).to_string();
        self.ask("POST", "/api/sites").json(&body).send().await
    }

    /// Asks for a staging environment of a site, a copy of one of its environments.
    pub(crate) async fn ask_staging(&self, site: SiteId, source: EnvironmentId, slug: &str) -> Answer {
        let body = json!({"name": "Try-out", "slug": slug, "type": "staging", "source_environment_id": source});
        let path = format!("/api/sites/{site}/environments");
        self.ask("POST", &path).json(&body.to_string()).send().await
    }

    /// A site that a worker has made. There is a ready node.
    pub(crate) async fn active_site(&self, slug: &str) -> Accepted {
        let accepted = Accepted::of(&self.ask_site(slug).await);
        assert_eq!(self.run_job().await, Outcome::Succeeded);
        accepted
    }

    /// A ready node, and a site on it that a worker has made.
    pub(crate) async fn node_with_site(&self) -> (NodeId, Accepted) {
        let node = self.active_node().await;
        (node, self.active_site("shop").await)
    }

    /// A staging environment that a worker has made.
    pub(crate) async fn active_staging(&self, of: Accepted) -> Accepted {
        let accepted = Accepted::of(&self.ask_staging(of.site, of.environment, "try-out").await);
        assert_eq!(self.run_job().await, Outcome::Succeeded);
        accepted
    }

    /// A complete backup of an environment.
    pub(crate) async fn stored_backup(&self, environment: EnvironmentId) -> BackupId {
        let path = format!("/api/environments/{environment}/backups");
        let ask = self.ask("POST", &path).json(r#"{"backup_scope":"full"}"#);
        let accepted = Accepted::of(&ask.send().await);
        assert_eq!(self.run_job().await, Outcome::Succeeded);
        accepted.backup.unwrap()
    }

    /// A site whose creation failed. There is a ready node.
    pub(crate) async fn failed_site(&self, slug: &str) -> Accepted {
        let accepted = Accepted::of(&self.ask_site(slug).await);
        self.parts.break_runtime(RuntimeMethod::Create);
        assert!(matches!(self.run_job().await, Outcome::Failed(_)));
        self.parts.runtime.heal();
        accepted
    }
}
