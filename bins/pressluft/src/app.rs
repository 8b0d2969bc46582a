//! Wires adapters to use cases, and runs them.

use std::net::TcpListener;
use std::sync::Arc;

use acquisition_multipass::{MultipassConfig, MultipassProvider};
use acquisition_nspawn::{NspawnConfig, NspawnProvider};
use acquisition_ssh::{KeyScan, SshConfig, SshProvider, SystemHost};
use actix_web::{App as ActixApp, HttpServer};
use ansible_runner::{AnsibleRunner, AnsibleSettings};
use anyhow::{Context, anyhow};
use api::{ApiState, Streams};
use devserver_ui::UiState;
use domain_kernel::{CancelToken, Clock, StopReason};
use http_session::HttpSettings;
use jobs::{Failure, JobRunner, JobStore, LogLimit, Recover, RetryPolicy, WorkerId, Workflow};
use nodes_domain::{Hostname, NodeStore, ProviderId};
use operations::{
    Accounts, BackupCreate, BackupKeeper, EnvCreate, EnvDelete, EnvReaddress, EnvRestore, Housekeeper, JobsService,
    NodeDecommission, NodeDeps, NodeProvision, NodesService, OverviewService, PreviewKeeper, ProviderRegistry,
    Reconciler, RetentionPolicy, SiteCreate, SiteDelete, SiteDeps, SiteWork, SitesService,
};
use persistence_diesel::Database;
use process_exec::{CommandRunner, Ledger, SystemClock, SystemRunner};
use queue_apalis::{Queue, QueueSettings};
use secrets::{Argon2Hasher, RandomTokens, XChaChaBox};
use site_preview::HttpPreviewProbe;
use ssh_readiness::{ManagedKeyFile, SshReadinessProbe, SshSessions};

use crate::data_dir::{DataDir, DataDirLock};
use crate::health::DatabaseHealth;
use crate::settings::{LocalProvider, SettingError, Settings};
use crate::site_parts;
use crate::start_checks::{bind, check_ansible};

/// How long open requests have when the server stops.
const SHUTDOWN_S: u64 = 5;

/// What providers are built from.
pub struct Platform {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Starts processes.
    pub runner: Arc<dyn CommandRunner>,
    /// The data directory.
    pub data_dir: DataDir,
    /// Commands on machines over SSH.
    pub ssh: Arc<SshSessions>,
    /// Pressluft's key.
    pub keys: Arc<ManagedKeyFile>,
    /// What this host knows of itself.
    pub own_host: Arc<SystemHost>,
}

impl Platform {
    /// The system's clock, and a runner that records its children in the data directory.
    pub fn system(settings: &Settings, data_dir: DataDir) -> anyhow::Result<(Self, Ledger)> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger = Ledger::open(data_dir.children()).context("the record of child processes cannot be opened")?;
        let runner = Arc::new(SystemRunner::new(Arc::clone(&clock), ledger.clone()));
        Ok((Self::over(settings, data_dir, clock, runner)?, ledger))
    }

    /// The same for a tool that its user may interrupt: nothing is recorded.
    pub fn tool(settings: &Settings, data_dir: DataDir) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let runner = Arc::new(SystemRunner::unrecorded(Arc::clone(&clock)));
        Self::over(settings, data_dir, clock, runner)
    }

    fn over(
        settings: &Settings,
        data_dir: DataDir,
        clock: Arc<dyn Clock>,
        runner: Arc<dyn CommandRunner>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            ssh: Arc::new(SshSessions::new(data_dir.path(), Arc::clone(&runner)).map_err(told)?),
            keys: Arc::new(ManagedKeyFile::new(data_dir.path())),
            own_host: Arc::new(SystemHost::new(public_name(settings))),
            clock,
            runner,
            data_dir,
        })
    }
}

/// The providers of this program. Another program adds its own with [`ProviderRegistry::with`].
pub fn default_registry(settings: &Settings, platform: &Platform) -> Result<ProviderRegistry, SettingError> {
    let local = match settings.local_provider {
        LocalProvider::Multipass => acquisition_multipass::PROVIDER_ID,
        LocalProvider::Nspawn => acquisition_nspawn::PROVIDER_ID,
    };
    let mut nspawn = NspawnConfig::new(platform.data_dir.path(), &settings.cache_dir);
    nspawn.release.clone_from(&settings.nspawn_release);
    if let Some(range) = &settings.nspawn_range {
        nspawn.range = range
            .parse()
            .map_err(|error| SettingError(format!("PRESSLUFT_NSPAWN_RANGE: {error}")))?;
    }
    nspawn.check().map_err(|error| SettingError(error.to_string()))?;
    let multipass = multipass_config(settings);
    multipass.check().map_err(|error| SettingError(error.to_string()))?;
    let runner = || Arc::clone(&platform.runner);
    let remote = SshProvider::new(
        ssh_config(settings),
        platform.ssh.clone(),
        platform.keys.clone(),
        key_scan(settings, platform),
    );
    // All are there whichever makes new local nodes: an existing node keeps the provider that it was made by.
    Ok(ProviderRegistry::new(ProviderId::new(local))
        .with(Arc::new(MultipassProvider::new(multipass, runner())))
        .with(Arc::new(NspawnProvider::new(nspawn, runner())))
        .with(Arc::new(remote)))
}

fn ssh_config(settings: &Settings) -> SshConfig {
    SshConfig {
        key_wait: settings.remote_key_wait,
        ..SshConfig::default()
    }
}

fn key_scan(settings: &Settings, platform: &Platform) -> KeyScan {
    KeyScan::new(
        ssh_config(settings),
        Arc::clone(&platform.runner),
        platform.own_host.clone(),
    )
}

/// The name in the URL that browsers use: it means this host, wherever it is looked up.
fn public_name(settings: &Settings) -> Option<Hostname> {
    let (_, authority) = settings.public_url.as_deref()?.split_once("://")?;
    let authority = authority.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => authority.split(':').next()?,
    };
    host.parse().ok()
}

fn multipass_config(settings: &Settings) -> MultipassConfig {
    let given = &settings.multipass;
    let mut config = MultipassConfig {
        program: given.program.clone().into(),
        image: given.image.clone(),
        cpus: given.cpus,
        memory: given.memory.clone(),
        disk: given.disk.clone(),
        launch_limit: given.launch_limit,
        ..MultipassConfig::default()
    };
    // Where the client keeps the certificate that its daemon knows it by, and where the daemon is.
    for name in ["HOME", "MULTIPASS_SERVER_ADDRESS"] {
        if let Some(value) = std::env::var_os(name) {
            config.env.insert(name.into(), value);
        }
    }
    config
}

/// Why the server did not start, or ended.
#[derive(Debug)]
pub enum RunError {
    /// A setting cannot be used.
    Setting(SettingError),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for RunError {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<SettingError>() {
            Ok(error) => Self::Setting(error),
            Err(error) => Self::Other(error),
        }
    }
}

/// A server that is ready to run.
pub struct App {
    listener: TcpListener,
    url: String,
    state: ApiState,
    ui: UiState,
    http: HttpSettings,
    queue: Queue,
    reconciler: Reconciler,
    housekeeper: Housekeeper,
    backup_keeper: BackupKeeper,
    preview_keeper: PreviewKeeper,
    accounts: Arc<Accounts>,
    ssh: Arc<SshSessions>,
    _lock: DataDirLock,
}

/// Takes the data directory and the address, ends what a dead server left running, brings the database up to date, and
/// queues interrupted jobs again. Nothing is served and no job runs before [`App::run`]. A setting that cannot be used is
/// an error that holds a [`SettingError`].
pub async fn build(
    settings: &Settings,
    platform: &Platform,
    ledger: &Ledger,
    registry: ProviderRegistry,
) -> anyhow::Result<App> {
    for missing in check_ansible(settings)? {
        tracing::warn!("{missing}");
    }
    let lock = platform.data_dir.lock()?;
    let listener = bind(settings)?;
    let recovered = ledger
        .recover()
        .await
        .context("children of a dead server cannot be ended")?;
    anyhow::ensure!(
        recovered.left.is_empty(),
        "processes of a dead server cannot be ended: {:?}. End them, then start again",
        recovered.left
    );
    let clock = Arc::clone(&platform.clock);
    let host_id = platform.data_dir.host_id()?;
    let secret_box = Arc::new(XChaChaBox::open_or_make(&platform.data_dir.secret_keys())?);
    let database = Arc::new(open_database(settings, Arc::clone(&clock)).await?);
    let (ssh, keys) = (Arc::clone(&platform.ssh), Arc::clone(&platform.keys));
    ssh.reap_stale().await.map_err(told)?;
    let recover = if settings.database_url.starts_with("postgres") {
        Recover::Expired
    } else {
        Recover::All
    };
    let interrupted = database.recover(recover).await?;
    if !interrupted.is_empty() {
        tracing::info!(jobs = interrupted.len(), "interrupted jobs go on");
    }

    let probe = Arc::new(SshReadinessProbe::new(ssh.clone()));
    let ansible = AnsibleSettings {
        ansible_dir: settings.ansible_dir.clone(),
        venv: settings.ansible_venv.clone(),
        runs: platform.data_dir.path().join("run/ansible"),
    };
    let ansible = Arc::new(AnsibleRunner::new(Arc::clone(&platform.runner), ssh.clone(), ansible));
    let node_store: Arc<dyn NodeStore> = database.clone();
    let storages = site_parts::storages(settings, platform)?;
    let preview = Arc::new(HttpPreviewProbe);
    let site_work = SiteWork {
        sites: database.clone(),
        node_store: node_store.clone(),
        catalog: database.clone(),
        runtime: ansible.clone(),
        artifacts: Arc::new(site_parts::artifacts(settings, platform)),
        transfer: ssh.clone(),
        ssh: ssh.clone(),
        preview: preview.clone(),
        probe: probe.clone(),
        secrets: secret_box.clone(),
        storages: storages.clone(),
        preview_domain: settings.preview_domain.clone(),
    };
    let workflows: Vec<Arc<dyn Workflow>> = vec![
        Arc::new(NodeProvision {
            store: node_store.clone(),
            registry: registry.clone(),
            keys: keys.clone(),
            ssh: ssh.clone(),
            provisioner: ansible,
            probe: probe.clone(),
        }),
        Arc::new(NodeDecommission {
            store: node_store.clone(),
            registry: registry.clone(),
            ssh: ssh.clone(),
        }),
        Arc::new(SiteCreate::new(site_work.clone())),
        Arc::new(SiteDelete::new(site_work.clone())),
        Arc::new(EnvCreate::new(site_work.clone())),
        Arc::new(EnvDelete::new(site_work.clone())),
        Arc::new(EnvRestore::new(site_work.clone())),
        Arc::new(EnvReaddress::new(site_work.clone())),
        Arc::new(SiteDelete::abandoning(site_work.clone())),
        Arc::new(EnvDelete::abandoning(site_work.clone())),
        Arc::new(BackupCreate::new(site_work)),
    ];
    let retry = RetryPolicy::new(settings.retry_delays.clone());
    let max_attempts = retry.max_attempts();
    let job_store: Arc<dyn JobStore> = database.clone();
    let runner = JobRunner::new(
        job_store.clone(),
        clock.clone(),
        retry,
        settings.poison_limit,
        workflows,
    );
    let worker = WorkerId::new(format!("{host_id}:{}", std::process::id()));
    let queue = Queue::new(
        job_store,
        Arc::new(runner),
        clock.clone(),
        QueueSettings {
            workers: settings.workers,
            ..QueueSettings::new(worker)
        },
    );
    let nodes = Arc::new(NodesService::new(NodeDeps {
        store: node_store.clone(),
        registry,
        keys,
        probe: probe.clone(),
        host_keys: Arc::new(key_scan(settings, platform)),
        own_host: platform.own_host.clone(),
        clock: clock.clone(),
        signal: queue.signal(),
        host_id: host_id.clone(),
        max_attempts,
    }));
    let sites = Arc::new(SitesService::new(SiteDeps {
        sites: database.clone(),
        nodes: Arc::clone(&nodes),
        node_store: node_store.clone(),
        ssh: ssh.clone(),
        preview,
        secrets: secret_box,
        tokens: Arc::new(RandomTokens::new()),
        clock: clock.clone(),
        signal: queue.signal(),
        preview_domain: settings.preview_domain.clone(),
        max_attempts,
    }));
    let backup_keeper = BackupKeeper::new(Arc::clone(&sites), storages, clock.clone());
    let preview_keeper = PreviewKeeper::new(Arc::clone(&sites), database.clone(), clock.clone());
    let jobs = Arc::new(JobsService::new(
        database.clone(),
        database.clone(),
        node_store.clone(),
        Arc::clone(&nodes),
        Arc::clone(&sites),
        queue.signal(),
    ));
    let accounts = Arc::new(accounts(&database, Arc::clone(&clock)));
    let reconciler = Reconciler::new(node_store, probe, clock.clone(), host_id, settings.probe_interval);
    let policy = RetentionPolicy {
        keep_for: settings.retention,
        max_events: settings.event_limit,
    };
    let housekeeper = Housekeeper::new(database.clone(), clock.clone(), policy);

    let bound = listener.local_addr().context("the bound address cannot be read")?;
    let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{bound}"));
    let http = HttpSettings::new(&bound.to_string(), settings.public_url.as_deref())?
        .with_trusted_proxies(settings.trusted_proxies.iter().copied());
    let ui = UiState::new(
        Arc::clone(&nodes),
        Arc::clone(&sites),
        Arc::clone(&jobs),
        Arc::new(OverviewService::new(database.clone(), clock.clone())),
        Arc::clone(&accounts),
        Arc::clone(&clock),
    )?;
    let state = ApiState {
        nodes,
        sites,
        jobs,
        accounts: Arc::clone(&accounts),
        clock,
        streams: Streams::new(),
        health: Arc::new(DatabaseHealth(database)),
    };
    Ok(App {
        listener,
        url,
        state,
        ui,
        http,
        queue,
        reconciler,
        housekeeper,
        backup_keeper,
        preview_keeper,
        accounts,
        ssh,
        _lock: lock,
    })
}

fn told(failure: Failure) -> anyhow::Error {
    anyhow!(failure.message())
}

/// Opens the database and applies the migrations that are missing.
pub(crate) async fn open_database(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Database> {
    let url = settings.database_url.clone();
    let log_limit = LogLimit(settings.job_log_limit);
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<Database> {
        let database = Database::open(&url, clock).context("the database cannot be opened")?;
        let database = database.with_log_limit(log_limit);
        let applied = database
            .migrate()
            .context("the database cannot be brought up to date")?;
        if !applied.is_empty() {
            tracing::info!(migrations = applied.len(), "brought the database up to date");
        }
        Ok(database)
    });
    opened.await?
}

/// The use cases of accounts.
pub(crate) fn accounts(database: &Arc<Database>, clock: Arc<dyn Clock>) -> Accounts {
    Accounts::new(
        database.clone(),
        Arc::new(Argon2Hasher::new()),
        Arc::new(RandomTokens::new()),
        clock,
    )
}

impl App {
    /// Where it is reached.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The use cases of accounts, for a first login.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Serves requests and runs jobs until `stop`: then no job is claimed any more, running ones stop where they can go
    /// on after the next start, and open requests are answered.
    pub async fn run(self, stop: CancelToken) -> anyhow::Result<()> {
        let (nodes, streams) = (self.state.nodes.clone(), self.state.streams.clone());
        let api = api::configure(self.state, self.http.clone());
        let pages = devserver_ui::configure(self.ui, self.http);
        let server = HttpServer::new(move || ActixApp::new().configure(api.clone()).configure(pages.clone()))
            .workers(2)
            .shutdown_timeout(SHUTDOWN_S)
            .disable_signals()
            .listen(self.listener)
            .context("the address cannot be listened on")?
            .run();
        let handle = server.handle();
        // Whichever of these ends first, by itself or by `stop`, the others end with it: a server that takes requests
        // and runs no jobs would be worse than none.
        let queue = tokio::spawn(ends_with(stop.clone(), self.queue.run(stop.clone())));
        let reconciler = tokio::spawn(ends_with(stop.clone(), {
            let (reconciler, stop) = (self.reconciler, stop.clone());
            async move { tokio::join!(reconciler.run(stop.clone()), start_stopped(&nodes, &stop)) }
        }));
        let housekeeper = tokio::spawn(ends_with(stop.clone(), {
            let (housekeeper, stop) = (self.housekeeper, stop.clone());
            let (backups, previews) = (self.backup_keeper, self.preview_keeper);
            async move {
                tokio::join!(
                    housekeeper.run(stop.clone()),
                    backups.run(stop.clone()),
                    previews.run(stop)
                )
            }
        }));
        let stopper = tokio::spawn({
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                // They would go on for as long as open requests have.
                streams.stop();
                handle.stop(true).await;
            }
        });
        let served = ends_with(stop, server).await.context("the HTTP server failed");
        let stopped = stopper.await.context("the HTTP server did not stop");
        let reconciled = reconciler.await.context("the reconciler failed");
        let kept_house = housekeeper.await.context("the housekeeper failed");
        let queued = queue.await.context("the job queue failed");
        self.ssh.reap_stale().await.map_err(told)?;
        served?;
        stopped?;
        reconciled?;
        kept_house?;
        queued?.context("the job queue failed")
    }
}

/// Starts machines again that stopped with this host, unless `stop` comes first: the next start looks again.
async fn start_stopped(nodes: &NodesService, stop: &CancelToken) {
    tokio::select! {
        _ = stop.cancelled() => {}
        started = nodes.start_stopped() => {
            if let Err(error) = started {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "machines that stopped with this host could not be started again");
            }
        }
    }
}

/// Runs `work`, and stops everything else when it has ended, in a panic too.
async fn ends_with<T>(stop: CancelToken, work: impl Future<Output = T>) -> T {
    struct Stop(CancelToken);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.cancel(StopReason::Shutdown);
        }
    }
    let _stop = Stop(stop);
    work.await
}
