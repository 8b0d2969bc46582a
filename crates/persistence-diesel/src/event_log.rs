//! The one way in which events are written, always in the transaction of what they tell.

use ::jobs::{EventKind, NewEvent, StepStatus};
use diesel::dsl::max;
use diesel::prelude::*;
use domain_kernel::Timestamp;
use nodes_domain::NodeStatus;
use serde_json::{Value, json};

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::rows::JobRow;
use crate::schema::events;

/// What an event belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) job_id: Option<&'a str>,
    pub(crate) node_id: Option<&'a str>,
}

impl<'a> Subject<'a> {
    pub(crate) fn job(row: &'a JobRow) -> Self {
        Self {
            job_id: Some(&row.id),
            node_id: row.node_id.as_deref(),
        }
    }
}

/// The number of the newest event, 0 where there is none.
pub(crate) fn newest(connection: &mut AnyConnection) -> Result<i64, DbError> {
    let newest: Option<i64> = events::table.select(max(events::seq)).first(connection)?;
    Ok(newest.unwrap_or(0))
}

pub(crate) fn append(
    connection: &mut AnyConnection,
    now: Timestamp,
    subject: Subject<'_>,
    event: &NewEvent,
) -> Result<(), DbError> {
    diesel::insert_into(events::table)
        .values((
            events::job_id.eq(subject.job_id),
            events::node_id.eq(subject.node_id),
            events::at.eq(now.as_micros()),
            events::kind.eq(event.kind.as_str()),
            events::data.eq(event.data.to_string()),
        ))
        .execute(connection)?;
    Ok(())
}

/// Tells the job's status as `row` has it: `{"status", "attempt", ...}` and what `more` adds.
pub(crate) fn job_status(
    connection: &mut AnyConnection,
    now: Timestamp,
    row: &JobRow,
    more: &[(&str, Value)],
) -> Result<(), DbError> {
    let mut data = json!({"status": row.status, "attempt": row.attempt_count});
    for (name, value) in more {
        data[*name] = value.clone();
    }
    append(
        connection,
        now,
        Subject::job(row),
        &NewEvent {
            kind: EventKind::Status,
            data,
        },
    )
}

/// Tells a step's status: `{"step", "status", "attempt", "detail"?}`.
pub(crate) fn step(
    connection: &mut AnyConnection,
    now: Timestamp,
    job: &JobRow,
    name: &str,
    status: StepStatus,
    detail: Option<&str>,
) -> Result<(), DbError> {
    let mut data = json!({"step": name, "status": status, "attempt": job.attempt_count});
    if let Some(detail) = detail {
        data["detail"] = detail.into();
    }
    append(
        connection,
        now,
        Subject::job(job),
        &NewEvent {
            kind: EventKind::Step,
            data,
        },
    )
}

/// Tells a node's status: `{"node_status"}`.
pub(crate) fn node_status(
    connection: &mut AnyConnection,
    now: Timestamp,
    subject: Subject<'_>,
    status: NodeStatus,
) -> Result<(), DbError> {
    status_of(connection, now, subject, json!({"node_status": status}))
}

/// Tells the status of what jobs work on.
pub(crate) fn status_of(
    connection: &mut AnyConnection,
    now: Timestamp,
    subject: Subject<'_>,
    data: Value,
) -> Result<(), DbError> {
    append(
        connection,
        now,
        subject,
        &NewEvent {
            kind: EventKind::Status,
            data,
        },
    )
}
