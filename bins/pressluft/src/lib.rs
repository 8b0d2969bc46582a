//! The server: reads settings, wires adapters to use cases, runs. Nothing is decided here that is not wiring; tests call
//! the same [`build`] as the program does.

mod app;
mod cli;
mod commands;
mod data_dir;
mod health;
mod settings;
mod site_parts;
mod start_checks;

pub use app::{App, Platform, RunError, build, default_registry};
pub use cli::main;
pub use data_dir::{DataDir, DataDirError};
pub use settings::{SettingError, Settings, SettingsSource};
