//! A server within this process, whose nodes are never made: each worker's first job waits in its provider for as long as the
//! server runs, and all others wait for them. What is measured is then the requests and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use domain_kernel::{CancelToken, Secret, StopReason};
use jobs::{StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, Instance, NodeProvider, Observation, ProviderId,
    ReleaseReport,
};
use operations::ProviderRegistry;
use pressluft::{DataDir, Platform, Settings, SettingsSource, build};

use crate::caller::Caller;

const EMAIL: &str = "bench@example.test";
const PASSWORD: &str = "correct horse battery";

/// A running server.
pub(crate) struct LocalServer {
    url: String,
    stop: CancelToken,
    thread: JoinHandle<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl LocalServer {
    /// Starts one with a data directory of its own, on a real disk.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_with(1, |_| Ok(()))
    }

    /// The same with so many workers, and a database that `fill` has written at the path that it is given.
    pub(crate) fn start_with(workers: usize, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pl-bench-").tempdir_in("/var/tmp")?;
        let settings = settings(folder.path(), workers)?;
        drop(DataDir::open(&settings.data_dir)?);
        fill(&settings.data_dir.join("pressluft.sqlite"))?;
        let stop = CancelToken::new();
        let (sender, listens) = mpsc::channel();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || serve(&settings, stop, &sender)
        });
        match listens.recv() {
            Ok(url) => Ok(Self {
                url,
                stop,
                thread,
                _folder: folder,
            }),
            Err(_) => Err(match ended(thread) {
                Err(error) => error.context("the server did not start"),
                Ok(()) => anyhow!("the server ended before it listened"),
            }),
        }
    }

    /// A logged-in caller of it.
    pub(crate) fn caller(&self) -> anyhow::Result<Caller> {
        Caller::login(&self.url, EMAIL, PASSWORD)
    }

    /// Stops it.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel(StopReason::Shutdown);
        ended(self.thread)
    }
}

fn ended(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().map_err(|_| anyhow!("the server panicked"))?
}

fn settings(folder: &Path, workers: usize) -> anyhow::Result<Settings> {
    let workers = workers.to_string();
    let given = [
        ("PRESSLUFT_BIND", "127.0.0.1:0"),
        // So many jobs at a time: those that wait.
        ("PRESSLUFT_WORKERS", workers.as_str()),
        ("PRESSLUFT_DATA_DIR", "data"),
        ("PRESSLUFT_CACHE_DIR", "cache"),
        (
            "PRESSLUFT_ANSIBLE_DIR",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../ansible"),
        ),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let source = SettingsSource {
        environment: BTreeMap::from(given),
        directory: folder.to_owned(),
        ..SettingsSource::default()
    };
    Ok(Settings::read(&source)?)
}

fn serve(settings: &Settings, stop: CancelToken, listens: &mpsc::Sender<String>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (platform, ledger) = Platform::system(settings, DataDir::open(&settings.data_dir)?)?;
        let provider = Arc::new(Waiting);
        let registry = ProviderRegistry::new(provider.id()).with(provider);
        let app = build(settings, &platform, &ledger, registry).await?;
        app.accounts().create(EMAIL, Secret::new(PASSWORD)).await?;
        listens.send(app.url().to_owned()).context("nobody waits for it")?;
        app.run(stop).await
    })
}

/// A provider whose machines never come.
struct Waiting;

#[async_trait]
impl NodeProvider for Waiting {
    fn id(&self) -> ProviderId {
        ProviderId::new("waiting")
    }

    fn source(&self) -> AcquisitionSource {
        AcquisitionSource::Local
    }

    async fn capability(&self, _context: &StepContext) -> Result<Capability, StepError> {
        Ok(Capability::Available)
    }

    async fn acquire(&self, _request: &AcquireRequest, context: &StepContext) -> Result<Acquired, StepError> {
        Err(StepError::Stopped(context.limits.cancel.cancelled().await))
    }

    async fn inject_key(&self, _instance: &Instance, _key: &str, _context: &StepContext) -> Result<(), StepError> {
        Ok(())
    }

    async fn observe(&self, _instance: &Instance, _context: &StepContext) -> Result<Observation, StepError> {
        Ok(Observation::Absent)
    }

    async fn release(&self, _instance: &Instance, _context: &StepContext) -> Result<ReleaseReport, StepError> {
        Ok(ReleaseReport::default())
    }
}
