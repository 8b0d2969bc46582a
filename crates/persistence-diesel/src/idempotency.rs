//! Idempotency keys: written in the transaction of the creation that they stand for.

use ::jobs::StoreError;
use diesel::prelude::*;
use domain_kernel::Timestamp;
use nodes_domain::{CreatedNode, Idempotency};

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::rows::read;
use crate::schema::idempotency_keys;

/// What an earlier request with the same key wrote.
pub(crate) fn replay(connection: &mut AnyConnection, key: &Idempotency) -> Result<Option<CreatedNode>, DbError> {
    let earlier: Option<(String, String, String)> = idempotency_keys::table
        .find((key.account_id.to_string(), &key.key))
        .select((
            idempotency_keys::request_hash,
            idempotency_keys::node_id,
            idempotency_keys::job_id,
        ))
        .first(connection)
        .optional()?;
    let Some((request_hash, node_id, job_id)) = earlier else {
        return Ok(None);
    };
    if request_hash != key.request_hash {
        return Err(DbError::Refused(StoreError::IdempotencyMismatch));
    }
    Ok(Some(CreatedNode {
        node_id: read("idempotency_keys.node_id", &node_id)?,
        job_id: read("idempotency_keys.job_id", &job_id)?,
        replayed: true,
    }))
}

/// Keeps what a request wrote.
pub(crate) fn remember(
    connection: &mut AnyConnection,
    now: Timestamp,
    key: &Idempotency,
    created: &CreatedNode,
) -> Result<(), DbError> {
    diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::account_id.eq(key.account_id.to_string()),
            idempotency_keys::key.eq(&key.key),
            idempotency_keys::request_hash.eq(&key.request_hash),
            idempotency_keys::node_id.eq(created.node_id.to_string()),
            idempotency_keys::job_id.eq(created.job_id.to_string()),
            idempotency_keys::created_at.eq(now.as_micros()),
        ))
        .execute(connection)?;
    Ok(())
}
