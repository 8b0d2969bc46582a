//! Nodes in memory, fenced by the claims of [`MemoryJobs`]: a node's change and its job's change happen at once, as in
//! one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain_kernel::{AccountId, Clock, NodeId, Timestamp};
use jobs::{Claim, Job, JobStatus, NewJob, Outcome, Page, PageRequest, StoreError};
use nodes_domain::{
    CreatedNode, HostKeyPin, Idempotency, NewNode, Node, NodeBrief, NodeChange, NodeCounts, NodeFilter, NodeName,
    NodeStatus, NodeStore, ProbeRecord, check_addresses, check_host_key,
};

use crate::MemoryJobs;

/// Nodes in memory. It gives way before and after every call, so that a test can drop a run between any two of them.
pub struct MemoryNodes {
    clock: Arc<dyn Clock>,
    jobs: Arc<MemoryJobs>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    nodes: Vec<Node>,
    keys: HashMap<(AccountId, String), (String, CreatedNode)>,
    refusing: HashSet<NodeId>,
    environments: HashMap<NodeId, u64>,
}

impl MemoryNodes {
    /// No nodes yet; their jobs are kept in `jobs`.
    pub fn new(clock: Arc<dyn Clock>, jobs: Arc<MemoryJobs>) -> Self {
        Self {
            clock,
            jobs,
            table: Mutex::new(Table::default()),
        }
    }

    /// Writes a node as it is, without a job; one with the same id is replaced.
    pub fn put(&self, node: Node) {
        let mut table = self.table();
        table.nodes.retain(|known| known.id != node.id);
        table.nodes.push(node);
    }

    /// From now on no job of this node can be stored.
    pub fn refuse_jobs_of(&self, id: NodeId) {
        self.table().refusing.insert(id);
    }

    /// From now on so many environments live on these nodes, and none on any other. [`MemorySites`](crate::MemorySites)
    /// keeps this by itself.
    pub fn set_environments(&self, environments: HashMap<NodeId, u64>) {
        self.table().environments = environments;
    }

    /// A node as it stands now, if there is one.
    pub(crate) fn find(&self, id: NodeId) -> Option<Node> {
        self.table().nodes.iter().find(|node| node.id == id).cloned()
    }

    /// A node as it stands now.
    ///
    /// # Panics
    /// There is no such node.
    #[allow(clippy::panic, reason = "for tests")]
    pub fn get(&self, id: NodeId) -> Node {
        match self.find(id) {
            Some(node) => node,
            None => panic!("no node {id}"),
        }
    }

    /// All nodes, oldest first.
    pub fn all(&self) -> Vec<Node> {
        self.table().nodes.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` on the table with a place to be dropped on either side of it.
    async fn at_once<T>(
        &self,
        work: impl FnOnce(&mut Table, Timestamp) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        self.jobs.broken()?;
        let answer = work(&mut self.table(), self.clock.now());
        tokio::task::yield_now().await;
        answer
    }
}

impl Table {
    fn others(&self, id: NodeId) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.id != id)
    }

    fn node(&mut self, id: NodeId) -> Result<&mut Node, StoreError> {
        let found = self.nodes.iter_mut().find(|node| node.id == id);
        found.ok_or(StoreError::NotFound("node"))
    }

    fn at_version(&mut self, id: NodeId, version: i64) -> Result<&mut Node, StoreError> {
        let node = self.node(id)?;
        if node.state_version == version {
            Ok(node)
        } else {
            Err(StoreError::VersionConflict("node"))
        }
    }
}

/// Moves a node to a status. A way that the state machine does not know is refused: the node is not what the change was
/// decided on.
fn moved(node: &mut Node, status: NodeStatus) -> Result<(), StoreError> {
    if !node.status.may_become(status) {
        return Err(StoreError::VersionConflict("node"));
    }
    node.status = status;
    Ok(())
}

fn changed(node: &mut Node, change: NodeChange, now: Timestamp) -> Result<(), StoreError> {
    let NodeChange {
        status,
        target,
        readiness,
        seen_at,
    } = change;
    if status.is_none() && target.is_none() && readiness.is_none() && seen_at.is_none() {
        return Ok(());
    }
    if let Some(status) = status {
        moved(node, status)?;
    }
    node.target = target.or(node.target.take());
    node.readiness = readiness.or(node.readiness.take());
    if seen_at.is_some() {
        node.last_seen_at = seen_at;
        node.probe_failures = 0;
    }
    touched(node, now);
    Ok(())
}

fn touched(node: &mut Node, now: Timestamp) {
    node.state_version += 1;
    node.updated_at = now;
}

#[async_trait]
impl NodeStore for MemoryNodes {
    async fn create(
        &self,
        new: NewNode,
        job: NewJob,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedNode, StoreError> {
        self.at_once(|table, now| {
            let slot = idempotency.map(|given| ((given.account_id, given.key), given.request_hash));
            if let Some((slot, hash)) = &slot
                && let Some((known, created)) = table.keys.get(slot)
            {
                return if known == hash {
                    Ok(CreatedNode {
                        replayed: true,
                        ..*created
                    })
                } else {
                    Err(StoreError::IdempotencyMismatch)
                };
            }
            let addresses = new.remote.iter().flat_map(|host| host.addresses());
            let addresses: Vec<_> = addresses.collect();
            check_addresses(&table.nodes, &addresses)?;
            let created = CreatedNode {
                node_id: new.id,
                job_id: self.jobs.enqueue(job),
                replayed: false,
            };
            table.nodes.push(Node {
                id: new.id,
                short_id: new.id.short(),
                name: new.name,
                source: new.source,
                provider: new.provider,
                host_id: new.host_id,
                status: NodeStatus::Provisioning,
                remote: new.remote,
                target: None,
                readiness: None,
                probe_failures: 0,
                last_seen_at: None,
                created_at: now,
                updated_at: now,
                state_version: 1,
            });
            if let Some((slot, hash)) = slot {
                table.keys.insert(slot, (hash, created));
            }
            Ok(created)
        })
        .await
    }

    async fn node(&self, id: NodeId) -> Result<Option<Node>, StoreError> {
        self.at_once(|table, _| Ok(table.nodes.iter().find(|node| node.id == id).cloned()))
            .await
    }

    async fn nodes(&self, filter: &NodeFilter, page: &PageRequest) -> Result<Page<Node>, StoreError> {
        self.at_once(|table, _| {
            let mut found: Vec<Node> = table
                .nodes
                .iter()
                .filter(|node| filter.fits(node))
                .filter(|node| page.after.as_ref().is_none_or(|after| node.id.to_string() < *after))
                .cloned()
                .collect();
            found.sort_by_key(|node| std::cmp::Reverse(node.id));
            Ok(Page::from_overfull(found, page.limit, |node| node.id.to_string()))
        })
        .await
    }

    async fn node_names(&self, ids: &[NodeId], newest: u32) -> Result<Vec<(NodeId, NodeName)>, StoreError> {
        self.at_once(|table, _| {
            let mut all: Vec<&Node> = table.nodes.iter().collect();
            all.sort_by_key(|node| std::cmp::Reverse(node.id));
            let live = all.iter().filter(|node| node.status != NodeStatus::Decommissioned);
            let of_newest: Vec<NodeId> = live.take(newest as usize).map(|node| node.id).collect();
            let wanted = all
                .iter()
                .filter(|node| ids.contains(&node.id) || of_newest.contains(&node.id));
            Ok(wanted.map(|node| (node.id, node.name.clone())).collect())
        })
        .await
    }

    async fn node_briefs(&self, ids: &[NodeId]) -> Result<Vec<NodeBrief>, StoreError> {
        self.at_once(|table, _| {
            let wanted = table
                .nodes
                .iter()
                .filter(|node| node.is_ready() || ids.contains(&node.id));
            let mut briefs: Vec<NodeBrief> = wanted
                .map(|node| NodeBrief {
                    id: node.id,
                    name: node.name.clone(),
                    status: node.status,
                    is_ready: node.is_ready(),
                })
                .collect();
            briefs.sort_by_key(|brief| std::cmp::Reverse(brief.id));
            Ok(briefs)
        })
        .await
    }

    async fn idle_nodes(&self, host_id: &str, statuses: &[NodeStatus]) -> Result<Vec<Node>, StoreError> {
        self.at_once(|table, _| {
            let idle = table.nodes.iter().filter(|node| {
                node.host_id == host_id && statuses.contains(&node.status) && self.jobs.open_job_of(node.id).is_none()
            });
            Ok(idle.cloned().collect())
        })
        .await
    }

    async fn counts(&self) -> Result<NodeCounts, StoreError> {
        self.at_once(|table, _| {
            let count =
                |wanted: fn(NodeStatus) -> bool| table.nodes.iter().filter(|node| wanted(node.status)).count() as u64;
            Ok(NodeCounts {
                active: count(|status| status == NodeStatus::Active),
                live: count(|status| status != NodeStatus::Decommissioned),
            })
        })
        .await
    }

    async fn enqueue(
        &self,
        id: NodeId,
        version: i64,
        status: NodeStatus,
        job: NewJob,
        cancel_waiting: bool,
    ) -> Result<Node, StoreError> {
        self.at_once(|table, now| {
            table.node(id)?;
            if table.refusing.contains(&id) {
                return Err(StoreError::Backend("the node's jobs are refused".into()));
            }
            if status == NodeStatus::Decommissioning
                && let Some(environments) = table.environments.get(&id).copied()
                && environments > 0
            {
                return Err(StoreError::NodeInUse { environments });
            }
            let open = self.jobs.open_job_of(id);
            let in_the_way = |open: &&Job| !(cancel_waiting && open.status == JobStatus::Queued);
            if let Some(open) = open.as_ref().filter(in_the_way) {
                return Err(StoreError::NodeBusy { job_id: open.id });
            }
            let node = table.at_version(id, version)?;
            moved(node, status)?;
            touched(node, now);
            if let Some(waiting) = open {
                self.jobs.cancel_waiting(waiting.id);
            }
            self.jobs.enqueue(job);
            Ok(node.clone())
        })
        .await
    }

    async fn pin_host_key(
        &self,
        id: NodeId,
        version: i64,
        pin: HostKeyPin,
        _by: Option<AccountId>,
    ) -> Result<Node, StoreError> {
        self.at_once(|table, now| {
            table.node(id)?;
            if let Some(open) = self.jobs.open_job_of(id) {
                return Err(StoreError::NodeBusy { job_id: open.id });
            }
            table.at_version(id, version)?;
            check_host_key(table.others(id), &pin.host_key)?;
            let node = table.node(id)?;
            node.pin(pin);
            touched(node, now);
            Ok(node.clone())
        })
        .await
    }

    async fn change_in_job(&self, claim: &Claim, id: NodeId, change: NodeChange) -> Result<Node, StoreError> {
        self.at_once(|table, now| {
            self.jobs.check_claim(claim)?;
            if table.node(id)?.remote.is_some()
                && let Some(target) = &change.target
            {
                check_addresses(table.others(id), &target.served_from())?;
                check_host_key(table.others(id), &target.host_key)?;
            }
            let node = table.node(id)?;
            changed(node, change, now)?;
            Ok(node.clone())
        })
        .await
    }

    async fn settle_job(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        id: NodeId,
        change: NodeChange,
    ) -> Result<(), StoreError> {
        self.at_once(|table, now| {
            self.jobs.check_claim(claim)?;
            changed(table.node(id)?, change, now)?;
            self.jobs.finish_now(claim, outcome)
        })
        .await
    }

    async fn record_probe(&self, id: NodeId, version: i64, record: ProbeRecord) -> Result<Node, StoreError> {
        self.at_once(|table, now| {
            table.node(id)?;
            if let Some(open) = self.jobs.open_job_of(id) {
                return Err(StoreError::NodeBusy { job_id: open.id });
            }
            let node = table.at_version(id, version)?;
            moved(node, record.status)?;
            node.readiness = Some(record.readiness);
            node.probe_failures = record.probe_failures;
            if record.seen_at.is_some() {
                node.last_seen_at = record.seen_at;
            }
            touched(node, now);
            Ok(node.clone())
        })
        .await
    }
}
