//! Tests of the use cases, the workflows and the reconciler, over stores and machines in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod accounts;
mod backup_create;
mod backup_keeper;
mod backups;
mod bench;
mod env_restore;
mod environments;
mod every_workflow;
mod housekeeper;
mod jobs_service;
mod node_decommission;
mod node_provision;
mod nodes;
mod preview_keeper;
mod readiness;
mod reconciler;
mod remote_nodes;
mod site_abandon;
mod site_bench;
mod site_checks;
mod site_removal;
mod site_retry;
mod site_workflows;
mod sites;
mod start_up;
