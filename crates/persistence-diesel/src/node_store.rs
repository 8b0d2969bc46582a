//! Nodes, each change with the jobs and events that belong to it.

use ::jobs::{Claim, JobStatus, NewJob, Outcome, Page, PageRequest, SearchText, StoreError};
use accounts_domain::{AuditAction, AuditSubjectKind};
use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use domain_kernel::{AccountId, NodeId, Timestamp};
use nodes_domain::{
    CreatedNode, HostKeyPin, Idempotency, NewNode, Node, NodeBrief, NodeChange, NodeCounts, NodeFilter, NodeName,
    NodeStatus, NodeStore, ProbeRecord, check_addresses, check_host_key,
};
use serde_json::json;

use crate::Database;
use crate::attention::{node_is_ready, node_needs_attention};
use crate::audit_log::{self, NewLine};
use crate::claim::fenced;
use crate::connection::{AnyBackend, AnyConnection};
use crate::error::DbError;
use crate::event_log::{self, Subject};
use crate::idempotency;
use crate::job_writes::{self, OPEN};
use crate::node_writes::{self, check_unused, check_version, node_row, open_jobs};
use crate::rows::{JobRow, NodeRow, read, stored_count, to_json};
use crate::schema::{jobs, nodes};
use crate::search::{self, BoxedCondition};

#[async_trait]
impl NodeStore for Database {
    async fn create(
        &self,
        node: NewNode,
        job: NewJob,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedNode, StoreError> {
        let created = self.write(move |connection, now| {
            if let Some(key) = &idempotency
                && let Some(job) = idempotency::replay(connection, key)?
            {
                return Ok(CreatedNode {
                    node_id: idempotency::told("jobs.node_id", job.node_id.as_deref())?,
                    job_id: job.id()?,
                    replayed: true,
                });
            }
            insert_node(connection, now, &node, &job)?;
            let created = CreatedNode {
                node_id: node.id,
                job_id: job.id,
                replayed: false,
            };
            if let Some(key) = &idempotency {
                idempotency::remember(connection, now, key, job.id, Some(node.id))?;
            }
            Ok(created)
        });
        Ok(created.await?)
    }

    async fn node(&self, id: NodeId) -> Result<Option<Node>, StoreError> {
        let found = self.read(move |connection| {
            let row = nodes::table
                .find(id.to_string())
                .select(NodeRow::as_select())
                .first(connection)
                .optional()?;
            row.map(Node::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn nodes(&self, filter: &NodeFilter, page: &PageRequest) -> Result<Page<Node>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        let found = self.read(move |connection| {
            let mut query = nodes::table
                .select(NodeRow::as_select())
                .order(nodes::id.desc())
                .limit(i64::from(page.limit) + 1)
                .into_boxed::<AnyBackend>();
            if let Some(status) = filter.status {
                query = query.filter(nodes::status.eq(status.as_str()));
            } else if !filter.include_decommissioned {
                query = query.filter(nodes::status.ne(NodeStatus::Decommissioned.as_str()));
            }
            if let Some(search) = &filter.search {
                query = query.filter(has_text(connection, search));
            }
            if filter.needs_attention {
                query = query.filter(sql::<Bool>(&node_needs_attention(connection)));
            }
            if let Some(after) = &page.after {
                query = query.filter(nodes::id.lt(after));
            }
            let items = to_nodes(query.load(connection)?)?;
            Ok(Page::from_overfull(items, page.limit, |node| node.id.to_string()))
        });
        Ok(found.await?)
    }

    async fn node_names(&self, ids: &[NodeId], newest: u32) -> Result<Vec<(NodeId, NodeName)>, StoreError> {
        let ids: Vec<String> = ids.iter().map(NodeId::to_string).collect();
        let found = self.read(move |connection| {
            let of_newest: Vec<String> = nodes::table
                .filter(nodes::status.ne(NodeStatus::Decommissioned.as_str()))
                .order(nodes::id.desc())
                .limit(i64::from(newest))
                .select(nodes::id)
                .load(connection)?;
            let rows: Vec<(String, String)> = nodes::table
                .filter(nodes::id.eq_any(of_newest.into_iter().chain(ids)))
                .order(nodes::id.desc())
                .select((nodes::id, nodes::name))
                .load(connection)?;
            rows.iter()
                .map(|(id, name)| Ok((read("nodes.id", id)?, read("nodes.name", name)?)))
                .collect()
        });
        Ok(found.await?)
    }

    async fn node_briefs(&self, ids: &[NodeId]) -> Result<Vec<NodeBrief>, StoreError> {
        let ids: Vec<String> = ids.iter().map(NodeId::to_string).collect();
        let found = self.read(move |connection| {
            let is_ready = || sql::<Bool>(&node_is_ready(connection));
            let rows: Vec<(String, String, String, bool)> = nodes::table
                .filter(is_ready().or(nodes::id.eq_any(ids)))
                .order(nodes::id.desc())
                .select((nodes::id, nodes::name, nodes::status, is_ready()))
                .load(connection)?;
            let briefs = rows.iter().map(|(id, name, status, is_ready)| {
                Ok(NodeBrief {
                    id: read("nodes.id", id)?,
                    name: read("nodes.name", name)?,
                    status: read("nodes.status", status)?,
                    is_ready: *is_ready,
                })
            });
            briefs.collect()
        });
        Ok(found.await?)
    }

    async fn idle_nodes(&self, host_id: &str, statuses: &[NodeStatus]) -> Result<Vec<Node>, StoreError> {
        let host_id = host_id.to_owned();
        let statuses: Vec<_> = statuses.iter().map(|status| status.as_str()).collect();
        let found = self.read(move |connection| {
            let open_job = jobs::table
                .filter(jobs::node_id.eq(nodes::id.nullable()))
                .filter(jobs::site_id.is_null())
                .filter(jobs::status.eq_any(OPEN));
            let rows = nodes::table
                .filter(nodes::host_id.eq(host_id))
                .filter(nodes::status.eq_any(statuses))
                .filter(diesel::dsl::not(diesel::dsl::exists(open_job)))
                .order(nodes::id)
                .select(NodeRow::as_select())
                .load(connection)?;
            to_nodes(rows)
        });
        Ok(found.await?)
    }

    async fn counts(&self) -> Result<NodeCounts, StoreError> {
        let found = self.read(|connection| {
            let active = nodes::status.eq(NodeStatus::Active.as_str());
            let live = nodes::status.ne(NodeStatus::Decommissioned.as_str());
            let active: i64 = nodes::table.filter(active).count().get_result(connection)?;
            let live: i64 = nodes::table.filter(live).count().get_result(connection)?;
            Ok(NodeCounts {
                active: active.unsigned_abs(),
                live: live.unsigned_abs(),
            })
        });
        Ok(found.await?)
    }

    async fn enqueue(
        &self,
        id: NodeId,
        version: i64,
        status: NodeStatus,
        job: NewJob,
        cancel_waiting: bool,
    ) -> Result<Node, StoreError> {
        let changed = self.write(move |connection, now| {
            let row = node_row(connection, id)?;
            if status == NodeStatus::Decommissioning {
                check_unused(connection, &row)?;
            }
            let waiting = open_jobs(connection, &row)?;
            if let Some(busy) = waiting
                .iter()
                .find(|open| !cancel_waiting || open.status != JobStatus::Queued.as_str())
            {
                return Err(node_busy(busy)?);
            }
            check_version(&row, version)?;
            let by = job.requested_by.map(|id| id.to_string());
            for open in waiting {
                job_writes::cancel_waiting(connection, now, open, by.as_deref())?;
            }
            job_writes::insert_job(connection, now, &job)?;
            let row = node_writes::change(
                connection,
                now,
                Some(&job.id.to_string()),
                row,
                &NodeChange::status(status),
            )?;
            Node::try_from(row)
        });
        Ok(changed.await?)
    }

    async fn pin_host_key(
        &self,
        id: NodeId,
        version: i64,
        pin: HostKeyPin,
        by: Option<AccountId>,
    ) -> Result<Node, StoreError> {
        let changed = self.write(move |connection, now| {
            let mut row = node_row(connection, id)?;
            if let Some(busy) = open_jobs(connection, &row)?.first() {
                return Err(node_busy(busy)?);
            }
            check_version(&row, version)?;
            check_host_key(&other_live_nodes(connection, id)?, &pin.host_key).map_err(DbError::Refused)?;
            let by = by.map(|id| id.to_string());
            let line = NewLine {
                account_id: by.as_deref(),
                subject: Some((AuditSubjectKind::Node, &row.id)),
                detail: Some(json!({"fingerprint": pin.fingerprint.as_str()})),
                ..NewLine::default()
            };
            audit_log::write(connection, now, AuditAction::HostKeyPinned, line)?;
            let mut node = Node::try_from(row.clone())?;
            node.pin(pin);
            row.remote = node.remote.as_ref().map(to_json).transpose()?;
            row.target = node.target.as_ref().map(to_json).transpose()?;
            Node::try_from(node_writes::store(connection, now, None, row, None)?)
        });
        Ok(changed.await?)
    }

    async fn change_in_job(&self, claim: &Claim, id: NodeId, change: NodeChange) -> Result<Node, StoreError> {
        let claim = claim.clone();
        let changed = self.write(move |connection, now| {
            let job = fenced(connection, &claim)?;
            let row = node_row(connection, id)?;
            if row.remote.is_some()
                && let Some(target) = &change.target
            {
                let others = other_live_nodes(connection, id)?;
                check_addresses(&others, &target.served_from()).map_err(DbError::Refused)?;
                check_host_key(&others, &target.host_key).map_err(DbError::Refused)?;
            }
            Node::try_from(node_writes::change(connection, now, Some(&job.id), row, &change)?)
        });
        Ok(changed.await?)
    }

    async fn settle_job(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        id: NodeId,
        change: NodeChange,
    ) -> Result<(), StoreError> {
        let (claim, outcome) = (claim.clone(), outcome.clone());
        let settled = self.write(move |connection, now| {
            let job = job_writes::end_run(connection, now, &claim, &outcome)?;
            let row = node_row(connection, id)?;
            node_writes::change(connection, now, Some(&job.id), row, &change).map(drop)
        });
        Ok(settled.await?)
    }

    async fn record_probe(&self, id: NodeId, version: i64, record: ProbeRecord) -> Result<Node, StoreError> {
        let changed = self.write(move |connection, now| {
            let mut row = node_row(connection, id)?;
            if let Some(busy) = open_jobs(connection, &row)?.first() {
                return Err(node_busy(busy)?);
            }
            check_version(&row, version)?;
            row.readiness = Some(to_json(&record.readiness)?);
            row.probe_failures = stored_count(record.probe_failures);
            row.last_seen_at = record.seen_at.map(Timestamp::as_micros).or(row.last_seen_at);
            Node::try_from(node_writes::store(connection, now, None, row, Some(record.status))?)
        });
        Ok(changed.await?)
    }
}

/// A row of `nodes` whose name, host or one of its addresses has this part.
fn has_text(connection: &AnyConnection, search: &SearchText) -> BoxedCondition<nodes::table> {
    let fields = ["nodes.remote", "nodes.target"]
        .into_iter()
        .flat_map(|column| ["hostname", "public_ip"].map(|name| search::field(connection, column, name)));
    let texts: Vec<String> = std::iter::once("nodes.name".to_owned()).chain(fields).collect();
    search::is_in_one(connection, &texts, search)
}

fn to_nodes(rows: Vec<NodeRow>) -> Result<Vec<Node>, DbError> {
    rows.into_iter().map(Node::try_from).collect()
}

fn live_nodes(connection: &mut AnyConnection) -> Result<Vec<Node>, DbError> {
    let live = nodes::status.ne(NodeStatus::Decommissioned.as_str());
    let rows = nodes::table.filter(live).order(nodes::id).select(NodeRow::as_select());
    to_nodes(rows.load(connection)?)
}

fn other_live_nodes(connection: &mut AnyConnection, id: NodeId) -> Result<Vec<Node>, DbError> {
    let mut others = live_nodes(connection)?;
    others.retain(|node| node.id != id);
    Ok(others)
}

fn insert_node(connection: &mut AnyConnection, now: Timestamp, node: &NewNode, job: &NewJob) -> Result<(), DbError> {
    if let Some(host) = &node.remote {
        check_addresses(&live_nodes(connection)?, &host.addresses()).map_err(DbError::Refused)?;
    }
    let row = NodeRow::provisioning(node, now)?;
    let inserted = diesel::insert_into(nodes::table)
        .values(&row)
        .execute(connection)
        .map_err(DbError::from);
    inserted.map_err(|error| match error {
        taken if taken.is_unique_violation() => DbError::Refused(StoreError::Duplicate(
            "a node with this id or short id exists".to_owned(),
        )),
        error => error,
    })?;
    job_writes::insert_job(connection, now, job)?;
    let job_id = job.id.to_string();
    let subject = Subject {
        job_id: Some(&job_id),
        node_id: Some(&row.id),
    };
    event_log::node_status(connection, now, subject, NodeStatus::Provisioning)
}

fn node_busy(open: &JobRow) -> Result<DbError, DbError> {
    Ok(DbError::Refused(StoreError::NodeBusy { job_id: open.id()? }))
}
