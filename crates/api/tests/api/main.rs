//! The API, asked in process over stores in memory. Every answer in these tests is compared with the OpenAPI document.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod backups;
mod contracts;
mod environments;
mod errors;
mod job_types;
mod jobs;
mod nodes;
mod panel;
mod remote_nodes;
mod schema;
mod session;
mod site_parts;
mod site_retry;
mod sites;
mod status;
mod stream;
mod wire;
