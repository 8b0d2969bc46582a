//! The stores on SQLite and PostgreSQL: the only crate that knows SQL.
//!
//! [`Database`] implements [`jobs::JobStore`], [`jobs::JobCatalog`], [`jobs::Housekeeping`], [`nodes_domain::NodeStore`],
//! [`sites_domain::SiteStore`], [`sites_domain::OverviewStore`], [`accounts_domain::AccountStore`] and [`accounts_domain::AuditLog`]. Rows are types of this
//! crate and never leave it. Every change is one transaction that takes its turn among the writers; `transaction` says why
//! that is enough.

mod account_store;
mod attention;
mod audit_log;
mod claim;
mod connection;
mod database;
mod due_backups;
mod error;
mod event_log;
mod housekeeping;
mod idempotency;
mod job_catalog;
mod job_store;
mod job_writes;
pub mod migrations;
mod node_store;
mod node_writes;
mod overview;
#[cfg(test)]
mod plans;
mod pool;
mod rows;
pub mod schema;
mod search;
mod site_audit;
mod site_store;
mod site_writes;
mod transaction;

pub use database::Database;
pub use migrations::MigrateError;
pub use pool::OpenError;
