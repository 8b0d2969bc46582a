//! The pages: handlers over the same use cases as the API, view models, and templates that are compiled in. Pages work as
//! plain forms and links; one small script adds what happens meanwhile. No decision about nodes or jobs is made here.

mod assets;
mod create;
mod filter;
mod form;
mod frame;
mod job;
mod jobs;
mod login;
mod node;
mod nodes;
mod overview;
mod pace;
mod pages;
mod providers;
mod routes;
mod site;
mod site_actions;
mod site_asks;
mod site_forms;
mod site_jobs;
mod sites;
mod state;
mod view;

pub use routes::configure;
pub use state::{UiError, UiState};
