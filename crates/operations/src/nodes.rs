//! Asking for nodes, looking at them, giving them back. Nothing here touches a machine but the readiness check, which
//! has a hard limit; everything else is accepted here and done by a job.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{AccountId, Clock, JobErrorCode, JobId, NodeId, Timestamp};
use futures_util::future::{Either, select};
use jobs::{Failure, JobKind, JobSignal, NewJob, Page, PageRequest, StepContext, StepError, StoreError};
use nodes_domain::{
    AcquisitionSource, Capability, CreatedNode, Fingerprint, HostKey, HostKeyPin, HostKeyScan, Idempotency, ManagedKey,
    ManagedKeys, NewNode, Node, NodeBrief, NodeFilter, NodeName, NodeStatus, NodeStore, NodeTarget, OwnHost,
    ProbeFacts, ProbeResult, ProviderId, Readiness, ReadinessProbe, ReasonCode, RemoteHost, SshError, Unavailable,
    readiness, refused_address,
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
    /// Reads the host keys of remote machines.
    pub host_keys: Arc<dyn HostKeyScan>,
    /// What this host knows of itself.
    pub own_host: Arc<dyn OwnHost>,
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

/// A request for a remote node.
#[derive(Debug, Clone)]
pub struct CreateRemoteNode {
    /// Its name, if the operator gave one.
    pub name: Option<NodeName>,
    /// The operator's host.
    pub host: RemoteHost,
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
        self.create(AcquisitionSource::Local, request.name, None, idempotency, by)
            .await
    }

    /// Accepts a remote node: the node and its job are written, nothing else happens here. Whether the host can be reached
    /// is found out by the job. `by` is who asks.
    ///
    /// # Errors
    /// The host is this one, as far as its text says so; a live node is at it already.
    pub async fn create_remote(
        &self,
        request: CreateRemoteNode,
        idempotency: Option<Idempotency>,
        by: Option<AccountId>,
    ) -> Result<CreatedNode, UseCaseError> {
        check_remote(self.deps.own_host.as_ref(), &request.host)?;
        let host = Some(request.host);
        self.create(AcquisitionSource::Remote, request.name, host, idempotency, by)
            .await
    }

    async fn create(
        &self,
        source: AcquisitionSource,
        name: Option<NodeName>,
        remote: Option<RemoteHost>,
        idempotency: Option<Idempotency>,
        by: Option<AccountId>,
    ) -> Result<CreatedNode, UseCaseError> {
        let provider = self.deps.registry.for_new(source).ok_or_else(|| {
            UseCaseError::Invalid(format!(
                "This server was built without a provider of {} nodes.",
                source.as_str()
            ))
        })?;
        let id = NodeId::generate();
        let node = NewNode {
            id,
            name: name.unwrap_or_else(|| NodeName::default_for(id)),
            source,
            provider: provider.id(),
            host_id: self.deps.host_id.clone(),
            remote,
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
    pub async fn list(&self, filter: &NodeFilter, page: &PageRequest) -> Result<Page<Node>, UseCaseError> {
        Ok(self.deps.store.nodes(filter, page).await?)
    }

    /// These nodes, and all that are active and were found ready; newest first.
    pub async fn briefs(&self, ids: &[NodeId]) -> Result<Vec<NodeBrief>, UseCaseError> {
        Ok(self.deps.store.node_briefs(ids).await?)
    }

    /// The names of these nodes, and of the `newest` newest that are not gone; newest first.
    pub async fn names(&self, ids: &[NodeId], newest: u32) -> Result<Vec<(NodeId, NodeName)>, UseCaseError> {
        Ok(self.deps.store.node_names(ids, newest).await?)
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

    /// Pins the host key that a remote node's machine shows and the operator knows by its fingerprint, within 10 s.
    ///
    /// # Errors
    /// The node is not remote, a job of it waits or runs, the machine does not answer, or shows no such key.
    pub async fn pin_host_key(
        &self,
        id: NodeId,
        fingerprint: Fingerprint,
        by: Option<AccountId>,
    ) -> Result<Node, UseCaseError> {
        let node = self.get(id).await?;
        let host = match &node.remote {
            Some(host) if node.status != NodeStatus::Decommissioned => host,
            Some(_) => return Err(UseCaseError::Conflict("The node is decommissioned.".to_owned())),
            None => {
                return Err(UseCaseError::Conflict(
                    "A local node's host key is read from its machine, not pinned by hand. Provision the node again."
                        .to_owned(),
                ));
            }
        };
        let shown = self.shown_host_keys(host, &fingerprint).await?;
        let found = shown
            .iter()
            .find(|key| key.fingerprint().as_ref() == Some(&fingerprint));
        let Some(host_key) = found.cloned() else {
            return Err(UseCaseError::Conflict(format!(
                "The machine shows other host keys: {}. Compare them with those of the machine's own console.",
                fingerprints(&shown)
            )));
        };
        let pin = HostKeyPin { host_key, fingerprint };
        Ok(self.deps.store.pin_host_key(id, node.state_version, pin, by).await?)
    }

    async fn shown_host_keys(&self, host: &RemoteHost, wanted: &Fingerprint) -> Result<Vec<HostKey>, UseCaseError> {
        let context = StepContext::outside_job("host_key", CHECK_LIMIT, Arc::clone(&self.deps.clock));
        let scan = self
            .deps
            .host_keys
            .scan(&host.hostname, host.ssh_port, Some(wanted), &context);
        let late = || UseCaseError::NodeUnreachable(format!("no answer within {} s.", CHECK_LIMIT.as_secs()));
        match select(scan, self.deps.clock.sleep(CHECK_LIMIT)).await {
            Either::Left((Ok(keys), _)) => Ok(keys),
            Either::Left((Err(StepError::Failed(failure)), _)) if failure.code.retryable() => {
                Err(UseCaseError::NodeUnreachable(failure.detail))
            }
            Either::Left((Err(StepError::Failed(failure)), _)) => Err(UseCaseError::Conflict(failure.message())),
            Either::Left((Err(StepError::DeadlineExceeded), _)) | Either::Right(_) => Err(late()),
            Either::Left((Err(error), _)) => Err(UseCaseError::Internal(Box::new(error))),
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

/// Refuses a host that is this one by its own text. What a name means is found out by the job.
fn check_remote(own: &dyn OwnHost, host: &RemoteHost) -> Result<(), UseCaseError> {
    let refused = |field: &str, value: &dyn std::fmt::Display, why: &str| {
        UseCaseError::Invalid(format!("`{field}`: {value} cannot be a node: {why}."))
    };
    let own_name = "it is a name of the control plane's own host";
    if host.hostname.is_localhost() || own.has_name(&host.hostname) {
        return Err(refused("hostname", &host.hostname, own_name));
    }
    if let Some(address) = host.hostname.address()
        && let Some(why) = refused_address(own, address)
    {
        return Err(refused("hostname", &address, why));
    }
    if let Some(address) = host.public_ip
        && let Some(why) = refused_address(own, address)
    {
        return Err(refused("public_ip", &address, why));
    }
    Ok(())
}

fn fingerprints(keys: &[HostKey]) -> String {
    let shown: Vec<_> = keys.iter().filter_map(HostKey::fingerprint).map(String::from).collect();
    shown.join(", ")
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
