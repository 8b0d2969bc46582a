//! The pages, asked in process over stores in memory, as a browser would ask without JavaScript.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod assets;
mod hostile;
mod login;
mod nodes;
mod panel;
mod remote_form;
mod remote_row;
mod requests;
mod workflow_steps;
