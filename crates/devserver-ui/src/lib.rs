//! The pages: handlers over the same use cases as the API, view models, and templates that are compiled in. Pages work as
//! plain forms and links; one small script adds what happens meanwhile. No decision about nodes or jobs is made here.

mod assets;
mod create;
mod form;
mod jobs;
mod login;
mod nodes;
mod pages;
mod providers;
mod routes;
mod state;
mod view;

pub use routes::configure;
pub use state::{UiError, UiState};
