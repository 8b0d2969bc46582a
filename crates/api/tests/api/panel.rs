//! A server in memory, and how to ask it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service};
use api::{ApiState, Health, Streams};
use async_trait::async_trait;
use domain_kernel::{CancelToken, JobId, NodeId, Secret};
use futures_util::future::LocalBoxFuture;
use http_session::HttpSettings;
use jobs::{ClaimedJob, JobRunner, JobStore, Outcome, RetryPolicy, RunEnd, StepContext, WorkerId};
use nodes_domain::{AcquireRequest, Instance, NodeProvider, NodeStatus, NodeTarget, ProviderId};
use operations::{Accounts, JobsService, NodeDeps, NodesService, ProviderRegistry};
use serde_json::Value;
use test_support::{
    FakeHostKeys, FakeKeys, FakeOwnHost, FakeProbe, FakeProvider, FakeSsh, ManualClock, MemoryAccounts, MemoryJobs,
    MemoryNodes, MemorySites, NumberedTokens, PlainHasher, RecordingSignal,
};

use crate::schema::{DOCUMENT, check, resolve};
use crate::site_parts::SiteParts;

pub(crate) const BIND: &str = "127.0.0.1:8080";
pub(crate) const EMAIL: &str = "ops@example.test";
pub(crate) const PASSWORD: &str = "correct horse battery";

type Call = Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, ServiceResponse>>;

/// A server in memory with one account. It answers as an operator with a session would see it.
pub(crate) struct Panel {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) jobs: Arc<MemoryJobs>,
    pub(crate) nodes: Arc<MemoryNodes>,
    pub(crate) sites: Arc<MemorySites>,
    /// What is behind the sites.
    pub(crate) parts: SiteParts,
    pub(crate) ssh: Arc<FakeSsh>,
    pub(crate) provider: Arc<FakeProvider>,
    pub(crate) remote: Arc<FakeProvider>,
    pub(crate) host_keys: Arc<FakeHostKeys>,
    pub(crate) keys: Arc<FakeKeys>,
    pub(crate) signal: Arc<RecordingSignal>,
    pub(crate) health: Arc<Switch>,
    pub(crate) state: ApiState,
    pub(crate) cookie: String,
    runner: JobRunner,
    call: Call,
}

/// A health that can be switched off.
pub(crate) struct Switch(pub(crate) AtomicBool);

#[async_trait]
impl Health for Switch {
    async fn ready(&self) -> Result<(), String> {
        let is_on = self.0.load(Ordering::SeqCst);
        is_on
            .then_some(())
            .ok_or_else(|| "the database /var/lib/secret is gone".to_owned())
    }
}

impl Panel {
    pub(crate) async fn new() -> Self {
        Self::with(HttpSettings::new(BIND, None).unwrap()).await
    }

    pub(crate) async fn with(settings: HttpSettings) -> Self {
        let clock = Arc::new(ManualClock::new());
        let jobs = Arc::new(MemoryJobs::new(clock.clone()));
        let nodes = Arc::new(MemoryNodes::new(clock.clone(), jobs.clone()));
        let provider = Arc::new(FakeProvider::new("fake"));
        let remote = Arc::new(FakeProvider::remote("ssh").sharing(provider.machines()));
        let host_keys = Arc::new(FakeHostKeys::default());
        let keys = Arc::new(FakeKeys::default());
        let signal = Arc::new(RecordingSignal::default());
        let health = Arc::new(Switch(AtomicBool::new(true)));
        let store = Arc::new(MemoryAccounts::new(clock.clone()));
        let hasher = Arc::new(PlainHasher::default());
        let accounts = Accounts::new(store, hasher, Arc::new(NumberedTokens::default()), clock.clone());
        accounts.create(EMAIL, Secret::new(PASSWORD)).await.unwrap();
        let opened = accounts.login(EMAIL, Secret::new(PASSWORD), "test").await.unwrap();
        let probe = Arc::new(FakeProbe::new(provider.machines()));
        let ssh = Arc::new(FakeSsh::new(provider.machines()));
        let service = Arc::new(NodesService::new(NodeDeps {
            store: nodes.clone(),
            registry: ProviderRegistry::new(ProviderId::new("fake"))
                .with(provider.clone())
                .with(remote.clone()),
            keys: keys.clone(),
            probe: probe.clone(),
            host_keys: host_keys.clone(),
            own_host: Arc::new(FakeOwnHost),
            clock: clock.clone(),
            signal: signal.clone(),
            host_id: "host-a".to_owned(),
            max_attempts: 3,
        }));
        let parts = SiteParts::new(&clock, &jobs, &nodes, &service, &ssh, &probe, &signal);
        let retry = RetryPolicy::default();
        let runner = JobRunner::new(jobs.clone(), clock.clone(), retry, 5, parts.workflows());
        let state = ApiState {
            jobs: Arc::new(JobsService::new(
                jobs.clone(),
                jobs.clone(),
                nodes.clone(),
                service.clone(),
                parts.service.clone(),
                signal.clone(),
            )),
            nodes: service,
            sites: parts.service.clone(),
            accounts: Arc::new(accounts),
            clock: clock.clone(),
            streams: Streams::new(),
            health: health.clone(),
        };
        let app = App::new().configure(api::configure(state.clone(), settings));
        let app = Rc::new(init_service(app).await);
        let call: Call = Box::new(move |request| {
            let answer = app.call(request.to_request());
            Box::pin(async move { answer.await.unwrap() })
        });
        Self {
            clock,
            jobs,
            nodes,
            sites: parts.rows.clone(),
            parts,
            ssh,
            provider,
            remote,
            host_keys,
            keys,
            signal,
            health,
            state,
            cookie: format!("session_token={}", opened.token.0.expose()),
            runner,
            call,
        }
    }

    /// A request of the operator.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        self.stranger(method, path).header("Cookie", &self.cookie)
    }

    /// A request of somebody without a session.
    pub(crate) fn stranger(&self, method: &str, path: &str) -> Ask<'_> {
        let request = TestRequest::with_uri(path).method(Method::from_bytes(method.as_bytes()).unwrap());
        Ask {
            panel: self,
            method: method.to_owned(),
            path: path.to_owned(),
            request,
            host: Some(BIND.to_owned()),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.ask("POST", path).send().await
    }

    /// Asks for a local node.
    pub(crate) async fn create_node(&self) -> (NodeId, JobId) {
        let answer = self
            .ask("POST", "/api/nodes")
            .json(r#"{"acquisition_source":"local"}"#)
            .send()
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        (id("node_id").parse().unwrap(), id("job_id").parse().unwrap())
    }

    /// A node whose machine runs, takes Pressluft's key and has what sites need.
    pub(crate) async fn active_node(&self) -> NodeId {
        let (id, _) = self.create_node().await;
        self.end_job(Outcome::Succeeded).await;
        let context = StepContext::outside_job("test", Duration::from_secs(10), self.clock.clone());
        let instance = Instance::of(id);
        let request = AcquireRequest {
            instance: instance.clone(),
            public_key: FakeKeys::PUBLIC_KEY.to_owned(),
            runtime: None,
        };
        let acquired = self.provider.acquire(&request, &context).await.unwrap();
        self.provider
            .inject_key(&instance, FakeKeys::PUBLIC_KEY, &context)
            .await
            .unwrap();
        self.provider
            .machines()
            .change(id, |machine| machine.provisioned = true);
        let mut node = self.nodes.get(id);
        node.status = NodeStatus::Active;
        node.target = Some(NodeTarget {
            hostname: acquired.hostname,
            public_ip: acquired.public_ip,
            ssh_port: acquired.ssh_port,
            ssh_user: acquired.ssh_user,
            ssh_private_key_path: "keys/id_ed25519".into(),
            host_key: acquired.host_key,
        });
        self.nodes.put(node);
        id
    }

    /// Takes the oldest waiting job, as a worker would.
    pub(crate) async fn claim(&self) -> ClaimedJob {
        let worker = WorkerId::new("worker-1");
        self.jobs
            .claim(&worker, Duration::from_secs(30))
            .await
            .unwrap()
            .unwrap()
    }

    /// Runs the oldest waiting job to an end.
    pub(crate) async fn end_job(&self, outcome: Outcome) -> JobId {
        let claimed = self.claim().await;
        self.jobs.finish(&claimed.claim, &outcome).await.unwrap();
        claimed.job.id
    }

    /// Does the work of the oldest waiting job, which is one of a site, as a worker would.
    pub(crate) async fn run_job(&self) -> Outcome {
        let claimed = self.claim().await;
        match self.runner.run(claimed, CancelToken::new()).await.unwrap() {
            RunEnd::Settled(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Says that nothing was written.
    pub(crate) fn assert_nothing_was_written(&self) {
        assert!(self.nodes.all().is_empty(), "a node was written");
        assert!(self.jobs.all_events().is_empty(), "a job was written");
        assert_eq!(self.signal.wakes(), 0, "a worker was woken");
    }
}

/// A request.
pub(crate) struct Ask<'a> {
    panel: &'a Panel,
    method: String,
    path: String,
    request: TestRequest,
    host: Option<String>,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.append_header((name, value));
        self
    }

    pub(crate) fn host(mut self, host: Option<&str>) -> Self {
        self.host = host.map(str::to_owned);
        self
    }

    pub(crate) fn peer(mut self, address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        self.request = self.request.peer_addr(address);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<actix_web::web::Bytes>) -> Self {
        self.request = self.request.set_payload(body);
        self
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.header("Content-Type", "application/json").body(body.to_owned())
    }

    /// Asks, and leaves the body to be read piece by piece.
    pub(crate) async fn open(self) -> ServiceResponse {
        let mut request = self.request;
        if let Some(host) = self.host {
            request = request.insert_header(("Host", host));
        }
        (self.panel.call)(request).await
    }

    /// Asks, and compares the answer with what is promised of every answer and with the OpenAPI document.
    pub(crate) async fn send(self) -> Answer {
        let (method, path) = (self.method.clone(), self.path.clone());
        let response = self.open().await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap();
        let answer = Answer {
            status,
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        answer.keeps_its_promises();
        answer.is_as_documented(&method, path.split('?').next().unwrap());
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
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {self:?}"))
            .to_owned()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    /// The ids of a page's items.
    pub(crate) fn ids(&self) -> Vec<String> {
        let page = self.json();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn keeps_its_promises(&self) {
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(self.header(name), Some(value), "{name} of {self:?}");
        }
        assert!(
            !self.body.contains("told to fail") && !self.body.contains("/var/lib/"),
            "internals: {self:?}"
        );
        if self.status >= 400 {
            assert_eq!(self.header("Content-Type"), Some("application/json"), "{self:?}");
            let mut schema: Value = serde_json::from_str(&api::error_schema_json()).unwrap();
            schema.as_object_mut().unwrap().remove("$schema");
            check(&schema, &self.json()).unwrap_or_else(|why| panic!("{why}: {self:?}"));
            let code: domain_kernel::ApiErrorCode = self.code().parse().unwrap();
            assert!(self.status == code.status() || self.status == 503, "{self:?}");
        }
    }

    fn is_as_documented(&self, method: &str, path: &str) {
        let Some(operation) = documented(path).and_then(|item| item.get(method.to_lowercase())) else {
            assert!(
                matches!(self.status, 403..=405) || method == "HEAD",
                "{method} {path} is not documented: {self:?}"
            );
            return;
        };
        let response = &operation["responses"][self.status.to_string()];
        assert!(
            !response.is_null(),
            "{method} {path} tells nothing of {}: {self:?}",
            self.status
        );
        assert!(
            self.status < 400 || self.status == 503 || tells_of(response, &self.code()),
            "{method} {path} tells nothing of this code: {self:?}"
        );
        let response = response.get("$ref").map_or(response, resolve);
        if let Some(schema) = response.pointer("/content/application~1json/schema") {
            check(schema, &self.json()).unwrap_or_else(|why| panic!("{method} {path}: {why}"));
        }
    }
}

/// Whether a documented answer is one with this code: the code's own, or one that several codes share.
fn tells_of(response: &Value, code: &str) -> bool {
    match response["$ref"].as_str() {
        Some(reference) => reference == format!("#/components/responses/{code}"),
        None => response
            .pointer(&format!("/content/application~1json/examples/{code}"))
            .is_some(),
    }
}

/// What the document says of a path.
fn documented(path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (a, b): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || a.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths
        .get(path)
        .or_else(|| paths.iter().find(|(template, _)| fits(template)).map(|(_, item)| item))
}
