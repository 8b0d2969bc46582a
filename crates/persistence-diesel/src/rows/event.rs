//! Events.

use ::jobs::Event;
use diesel::prelude::*;
use domain_kernel::Timestamp;

use crate::error::DbError;
use crate::rows::{read, read_optional};
use crate::schema::events;

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = events)]
pub(crate) struct EventRow {
    pub(crate) seq: i64,
    pub(crate) job_id: Option<String>,
    pub(crate) node_id: Option<String>,
    pub(crate) at: i64,
    pub(crate) kind: String,
    pub(crate) data: String,
}

impl TryFrom<EventRow> for Event {
    type Error = DbError;

    fn try_from(row: EventRow) -> Result<Self, DbError> {
        Ok(Self {
            seq: row.seq,
            job_id: read_optional("events.job_id", row.job_id.as_deref())?,
            node_id: read_optional("events.node_id", row.node_id.as_deref())?,
            at: Timestamp::from_micros(row.at),
            kind: read("events.kind", &row.kind)?,
            data: read("events.data", &row.data)?,
        })
    }
}
