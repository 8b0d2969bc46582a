//! Writes to nodes that several parts of their store share. Each runs inside its caller's transaction.

use ::jobs::{JobStatus, StoreError};
use diesel::prelude::*;
use domain_kernel::{NodeId, Timestamp};
use nodes_domain::{NodeChange, NodeStatus};

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::event_log::{self, Subject};
use crate::job_writes::OPEN;
use crate::rows::{JobRow, NodeRow, to_json};
use crate::schema::{environments, jobs, nodes};

pub(crate) fn node_row(connection: &mut AnyConnection, id: NodeId) -> Result<NodeRow, DbError> {
    let row = nodes::table
        .find(id.to_string())
        .select(NodeRow::as_select())
        .first(connection)
        .optional()?;
    row.ok_or(DbError::Refused(StoreError::NotFound("node")))
}

/// Refuses a decision that was made on another version of the node.
pub(crate) fn check_version(row: &NodeRow, version: i64) -> Result<(), DbError> {
    if row.state_version == version {
        Ok(())
    } else {
        Err(DbError::Refused(StoreError::VersionConflict("node")))
    }
}

/// Refuses to give back a node that environments live on.
pub(crate) fn check_unused(connection: &mut AnyConnection, node: &NodeRow) -> Result<(), DbError> {
    let environments: i64 = environments::table
        .filter(environments::node_id.eq(&node.id))
        .count()
        .get_result(connection)?;
    match environments.unsigned_abs() {
        0 => Ok(()),
        environments => Err(DbError::Refused(StoreError::NodeInUse { environments })),
    }
}

/// The jobs of a node as such, not of sites on it, that have not ended, running ones first.
pub(crate) fn open_jobs(connection: &mut AnyConnection, node: &NodeRow) -> Result<Vec<JobRow>, DbError> {
    let mut rows: Vec<JobRow> = jobs::table
        .filter(jobs::node_id.eq(&node.id))
        .filter(jobs::site_id.is_null())
        .filter(jobs::status.eq_any(OPEN))
        .order(jobs::id)
        .select(JobRow::as_select())
        .load(connection)?;
    rows.sort_by_key(|row| row.status != JobStatus::Running.as_str());
    Ok(rows)
}

/// Stores `row` with the change, one version on, with an event where its status is another one now. A way that the
/// state machine does not know is refused: the node is not what the change was decided on.
pub(crate) fn change(
    connection: &mut AnyConnection,
    now: Timestamp,
    job_id: Option<&str>,
    mut row: NodeRow,
    change: &NodeChange,
) -> Result<NodeRow, DbError> {
    let NodeChange {
        status,
        target,
        readiness,
        seen_at,
    } = change;
    if status.is_none() && target.is_none() && readiness.is_none() && seen_at.is_none() {
        return Ok(row);
    }
    if let Some(target) = target {
        row.target = Some(to_json(target)?);
    }
    if let Some(readiness) = readiness {
        row.readiness = Some(to_json(readiness)?);
    }
    if let Some(seen_at) = seen_at {
        row.last_seen_at = Some(seen_at.as_micros());
        row.probe_failures = 0;
    }
    store(connection, now, job_id, row, *status)
}

/// Stores `row`, one version on and in a new status if there is one.
pub(crate) fn store(
    connection: &mut AnyConnection,
    now: Timestamp,
    job_id: Option<&str>,
    mut row: NodeRow,
    status: Option<NodeStatus>,
) -> Result<NodeRow, DbError> {
    let before = row.status()?;
    let after = status.unwrap_or(before);
    if !before.may_become(after) {
        return Err(DbError::Refused(StoreError::VersionConflict("node")));
    }
    row.status = after.as_str().to_owned();
    row.updated_at = now.as_micros();
    row.state_version += 1;
    diesel::update(nodes::table.find(&row.id))
        .set(&row)
        .execute(connection)?;
    if before != after {
        let subject = Subject {
            job_id,
            node_id: Some(&row.id),
        };
        event_log::node_status(connection, now, subject, after)?;
    }
    Ok(row)
}
