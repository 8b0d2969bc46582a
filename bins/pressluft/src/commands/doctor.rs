//! `pressluft doctor`: for each thing that Pressluft needs, whether it works, and the next command if not.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jobs::{StepContext, StepError};
use nodes_domain::Capability;
use process_exec::{CommandSpec, ExecError};
use secrets::XChaChaBox;

use crate::app::{Platform, RunError, default_registry};
use crate::data_dir::DataDir;
use crate::settings::Settings;

/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(20);

struct Check {
    name: String,
    problem: Option<Problem>,
}

struct Problem {
    reason: String,
    remedy: String,
}

impl Check {
    fn ok(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            problem: None,
        }
    }

    fn bad(name: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            problem: Some(Problem {
                reason: reason.into(),
                remedy: remedy.into(),
            }),
        }
    }
}

#[allow(clippy::print_stdout, reason = "printing is what the command does")]
pub(crate) async fn run(settings: &Settings, json: bool) -> Result<ExitCode, RunError> {
    let mut checks = Vec::new();
    match DataDir::open(&settings.data_dir) {
        Ok(data_dir) => {
            checks.push(Check::ok("data directory"));
            checks.push(secret_keys(&data_dir));
            let platform = Platform::tool(settings, data_dir)?;
            let registry = default_registry(settings, &platform).map_err(RunError::Setting)?;
            // Each check has the whole time: one that hangs is no reason for the next to fail.
            let context = || StepContext::outside_job("doctor", LIMIT, Arc::clone(&platform.clock));
            for provider in registry.in_use() {
                let name = format!("{} provider {}", provider.source().as_str(), provider.id());
                checks.push(match provider.capability(&context()).await {
                    Ok(Capability::Available) => Check::ok(name),
                    Ok(Capability::Unavailable(missing)) => Check::bad(name, missing.reason, missing.remedy),
                    Err(StepError::Failed(failure)) => Check::bad(name, failure.detail, failure.code.remedy()),
                    Err(error) => Check::bad(name, error.to_string(), "Run `pressluft doctor` again."),
                });
            }
            checks.push(program(&platform, &context(), "ssh client", CommandSpec::new("ssh").arg("-V")).await);
            let ansible = settings.ansible_playbook();
            checks.push(
                program(
                    &platform,
                    &context(),
                    "ansible",
                    CommandSpec::new(ansible).arg("--version"),
                )
                .await,
            );
            checks.push(playbooks(settings));
        }
        Err(error) => {
            let remedy = "Set PRESSLUFT_DATA_DIR to a folder that this user may write.";
            checks.push(Check::bad("data directory", error.to_string(), remedy));
        }
    }
    let well = checks.iter().all(|check| check.problem.is_none());
    if json {
        let items: Vec<_> = checks.iter().map(as_json).collect();
        println!("{}", serde_json::json!({"ok": well, "checks": items}));
    } else {
        for check in &checks {
            match &check.problem {
                None => println!("ok       {}", check.name),
                Some(problem) => {
                    println!("problem  {}: {}", check.name, problem.reason);
                    println!("         next: {}", problem.remedy);
                }
            }
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(check: &Check) -> serde_json::Value {
    serde_json::json!({
        "name": check.name,
        "ok": check.problem.is_none(),
        "reason": check.problem.as_ref().map(|problem| &problem.reason),
        "remedy": check.problem.as_ref().map(|problem| &problem.remedy),
    })
}

async fn program(platform: &Platform, context: &StepContext, name: &str, command: CommandSpec) -> Check {
    let remedy = "Run scripts/setup.";
    match platform.runner.run(command, &context.limits).await {
        Ok(output) if output.success() => Check::ok(name),
        Ok(output) => Check::bad(name, format!("it ended with {:?}", output.ended), remedy),
        Err(error @ (ExecError::NotFound { .. } | ExecError::System { .. })) => {
            Check::bad(name, error.to_string(), remedy)
        }
        Err(error) => Check::bad(name, error.to_string(), "Run `pressluft doctor` again."),
    }
}

/// A missing file is well: the server makes it when it starts, and a look at things makes nothing.
fn secret_keys(data_dir: &DataDir) -> Check {
    let name = "keys of stored secrets";
    match XChaChaBox::open_existing(&data_dir.secret_keys()) {
        Ok(_) => Check::ok(name),
        Err(error) => {
            let reason = format!("{:#}", anyhow::Error::from(error));
            Check::bad(name, reason, "Mend that, then run `pressluft doctor` again.")
        }
    }
}

fn playbooks(settings: &Settings) -> Check {
    let playbook = settings.playbook();
    if playbook.is_file() {
        Check::ok("playbooks")
    } else {
        let reason = format!("{} is not there", playbook.display());
        Check::bad(
            "playbooks",
            reason,
            "Set PRESSLUFT_ANSIBLE_DIR to the `ansible` folder of Pressluft.",
        )
    }
}
