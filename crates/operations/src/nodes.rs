//! Asking for nodes, looking at them, giving them back. Nothing here touches a machine but the readiness check, which
//! has a hard limit; everything else is accepted here and done by a job.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{AccountId, Clock, JobErrorCode, JobId, NodeId, Timestamp};
use futures_util::future::{Either, select};
use jobs::{Failure, JobKind, JobSignal, NewJob, Page, PageRequest, StepContext, StepError, StoreError};
use nodes_domain::{
    AcquisitionSource, Capability, CreatedNode, Idempotency, ManagedKey, ManagedKeys, NewNode, Node, NodeName,
    NodeStatus, NodeStore, NodeTarget, ProbeFacts, ProbeResult, ProviderId, Readiness, ReadinessProbe, ReasonCode,
    SshError, Unavailable, readiness,
};

use crate::reconciler::judge;
use crate::{ProviderRegistry, UseCaseError};

/// The hard limit of a readiness check on request.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// The limit of a look at what a provider can do.
const CAPABILITY_LIMIT: Duration = Duration::from_secs(10);

/// What the use cases of nodes work with.
#[derive(Clone)]
pub struct NodeDeps {
    /// Keeps nodes.
    pub store: Arc<dyn NodeStore>,
    /// Makes machines.
    pub registry: ProviderRegistry,
    /// Pressluft's key.
    pub keys: Arc<dyn ManagedKeys>,
    /// Looks at machines.
    pub probe: Arc<dyn ReadinessProbe>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Wakes the worker.
    pub signal: Arc<dyn JobSignal>,
    /// This control-plane host.
    pub host_id: String,
    /// How many attempts a job has.
    pub max_attempts: u32,
}

/// A request for a local node.
#[derive(Debug, Clone)]
pub struct CreateLocalNode {
    /// Its name, if the operator gave one.
    pub name: Option<NodeName>,
}

/// A job that was accepted for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeJob {
    /// The job.
    pub job_id: JobId,
    /// The node.
    pub node_id: NodeId,
}

/// What a provider can do on this host.
#[derive(Debug, Clone)]
pub struct ProviderStatus {
    /// The provider.
    pub id: ProviderId,
    /// The source that it serves.
    pub source: AcquisitionSource,
    /// Whether it can work here.
    pub capability: Capability,
}

/// The use cases of nodes.
pub struct NodesService {
    pub(crate) deps: NodeDeps,
}

impl NodesService {
    /// The use cases over these adapters.
    pub fn new(deps: NodeDeps) -> Self {
        Self { deps }
    }

    /// Accepts a local node: the node and its job are written, nothing else happens here. Whether the provider can work
    /// is found out by the job. `by` is who asks, `None` for the system itself.
    pub async fn create_local(
        &self,
        request: CreateLocalNode,
        idempotency: Option<Idempotency>,
        by: Option<AccountId>,
    ) -> Result<CreatedNode, UseCaseError> {
        let provider = self.deps.registry.for_new(AcquisitionSource::Local).ok_or_else(|| {
            UseCaseError::Invalid("This server was built without the configured local provider.".to_owned())
        })?;
        let id = NodeId::generate();
        let node = NewNode {
            id,
            name: request.name.unwrap_or_else(|| NodeName::default_for(id)),
            source: AcquisitionSource::Local,
            provider: provider.id(),
            host_id: self.deps.host_id.clone(),
        };
        let job = NewJob::on_node(JobKind::NodeProvision, id, self.deps.max_attempts).requested_by(by);
        let created = self.deps.store.create(node, job, idempotency).await?;
        self.deps.signal.wake();
        Ok(created)
    }

    /// One node.
    pub async fn get(&self, id: NodeId) -> Result<Node, UseCaseError> {
        self.deps.store.node(id).await?.ok_or(UseCaseError::NotFound("node"))
    }

    /// Nodes, newest first.
    pub async fn list(&self, include_decommissioned: bool, page: &PageRequest) -> Result<Page<Node>, UseCaseError> {
        Ok(self.deps.store.nodes(include_decommissioned, page).await?)
    }

    /// Accepts that a node is provisioned again, from whatever state it is in.
    pub async fn provision(&self, id: NodeId, by: Option<AccountId>) -> Result<NodeJob, UseCaseError> {
        self.provision_as_seen(&self.get(id).await?, by).await
    }

    /// The same, refused where the node changed since it was read.
    pub(crate) async fn provision_as_seen(&self, node: &Node, by: Option<AccountId>) -> Result<NodeJob, UseCaseError> {
        if !NodeStatus::PROVISIONABLE.contains(&node.status) {
            return Err(UseCaseError::Conflict(format!(
                "The node is {}; it cannot be provisioned.",
                node.status
            )));
        }
        self.enqueue(node, NodeStatus::Provisioning, JobKind::NodeProvision, false, by)
            .await
    }

    /// Accepts that a node is given back. A job of it that only waits is cancelled; one that runs is a conflict.
    pub async fn delete(&self, id: NodeId, by: Option<AccountId>) -> Result<NodeJob, UseCaseError> {
        self.delete_as_seen(&self.get(id).await?, by).await
    }

    /// The same, refused where the node changed since it was read.
    pub(crate) async fn delete_as_seen(&self, node: &Node, by: Option<AccountId>) -> Result<NodeJob, UseCaseError> {
        if node.status == NodeStatus::Decommissioned {
            return Err(UseCaseError::Conflict("The node is decommissioned already.".to_owned()));
        }
        self.enqueue(node, NodeStatus::Decommissioning, JobKind::NodeDecommission, true, by)
            .await
    }

    async fn enqueue(
        &self,
        node: &Node,
        status: NodeStatus,
        kind: JobKind,
        cancel_waiting: bool,
        by: Option<AccountId>,
    ) -> Result<NodeJob, UseCaseError> {
        let job = NewJob::on_node(kind, node.id, self.deps.max_attempts).requested_by(by);
        let job_id = job.id;
        self.deps
            .store
            .enqueue(node.id, node.state_version, status, job, cancel_waiting)
            .await?;
        self.deps.signal.wake();
        Ok(NodeJob {
            job_id,
            node_id: node.id,
        })
    }

    /// Looks at the node's machine now, within 10 s, and stores what it saw unless a job is at work on the node.
    pub async fn check_readiness(&self, id: NodeId) -> Result<Readiness, UseCaseError> {
        let node = self.get(id).await?;
        let clock = Arc::clone(&self.deps.clock);
        let context = StepContext::outside_job("readiness_check", CHECK_LIMIT, clock);
        let facts = match &node.target {
            Some(target) => Some(self.probe_within_limit(id, target, &context).await),
            None => None,
        };
        let seen = readiness(&node, node.status, facts.as_ref(), self.deps.clock.now());
        let Some(facts) = facts.filter(|_| NodeStatus::PROBED.contains(&node.status)) else {
            return Ok(seen);
        };
        match self
            .deps
            .store
            .record_probe(id, node.state_version, judge(&node, &facts))
            .await
        {
            Ok(node) => Ok(readiness(&node, node.status, Some(&facts), self.deps.clock.now())),
            // Somebody changed the node meanwhile: what was seen is still the answer, it is just not stored.
            Err(StoreError::VersionConflict(_) | StoreError::NodeBusy { .. }) => Ok(seen),
            Err(error) => Err(error.into()),
        }
    }

    /// Probes, and answers at the limit whatever the probe is still at: ending what it began may take longer than a
    /// request may.
    async fn probe_within_limit(&self, id: NodeId, target: &NodeTarget, context: &StepContext) -> ProbeFacts {
        let probe = self.deps.probe.probe(id, target, context);
        match select(probe, self.deps.clock.sleep(CHECK_LIMIT)).await {
            Either::Left((facts, _)) => facts,
            Either::Right(_) => ProbeFacts {
                result: ProbeResult::NoLogin(SshError::TimedOut(CHECK_LIMIT)),
                evidence: Vec::new(),
                checked_at: self.deps.clock.now(),
            },
        }
    }

    /// What each provider that makes new nodes can do on this host.
    pub async fn providers(&self) -> Result<Vec<ProviderStatus>, UseCaseError> {
        let mut statuses = Vec::new();
        for provider in self.deps.registry.in_use() {
            let clock = Arc::clone(&self.deps.clock);
            let context = StepContext::outside_job("capability", CAPABILITY_LIMIT, clock);
            let capability = match provider.capability(&context).await {
                Ok(capability) => capability,
                Err(StepError::Failed(failure)) => unavailable(failure),
                Err(StepError::DeadlineExceeded) => unavailable(Failure::new(
                    JobErrorCode::LocalProviderNotResponding,
                    format!("No answer within {} s", CAPABILITY_LIMIT.as_secs()),
                )),
                Err(error) => return Err(UseCaseError::Internal(Box::new(error))),
            };
            statuses.push(ProviderStatus {
                id: provider.id(),
                source: provider.source(),
                capability,
            });
        }
        Ok(statuses)
    }

    /// Pressluft's key, made on first use.
    pub async fn ssh_key(&self) -> Result<ManagedKey, UseCaseError> {
        Ok(self.deps.keys.key().await?)
    }
}

fn unavailable(failure: Failure) -> Capability {
    Capability::Unavailable(Unavailable {
        code: failure.code,
        reason: failure.detail,
        remedy: failure.code.remedy().to_owned(),
    })
}

/// A node's readiness as shown: what the last check saw, under the node's present status.
pub fn present_readiness(node: &Node, now: Timestamp) -> Readiness {
    let by_status = readiness(node, node.status, None, now);
    let Some(stored) = &node.readiness else {
        return by_status;
    };
    // What the last check made of the status of that time is replaced by what the present one means.
    let mut shown = stored.clone();
    shown.guidance.retain(|entry| {
        !by_status.reason_codes.contains(&entry.reason_code) && entry.reason_code != ReasonCode::NodeStatusNotActive
    });
    shown.guidance.splice(0..0, by_status.guidance);
    shown.reason_codes = shown.guidance.iter().map(|entry| entry.reason_code).collect();
    shown.is_ready = shown.reason_codes.is_empty();
    shown
}
