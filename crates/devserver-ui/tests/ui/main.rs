//! The pages, asked in process over stores in memory, as a browser would ask without JavaScript.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod assets;
mod every_page;
mod every_route;
mod hostile;
mod job_page;
mod jobs;
mod lists;
mod login;
mod node;
mod nodes;
mod overview;
mod panel;
mod remote_form;
mod remote_row;
mod requests;
mod site;
mod site_actions;
mod site_jobs;
mod site_support;
mod sites;
mod timeline;
mod workflow_steps;
