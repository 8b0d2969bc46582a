//! `pressluft migrate`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use persistence_diesel::Database;
use process_exec::SystemClock;

use crate::data_dir::DataDir;
use crate::settings::Settings;

#[allow(clippy::print_stdout, reason = "printing is what the command does")]
pub(crate) async fn run(settings: &Settings, check: bool, json: bool) -> anyhow::Result<ExitCode> {
    DataDir::open(&settings.data_dir)?;
    let url = settings.database_url.clone();
    let work = tokio::task::spawn_blocking(move || -> anyhow::Result<Vec<String>> {
        let database = Database::open(&url, Arc::new(SystemClock)).context("the database cannot be opened")?;
        Ok(if check {
            database.pending()?
        } else {
            database.migrate()?
        })
    });
    let names = work.await??;
    let what = if check { "missing" } else { "applied" };
    if json {
        println!("{}", serde_json::json!({ what: names }));
    } else if names.is_empty() {
        println!("The database is up to date.");
    } else {
        names.iter().for_each(|name| println!("{what}: {name}"));
    }
    Ok(if check && !names.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
