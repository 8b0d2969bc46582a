//! `pressluft admin`: logins, and what was done by whom.

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::Arc;

use accounts_domain::AuditLog;
use anyhow::{Context, bail};
use domain_kernel::{Clock, Secret};
use jobs::PageRequest;
use process_exec::SystemClock;

use crate::app::{accounts, open_database};
use crate::cli::AdminCommand;
use crate::commands::audit;
use crate::data_dir::DataDir;
use crate::settings::Settings;

#[allow(clippy::print_stdout, reason = "the command says what it did")]
pub(crate) async fn run(settings: &Settings, command: AdminCommand, json: bool) -> anyhow::Result<ExitCode> {
    DataDir::open(&settings.data_dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = Arc::new(open_database(settings, Arc::clone(&clock)).await?);
    let accounts = accounts(&database, clock);
    match command {
        AdminCommand::Create { email } => {
            accounts.create(&email, read_password()?).await?;
            println!("There is a login for {email} now.");
        }
        AdminCommand::SetPassword { email } => {
            accounts.set_password(&email, read_password()?).await?;
            println!("{email} has a new password; its sessions have ended.");
        }
        AdminCommand::Audit { limit } => {
            let page = PageRequest { limit, after: None };
            let entries = database.entries(&page).await?.items;
            if json {
                let items: Vec<_> = entries.iter().map(audit::as_json).collect();
                println!("{}", serde_json::json!({ "items": items }));
            } else {
                print!("{}", audit::as_text(&entries));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_password() -> anyhow::Result<Secret> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("the password cannot be read from standard input")?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        bail!("give the password as the first line of standard input");
    }
    Ok(Secret::new(password))
}
