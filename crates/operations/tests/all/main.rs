//! Tests of the use cases, the workflows and the reconciler, over stores and machines in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod accounts;
mod bench;
mod every_workflow;
mod housekeeper;
mod jobs_service;
mod node_decommission;
mod node_provision;
mod nodes;
mod readiness;
mod reconciler;
mod remote_nodes;
mod start_up;
