//! Nodes.

use diesel::prelude::*;
use domain_kernel::Timestamp;
use nodes_domain::{NewNode, Node, NodeStatus, ProviderId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DbError;
use crate::rows::{read, read_count};
use crate::schema::nodes;

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = nodes, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(crate) struct NodeRow {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) provider: String,
    pub(crate) host_id: String,
    pub(crate) status: String,
    pub(crate) target: Option<String>,
    pub(crate) readiness: Option<String>,
    pub(crate) probe_failures: i32,
    pub(crate) last_seen_at: Option<i64>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) state_version: i64,
    pub(crate) remote: Option<String>,
}

impl NodeRow {
    /// A node that was just asked for.
    pub(crate) fn provisioning(node: &NewNode, now: Timestamp) -> Result<Self, DbError> {
        Ok(Self {
            id: node.id.to_string(),
            short_id: node.id.short().to_string(),
            name: node.name.as_str().to_owned(),
            source: node.source.as_str().to_owned(),
            provider: node.provider.as_str().to_owned(),
            host_id: node.host_id.clone(),
            status: NodeStatus::Provisioning.as_str().to_owned(),
            target: None,
            readiness: None,
            probe_failures: 0,
            last_seen_at: None,
            created_at: now.as_micros(),
            updated_at: now.as_micros(),
            state_version: 1,
            remote: node.remote.as_ref().map(to_json).transpose()?,
        })
    }

    pub(crate) fn status(&self) -> Result<NodeStatus, DbError> {
        read("nodes.status", &self.status)
    }
}

impl TryFrom<NodeRow> for Node {
    type Error = DbError;

    fn try_from(row: NodeRow) -> Result<Self, DbError> {
        Ok(Self {
            id: read("nodes.id", &row.id)?,
            short_id: read("nodes.short_id", &row.short_id)?,
            name: read("nodes.name", &row.name)?,
            source: read("nodes.source", &row.source)?,
            provider: ProviderId::new(row.provider),
            host_id: row.host_id,
            status: read("nodes.status", &row.status)?,
            remote: from_json("nodes.remote", row.remote.as_deref())?,
            target: from_json("nodes.target", row.target.as_deref())?,
            readiness: from_json("nodes.readiness", row.readiness.as_deref())?,
            probe_failures: read_count("nodes.probe_failures", row.probe_failures)?,
            last_seen_at: row.last_seen_at.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
            state_version: row.state_version,
        })
    }
}

/// A part of a row as it is stored.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(DbError::Unwritable)
}

pub(crate) fn from_json<T: DeserializeOwned>(column: &'static str, text: Option<&str>) -> Result<Option<T>, DbError> {
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|error: serde_json::Error| DbError::Unknown {
        column,
        reason: error.to_string(),
    })
}
