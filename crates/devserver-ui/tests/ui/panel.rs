//! A server in memory, and how to ask it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service};
use devserver_ui::UiState;
use domain_kernel::{Clock, JobErrorCode, JobId, NodeId, Secret};
use futures_util::future::LocalBoxFuture;
use http_session::HttpSettings;
use jobs::{Claim, Failure, JobStore, NewEvent, Outcome, StepStatus, WorkerId};
use nodes_domain::{
    CheckEvidence, ManagedKeys, NodeChange, NodeStatus, NodeStore, NodeTarget, ProbeFacts, ProbeResult, ProviderId,
    RemoteHost, readiness,
};
use operations::{
    Accounts, CreateLocalNode, CreateRemoteNode, CreateSite, JobsService, NodeDeps, NodesService, OverviewService,
    ProviderRegistry, SiteDeps, SitesService,
};
use sites_domain::CreatedInSite;
use test_support::{
    FakeEnvironments, FakeHostKeys, FakeKeys, FakeOwnHost, FakePreview, FakeProbe, FakeProvider, FakeSecretBox,
    FakeSsh, ManualClock, MemoryAccounts, MemoryJobs, MemoryNodes, MemorySites, NumberedTokens, PlainHasher,
    RecordingSignal, fake_host_key,
};

pub(crate) const BIND: &str = "127.0.0.1:8080";
pub(crate) const ORIGIN: &str = "http://127.0.0.1:8080";
pub(crate) const EMAIL: &str = "ops@example.test";
pub(crate) const PASSWORD: &str = "correct horse battery";

type Call = Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, ServiceResponse>>;

/// A server in memory with one account that is logged in.
pub(crate) struct Panel {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) jobs: Arc<MemoryJobs>,
    pub(crate) nodes: Arc<MemoryNodes>,
    pub(crate) provider: Arc<FakeProvider>,
    pub(crate) remote: Arc<FakeProvider>,
    pub(crate) keys: Arc<FakeKeys>,
    pub(crate) host_keys: Arc<FakeHostKeys>,
    pub(crate) service: Arc<NodesService>,
    /// The rows of sites, as the store has them.
    pub(crate) site_rows: Arc<MemorySites>,
    pub(crate) sites: Arc<SitesService>,
    cookie: String,
    call: Call,
}

impl Panel {
    /// A server with a provider of each source.
    pub(crate) async fn new() -> Self {
        Self::with(true).await
    }

    /// A server that was built without a provider of remote nodes.
    pub(crate) async fn without_remote() -> Self {
        Self::with(false).await
    }

    async fn with(has_remote: bool) -> Self {
        let clock = Arc::new(ManualClock::new());
        let jobs = Arc::new(MemoryJobs::new(clock.clone()));
        let nodes = Arc::new(MemoryNodes::new(clock.clone(), jobs.clone()));
        let provider = Arc::new(FakeProvider::new("fake"));
        let remote = Arc::new(FakeProvider::remote("ssh").sharing(provider.machines()));
        let (keys, host_keys) = (Arc::new(FakeKeys::default()), Arc::new(FakeHostKeys::default()));
        let mut registry = ProviderRegistry::new(ProviderId::new("fake")).with(provider.clone());
        if has_remote {
            registry = registry.with(remote.clone());
        }
        let signal = Arc::new(RecordingSignal::default());
        let store = Arc::new(MemoryAccounts::new(clock.clone()));
        let hasher = Arc::new(PlainHasher::default());
        let accounts = Accounts::new(store, hasher, Arc::new(NumberedTokens::default()), clock.clone());
        accounts.create(EMAIL, Secret::new(PASSWORD)).await.unwrap();
        let opened = accounts.login(EMAIL, Secret::new(PASSWORD), "test").await.unwrap();
        let service = Arc::new(NodesService::new(NodeDeps {
            store: nodes.clone(),
            registry,
            keys: keys.clone(),
            probe: Arc::new(FakeProbe::new(provider.machines())),
            host_keys: host_keys.clone(),
            own_host: Arc::new(FakeOwnHost),
            clock: clock.clone(),
            signal: signal.clone(),
            host_id: "host-a".to_owned(),
            max_attempts: 3,
        }));
        let site_rows = Arc::new(MemorySites::new(clock.clone(), jobs.clone(), nodes.clone()));
        let sites = Arc::new(SitesService::new(SiteDeps {
            sites: site_rows.clone(),
            nodes: service.clone(),
            node_store: nodes.clone(),
            ssh: Arc::new(FakeSsh::new(provider.machines())),
            preview: Arc::new(FakePreview::new(FakeEnvironments::default())),
            secrets: Arc::new(FakeSecretBox),
            tokens: Arc::new(NumberedTokens::default()),
            clock: clock.clone(),
            signal: signal.clone(),
            preview_domain: None,
            max_attempts: 3,
        }));
        let jobs_service = JobsService::new(
            jobs.clone(),
            jobs.clone(),
            nodes.clone(),
            service.clone(),
            sites.clone(),
            signal,
        );
        let ui = UiState::new(
            service.clone(),
            sites.clone(),
            Arc::new(jobs_service),
            Arc::new(OverviewService::new(site_rows.clone(), clock.clone())),
            Arc::new(accounts),
            clock.clone(),
        );
        let settings = HttpSettings::new(BIND, None).unwrap();
        let app = App::new().configure(devserver_ui::configure(ui.unwrap(), settings));
        let app = Rc::new(init_service(app).await);
        let call: Call = Box::new(move |request| {
            let answer = app.call(request.to_request());
            Box::pin(async move { answer.await.unwrap() })
        });
        Self {
            clock,
            jobs,
            nodes,
            provider,
            remote,
            keys,
            host_keys,
            service,
            site_rows,
            sites,
            cookie: format!("session_token={}", opened.token.0.expose()),
            call,
        }
    }

    /// A request of the operator.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        self.stranger(method, path).header("Cookie", &self.cookie)
    }

    /// A request of somebody without a session.
    pub(crate) fn stranger(&self, method: &str, path: &str) -> Ask<'_> {
        let request = TestRequest::with_uri(path)
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .append_header(("Accept", "text/html"));
        Ask {
            panel: self,
            request,
            host: BIND.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    /// Sends a form of a page of ours.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        self.ask("POST", path).form(form).send().await
    }

    /// A node that was asked for; its job waits.
    pub(crate) async fn create_node(&self, name: &str) -> (NodeId, JobId) {
        let request = CreateLocalNode {
            name: Some(name.parse().unwrap()),
        };
        let created = self.service.create_local(request, None, None).await.unwrap();
        // Ids rise with time: the next node is a later one.
        (created.node_id, created.job_id)
    }

    /// A node at a host of the operator's that was asked for; its job waits.
    pub(crate) async fn create_remote(&self, hostname: &str) -> (NodeId, JobId) {
        let host = RemoteHost {
            hostname: hostname.parse().unwrap(),
            ssh_port: 2222,
            ssh_user: "deploy".parse().unwrap(),
            public_ip: None,
            host_key_fingerprint: None,
        };
        let request = CreateRemoteNode { name: None, host };
        let created = self.service.create_remote(request, None, None).await.unwrap();
        (created.node_id, created.job_id)
    }

    /// Lets the claimed job's step park for 30 s and say why.
    pub(crate) async fn park(&self, claim: &Claim, node: NodeId, step: &str, detail: &str) {
        let finished = self.jobs.step_finished(claim, step, StepStatus::Parked, Some(detail));
        finished.await.unwrap();
        let run_after = self.clock.now().plus(Duration::from_secs(30));
        let parked = Outcome::Parked { run_after };
        self.settle(claim, node, parked, NodeStatus::Provisioning).await;
    }

    /// Ends a claimed job with a failure of its step.
    pub(crate) async fn fail(&self, claim: &Claim, node: NodeId, step: &str, failure: Failure) {
        self.jobs.step_started(claim, 0, step).await.unwrap();
        let failed = self
            .jobs
            .step_finished(claim, step, StepStatus::Failed, Some(&failure.detail));
        failed.await.unwrap();
        self.settle(claim, node, Outcome::Failed(failure), NodeStatus::Failed)
            .await;
    }

    /// Takes the oldest waiting job, as a worker would.
    pub(crate) async fn claim(&self) -> Claim {
        let worker = WorkerId::new("worker-1");
        let claimed = self.jobs.claim(&worker, Duration::from_secs(30)).await.unwrap();
        claimed.unwrap().claim
    }

    /// Ends a job's run and what it means for its node.
    pub(crate) async fn settle(&self, claim: &Claim, node: NodeId, outcome: Outcome, status: NodeStatus) {
        let change = NodeChange::status(status);
        self.nodes.settle_job(claim, &outcome, node, change).await.unwrap();
    }

    /// A node whose provisioning failed at its first step.
    pub(crate) async fn failed_node(&self, name: &str, detail: &str) -> (NodeId, JobId) {
        let (node, job) = self.create_node(name).await;
        let claim = self.claim().await;
        let failure = Failure::new(JobErrorCode::LocalProviderUnavailable, detail);
        self.fail(&claim, node, "acquire", failure).await;
        (node, job)
    }

    /// A node that was provisioned; nothing is known of its machine yet.
    pub(crate) async fn active_node(&self, name: &str) -> (NodeId, JobId) {
        let (node, job) = self.create_node(name).await;
        let claim = self.claim().await;
        self.settle(&claim, node, Outcome::Succeeded, NodeStatus::Active).await;
        (node, job)
    }

    /// Gives an active node a machine at 10.0.0.2 and a look that found nothing missing.
    pub(crate) fn make_ready(&self, node: NodeId) {
        let mut ready = self.nodes.get(node);
        let now = self.clock.now();
        ready.target = Some(NodeTarget {
            hostname: "10.0.0.2".to_owned(),
            public_ip: Some([10, 0, 0, 2].into()),
            ssh_port: 22,
            ssh_user: "root".to_owned(),
            ssh_private_key_path: "key".into(),
            host_key: fake_host_key("ready"),
        });
        let evidence = CheckEvidence {
            check: "login".to_owned(),
            command: "true".to_owned(),
            exit_status: Some(0),
            output: "welcome".to_owned(),
            checked_at: now,
        };
        let facts = ProbeFacts {
            result: ProbeResult::LoggedIn {
                sudo: true,
                runtime: Vec::new(),
            },
            evidence: vec![evidence],
            checked_at: now,
        };
        ready.readiness = Some(readiness(&ready, ready.status, Some(&facts), now));
        ready.last_seen_at = Some(now);
        self.nodes.put(ready);
    }

    /// A site that was asked for on a node that is ready; its job waits.
    pub(crate) async fn create_site(&self, name: &str, node: NodeId) -> CreatedInSite {
        let slug = format!("site-{}", JobId::generate().short());
        let request = CreateSite {
            name: name.parse().unwrap(),
            slug: slug.parse().unwrap(),
            node_id: Some(node),
            admin_email: EMAIL.to_owned(),
        };
        self.sites.create_site(request, None, None).await.unwrap()
    }

    /// Tells an event of a running job; its number.
    pub(crate) async fn tell(&self, claim: &Claim, event: NewEvent) -> i64 {
        self.jobs.append(claim, event).await.unwrap();
        self.jobs.all_events().last().unwrap().seq
    }
}

/// A request.
pub(crate) struct Ask<'a> {
    panel: &'a Panel,
    request: TestRequest,
    host: String,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.append_header((name, value));
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// A form, as a browser sends one from a page of ours.
    pub(crate) fn form(self, form: &str) -> Self {
        let mut asked = self
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", ORIGIN)
            .header("Sec-Fetch-Site", "same-origin");
        asked.request = asked.request.set_payload(form.to_owned());
        asked
    }

    /// Asks, and looks at what is promised of every answer.
    pub(crate) async fn send(self) -> Answer {
        let request = self.request.insert_header(("Host", self.host));
        let response = (self.panel.call)(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap();
        let answer = Answer {
            status,
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        answer.keeps_its_promises();
        answer
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{self:?}");
        self.header("Location").unwrap()
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.body.contains(part)
    }

    #[track_caller]
    pub(crate) fn assert_has(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.has(part), "{part:?} is missing in {}", self.body);
        }
    }

    /// The text of the element that begins with `opening`, up to the next tag.
    #[track_caller]
    pub(crate) fn text_of(&self, opening: &str) -> &str {
        let (_, rest) = self
            .body
            .split_once(opening)
            .unwrap_or_else(|| panic!("no {opening:?} in {}", self.body));
        let (_, text) = rest.split_once('>').unwrap();
        text.split('<').next().unwrap().trim()
    }

    /// The value of the attribute that begins with `opening`, as in `value="`.
    #[track_caller]
    pub(crate) fn value_of(&self, opening: &str) -> &str {
        let (_, rest) = self
            .body
            .split_once(opening)
            .unwrap_or_else(|| panic!("no {opening:?} in {}", self.body));
        rest.split('"').next().unwrap()
    }

    /// What the page says of a request that was refused, without its tags.
    #[track_caller]
    pub(crate) fn alert(&self) -> String {
        let (_, rest) = self.body.split_once("class=\"alert\"").expect("no alert");
        let (_, rest) = rest.split_once('>').unwrap();
        let (alert, _) = rest.split_once("</p>").unwrap();
        let texts = alert.split('<').map(|piece| piece.rsplit('>').next().unwrap());
        texts.collect::<String>().trim().to_owned()
    }

    fn keeps_its_promises(&self) {
        for (name, value) in [("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY")] {
            assert_eq!(self.header(name), Some(value), "{name} of {self:?}");
        }
        let policy = self.header("Content-Security-Policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        if self.header("Content-Type") == Some("text/html; charset=utf-8") {
            assert_eq!(self.header("Cache-Control"), Some("no-store"));
            assert_eq!(self.header("Referrer-Policy"), Some("same-origin"));
            assert!(
                !self.has("<style") && !self.has(" style=\"") && !self.has(" onclick="),
                "inline: {self:?}"
            );
            // A link may lead elsewhere, in a tab that cannot reach back; nothing else may be asked for there.
            let attributes = ["href", "src", "srcset", "action", "formaction", "data-ask"];
            let elsewhere = |name: &str| self.has(&format!("{name}=\"http")) || self.has(&format!("{name}=\"//"));
            let found: Vec<_> = attributes.into_iter().filter(|name| elsewhere(name)).collect();
            assert!(found.is_empty() || found == ["href"], "another origin: {self:?}");
            for tag in self.body.split('<').filter_map(|tag| Some(tag.split_once('>')?.0)) {
                if !tag.contains("href=\"http") && !tag.contains("href=\"//") {
                    continue;
                }
                // Only to what an environment serves: its preview, and its login where that was asked for.
                let to_preview = tag.starts_with("a class=\"preview\" href=\"http://");
                let to_login = tag.starts_with("a class=\"login-address\" href=\"http://");
                assert!(to_preview || to_login, "a link to elsewhere: {tag}");
                assert!(tag.ends_with("target=\"_blank\" rel=\"noopener noreferrer\""), "{tag}");
            }
        }
    }
}

/// A text as templates write it.
pub(crate) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// The line that installs the key.
pub(crate) async fn key_line() -> String {
    FakeKeys::default().key().await.unwrap().install_command()
}
