//! `pressluft artifacts`: WordPress and WP-CLI in the cache. Takes no lock: a server may run meanwhile.

use std::process::ExitCode;
use std::time::Duration;

use artifact_cache::FileState;
use jobs::{Failure, StepContext, StepError};
use serde_json::{Value, json};
use sites_domain::{Artifact, ArtifactCache};

use crate::app::{Platform, RunError};
use crate::cli::ArtifactsCommand;
use crate::data_dir::DataDir;
use crate::settings::Settings;
use crate::site_parts;

/// How long a fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(20 * 60);

#[allow(clippy::print_stdout, reason = "printing is what the command does")]
pub(crate) async fn run(settings: &Settings, command: ArtifactsCommand, json: bool) -> Result<ExitCode, RunError> {
    let data_dir = DataDir::open(&settings.data_dir).map_err(anyhow::Error::from)?;
    let platform = Platform::tool(settings, data_dir)?;
    let cache = site_parts::artifacts(settings, &platform);
    let (items, well) = match command {
        ArtifactsCommand::Fetch => {
            let context = StepContext::outside_job("artifacts_fetch", FETCH_LIMIT, platform.clock.clone());
            let artifacts = cache.ensure(&context).await.map_err(ended)?;
            let items = [&artifacts.wordpress, &artifacts.wp_cli].map(|artifact| described(artifact, None));
            (items.to_vec(), true)
        }
        ArtifactsCommand::List => {
            let files = cache.list().await.map_err(|failure| told(&failure))?;
            let items = files.iter().map(|file| described(&file.artifact, Some(&file.source)));
            (items.collect(), true)
        }
        ArtifactsCommand::Verify => {
            let files = cache.verify().await.map_err(|failure| told(&failure))?;
            let well = files.iter().all(|file| file.state == FileState::Ok);
            let items = files.iter().map(|file| {
                let state = match file.state {
                    FileState::Ok => "ok",
                    FileState::Damaged => "damaged",
                    FileState::Missing => "missing",
                };
                json!({"path": file.path.display().to_string(), "state": state})
            });
            (items.collect(), well)
        }
    };
    if json {
        println!("{}", json!({"ok": well, "items": items}));
    } else if items.is_empty() {
        println!("The cache is empty. `pressluft artifacts fetch` fills it.");
    } else {
        for item in &items {
            println!("{}", line(item));
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn described(artifact: &Artifact, source: Option<&str>) -> Value {
    json!({
        "kind": artifact.kind,
        "version": artifact.version,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "source": source,
    })
}

/// The values of an item in one line; what is not known is left out.
fn line(item: &Value) -> String {
    let words = item.as_object().into_iter().flat_map(|fields| fields.values());
    let words = words.filter(|value| !value.is_null());
    let words = words.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    words.collect::<Vec<_>>().join("  ")
}

fn told(failure: &Failure) -> RunError {
    RunError::Other(anyhow::anyhow!(failure.message()))
}

fn ended(error: StepError) -> RunError {
    match error {
        StepError::Failed(failure) => told(&failure),
        other => RunError::Other(other.into()),
    }
}
