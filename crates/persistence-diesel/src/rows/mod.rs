//! Rows as they are stored, and how they become types of the domain.

mod account;
mod audit;
mod backup;
mod environment;
mod event;
mod job;
mod node;
mod site;

pub(crate) use account::{AccountRow, SessionRow};
pub(crate) use audit::AuditRow;
pub(crate) use backup::BackupRow;
pub(crate) use environment::EnvironmentRow;
pub(crate) use event::EventRow;
pub(crate) use job::{JobRow, StepRow};
pub(crate) use node::{NodeRow, from_json, to_json};
pub(crate) use site::SiteRow;

use std::fmt::Display;
use std::str::FromStr;

use crate::error::DbError;

/// Reads a text that this crate wrote.
pub(crate) fn read<T: FromStr<Err: Display>>(column: &'static str, text: &str) -> Result<T, DbError> {
    text.parse().map_err(|error: T::Err| DbError::Unknown {
        column,
        reason: error.to_string(),
    })
}

/// Reads a text that may be missing.
pub(crate) fn read_optional<T: FromStr<Err: Display>>(
    column: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, DbError> {
    text.map(|text| read(column, text)).transpose()
}

/// Reads a number that is never negative.
fn read_count(column: &'static str, number: i32) -> Result<u32, DbError> {
    u32::try_from(number).map_err(|error| DbError::Unknown {
        column,
        reason: error.to_string(),
    })
}

/// A count as it is stored. More than two thousand millions of anything counted here are as good as two.
pub(crate) fn stored_count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
