//! What the stores promise, on SQLite and on PostgreSQL. Every test has a database of its own.
//!
//! Each test of these files runs on SQLite under its own name. On PostgreSQL all of them run in one test,
//! `postgres::every_store_test_holds_on_postgresql`, because they share one server that it starts. Those of sites run on
//! the stores in memory too, which other crates test against.

// Clippy knows tests by their attribute; these are called by such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod accounts;
mod atomicity;
mod audit;
mod backups;
mod cancel;
mod catalog;
mod claim;
mod concurrency;
mod data_model;
mod events;
mod fence;
mod filters;
mod follow;
mod idempotency;
mod migrations;
mod nodes;
mod open;
mod outcomes;
mod overview;
mod plans;
mod postgres;
mod recovery;
mod remote;
mod retention;
mod schema;
mod site_database;
mod site_support;
mod sites;
mod support;
