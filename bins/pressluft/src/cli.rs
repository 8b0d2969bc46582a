//! The command line. Exit status: 0 done, 1 failed, 2 a bad flag or setting.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::app::RunError;
use crate::commands;
use crate::settings::{SETTINGS, SettingError, Settings, SettingsSource};

/// A self-hosted WordPress control plane.
#[derive(Parser)]
#[command(name = "pressluft", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
    #[command(flatten)]
    flags: SettingFlags,
    /// Print data as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Read settings from this file [default: ./pressluft.toml where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
}

const AFTER_HELP: &str = "Every setting can also be a variable, PRESSLUFT_<NAME>, or a line of pressluft.toml. \
A flag goes before a variable, a variable before the file.";

/// The flags that stand for settings: one for each that has one.
struct SettingFlags(BTreeMap<String, String>);

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = SETTINGS.iter().filter(|info| info.flag).filter_map(|info| {
            let value = matches.get_one::<String>(info.name)?;
            Some((info.name.to_owned(), value.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let flags = SETTINGS.iter().filter(|info| info.flag);
        flags.fold(command, |command, info| {
            command.arg(
                Arg::new(info.name)
                    .long(info.name.replace('_', "-"))
                    .help(info.help)
                    .value_name("VALUE")
                    .global(true)
                    .help_heading("Settings"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[derive(Subcommand)]
enum Commands {
    /// Run the server for trying it out: makes a login where there is none and prints it
    Dev,
    /// Run the server. Make a login first: pressluft admin create
    Serve,
    /// Bring the database up to date
    Migrate {
        /// Only say what is missing; exit status 1 if anything is
        #[arg(long)]
        check: bool,
    },
    /// Print the API's description (OpenAPI)
    Openapi {
        /// Write it and the registries into this folder instead
        #[arg(long, value_name = "FOLDER")]
        write: Option<std::path::PathBuf>,
        /// Write the pages of the registries into this folder instead
        #[arg(long, value_name = "FOLDER")]
        docs: Option<std::path::PathBuf>,
    },
    /// Say for each thing that Pressluft needs whether it works, and the next command if not
    Doctor,
    /// WordPress and WP-CLI in the cache
    #[command(subcommand)]
    Artifacts(ArtifactsCommand),
    /// Manage logins, and see what was done by whom
    #[command(subcommand)]
    Admin(AdminCommand),
}

/// What can be done with WordPress and WP-CLI in the cache.
#[derive(Subcommand)]
pub(crate) enum ArtifactsCommand {
    /// Fetch what is missing from the source that PRESSLUFT_ARTIFACT_SOURCE names
    Fetch,
    /// Say what is there
    List,
    /// Compare every file with its checksum; exit status 1 where one is damaged or missing
    Verify,
}

/// What can be done with logins, and what was done by whom. Passwords are read from standard input, never from the command line.
#[derive(Subcommand)]
pub(crate) enum AdminCommand {
    /// Make a login; its password is the first line of standard input
    Create {
        /// The e-mail address to log in with
        #[arg(long)]
        email: String,
    },
    /// Replace a login's password by the first line of standard input, and end its sessions
    SetPassword {
        /// The login's e-mail address
        #[arg(long)]
        email: String,
    },
    /// Print the audit log, newest first: logins, accounts, and who asked for which job
    Audit {
        /// How many lines at most
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
}

/// Runs the program.
#[allow(clippy::print_stderr, reason = "a program says on standard error why it fails")]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    match run(cli) {
        Ok(code) => code,
        Err(RunError::Setting(error)) => {
            eprintln!("pressluft: {error}");
            ExitCode::from(2)
        }
        Err(RunError::Other(error)) => {
            eprintln!("pressluft: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, RunError> {
    if let Commands::Openapi { write, docs } = &cli.command {
        return Ok(commands::openapi::run(write.as_deref(), docs.as_deref())?);
    }
    let settings = read_settings(&cli).map_err(RunError::Setting)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RunError::Other(error.into()))?;
    runtime.block_on(async {
        match cli.command {
            Commands::Dev => commands::serve::run(&settings, commands::serve::Mode::Dev).await,
            Commands::Serve => commands::serve::run(&settings, commands::serve::Mode::Serve).await,
            Commands::Migrate { check } => Ok(commands::migrate::run(&settings, check, cli.json).await?),
            Commands::Doctor => commands::doctor::run(&settings, cli.json).await,
            Commands::Artifacts(command) => commands::artifacts::run(&settings, command, cli.json).await,
            Commands::Admin(command) => Ok(commands::admin::run(&settings, command, cli.json).await?),
            // Answered above: it needs no setting.
            Commands::Openapi { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

fn read_settings(cli: &Cli) -> Result<Settings, SettingError> {
    let directory = std::env::current_dir()
        .map_err(|error| SettingError(format!("the working directory cannot be read: {error}")))?;
    let file = match &cli.config {
        Some(path) => Some(directory.join(path)),
        None => Some(directory.join("pressluft.toml")).filter(|path| path.exists()),
    };
    let file = match file {
        Some(path) => {
            let text = std::fs::read_to_string(&path);
            Some(text.map_err(|error| SettingError(format!("--config: {} cannot be read: {error}", path.display())))?)
        }
        None => None,
    };
    // A variable that is not UTF-8 cannot be one of ours.
    let text = |text: std::ffi::OsString| text.into_string().ok();
    Settings::read(&SettingsSource {
        flags: cli.flags.0.clone(),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect(),
        file,
        directory,
        program: std::env::current_exe().ok(),
    })
}
