//! `pressluft dev` and `pressluft serve`.

use std::process::ExitCode;

use anyhow::Context;
use domain_kernel::{CancelToken, Secret, StopReason};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Platform, RunError, build, default_registry};
use crate::data_dir::DataDir;
use crate::settings::Settings;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Makes and prints a login where there is none.
    Dev,
    /// Makes none.
    Serve,
}

#[allow(
    clippy::print_stdout,
    reason = "the first lines tell people and programs where the server is"
)]
pub(crate) async fn run(settings: &Settings, mode: Mode) -> Result<ExitCode, RunError> {
    let data_dir = DataDir::open(&settings.data_dir).map_err(anyhow::Error::from)?;
    let (platform, ledger) = Platform::system(settings, data_dir)?;
    let registry = default_registry(settings, &platform).map_err(RunError::Setting)?;
    // Listened for from here on, so that a signal during the start is not lost.
    let stop = CancelToken::new();
    stop_on_signals(stop.clone())?;
    let app = build(settings, &platform, &ledger, registry).await?;
    println!("Pressluft listens on {}", app.url());
    match mode {
        Mode::Dev => first_login(&app, settings).await?,
        Mode::Serve => {
            if !app.accounts().any().await.map_err(anyhow::Error::from)? {
                println!("There is no login yet. Make one: pressluft admin create --email you@example.org");
            }
        }
    }
    app.run(stop).await?;
    Ok(ExitCode::SUCCESS)
}

fn stop_on_signals(stop: CancelToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; running jobs go on after the next start");
        stop.cancel(StopReason::Shutdown);
    });
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the login is printed once, where it was asked for")]
async fn first_login(app: &App, settings: &Settings) -> anyhow::Result<()> {
    let accounts = app.accounts();
    if accounts.any().await? {
        return Ok(());
    }
    let email = &settings.admin_email;
    match &settings.admin_password {
        Some(password) => {
            accounts.create(email, password.clone()).await?;
            println!("Log in as {email} with the password of PRESSLUFT_ADMIN_PASSWORD");
        }
        None => {
            let password = secrets::random_password().context("no random password could be made")?;
            accounts.create(email, Secret::new(password.expose())).await?;
            println!("Log in as {email} with the password {}", password.expose());
        }
    }
    Ok(())
}
