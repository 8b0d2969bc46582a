//! Idempotency keys: written in the transaction of the creation that they stand for. What was made is told by the row of
//! its job; of a node's creation also by the key itself.

use ::jobs::StoreError;
use diesel::prelude::*;
use domain_kernel::{JobId, NodeId, Timestamp};
use nodes_domain::Idempotency;

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::job_writes::job_row;
use crate::rows::{JobRow, read};
use crate::schema::idempotency_keys;

/// The job of an earlier request with the same key. It is there: a key goes with its job.
pub(crate) fn replay(connection: &mut AnyConnection, key: &Idempotency) -> Result<Option<JobRow>, DbError> {
    let earlier: Option<(String, String)> = idempotency_keys::table
        .find((key.account_id.to_string(), &key.key))
        .select((idempotency_keys::request_hash, idempotency_keys::job_id))
        .first(connection)
        .optional()?;
    match earlier {
        None => Ok(None),
        Some((request_hash, _)) if request_hash != key.request_hash => {
            Err(DbError::Refused(StoreError::IdempotencyMismatch))
        }
        Some((_, job_id)) => job_row(connection, &job_id).map(Some),
    }
}

/// An id that the job of a replayed request has, because the request is of a kind whose jobs have it.
pub(crate) fn told<T: std::str::FromStr<Err: std::fmt::Display>>(
    column: &'static str,
    id: Option<&str>,
) -> Result<T, DbError> {
    read(column, id.unwrap_or_default())
}

/// Keeps what a request wrote: its job, and the node where it made one.
pub(crate) fn remember(
    connection: &mut AnyConnection,
    now: Timestamp,
    key: &Idempotency,
    job_id: JobId,
    node_id: Option<NodeId>,
) -> Result<(), DbError> {
    diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::account_id.eq(key.account_id.to_string()),
            idempotency_keys::key.eq(&key.key),
            idempotency_keys::request_hash.eq(&key.request_hash),
            idempotency_keys::node_id.eq(node_id.map(|id| id.to_string())),
            idempotency_keys::job_id.eq(job_id.to_string()),
            idempotency_keys::created_at.eq(now.as_micros()),
        ))
        .execute(connection)?;
    Ok(())
}
