//! `node_provision`: acquire a machine, put Pressluft's key on it, wait for SSH, provision it, let its provider keep an
//! image of it, prove it ready.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, StopReason};
use jobs::{Claim, Failure, Job, JobKind, Outcome, Step, StepContext, StepError, StoreError, Workflow};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, KeptImage, ManagedKeys, Node, NodeChange, NodeProvisioner,
    NodeStatus, NodeStore, NodeTarget, ProbeResult, Readiness, ReadinessProbe, RemoteCommand, SshAccess, SshError,
    readiness,
};

use super::{claim_of, load, node_id, provider_of, target_of};
use crate::ProviderRegistry;

/// How long an acquired machine has to answer SSH.
const SSH_LIMIT: Duration = Duration::from_secs(120);

/// How long provisioning may take.
const PROVISION_LIMIT: Duration = Duration::from_secs(25 * 60);

/// How long a provisioned machine has to prove ready: its services may still be starting.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// The workflow.
#[derive(Clone)]
pub struct NodeProvision {
    /// Keeps nodes.
    pub store: Arc<dyn NodeStore>,
    /// Makes machines.
    pub registry: ProviderRegistry,
    /// Pressluft's key.
    pub keys: Arc<dyn ManagedKeys>,
    /// Commands over SSH.
    pub ssh: Arc<dyn SshAccess>,
    /// Provisions.
    pub provisioner: Arc<dyn NodeProvisioner>,
    /// Looks at machines.
    pub probe: Arc<dyn ReadinessProbe>,
}

#[async_trait]
impl Workflow for NodeProvision {
    fn kind(&self) -> JobKind {
        JobKind::NodeProvision
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        vec![
            Arc::new(Acquire(self.clone())),
            Arc::new(InjectKey(self.clone())),
            Arc::new(WaitForSsh(self.clone())),
            Arc::new(Provision(self.clone())),
            Arc::new(KeepImage(self.clone())),
            Arc::new(ProveReady(self.clone())),
        ]
    }

    /// A launch by Multipass may take half an hour where its image is downloaded, and provisioning nearly as long.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(60 * 60)
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        let change = match &outcome {
            Outcome::Succeeded => NodeChange::status(NodeStatus::Active),
            Outcome::Failed(_) | Outcome::Cancelled => NodeChange::status(NodeStatus::Failed),
            Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => NodeChange::default(),
        };
        let id = job.node_id.ok_or(StoreError::NotFound("node"))?;
        self.store.settle_job(claim, &outcome, id, change).await
    }
}

/// Makes or adopts the machine and pins its host key.
struct Acquire(NodeProvision);

#[async_trait]
impl Step for Acquire {
    fn name(&self) -> &'static str {
        "acquire"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let node = load(self.0.store.as_ref(), job).await?;
        let provider = provider_of(&self.0.registry, &node)?;
        match provider.capability(context).await {
            Ok(Capability::Available) => {}
            // It cannot tell just now; `acquire` has a patience of its own for that.
            Ok(Capability::Unavailable(missing)) if missing.code.retryable() => context.log(&missing.reason).await,
            Ok(Capability::Unavailable(missing)) => {
                let detail = format!("{} Next: {}", sentence(&missing.reason), missing.remedy);
                return Err(StepError::failed(missing.code, detail));
            }
            Err(error) => return Err(error),
        }
        let key = self.0.keys.key().await?;
        let request = AcquireRequest {
            instance: node.instance(),
            public_key: key.public_key,
            runtime: Some(self.0.provisioner.runtime_image().await?),
        };
        let acquired = provider.acquire(&request, context).await?;
        let place = place(&node, &acquired);
        if lost(&node, &acquired) {
            context
                .log(
                    "The machine that this node had is gone: a new, empty one was made in its place. What was on it is lost, \
                     unless there is a backup.",
                )
                .await;
        }
        let target = NodeTarget {
            hostname: acquired.hostname,
            public_ip: acquired.public_ip,
            ssh_port: acquired.ssh_port,
            ssh_user: acquired.ssh_user,
            ssh_private_key_path: key.private_key_path,
            host_key: acquired.host_key,
        };
        context.point("acquire.acquired").await;
        let change = NodeChange {
            target: Some(target),
            ..NodeChange::default()
        };
        let stored = self
            .0
            .store
            .change_in_job(&claim_of(job, context), node.id, change)
            .await;
        stored.map_err(|error| match error {
            // The name of a remote host turned out to mean another node's machine.
            StoreError::Duplicate(text) => StepError::failed(JobErrorCode::RemoteAddressRefused, text),
            error => error.into(),
        })?;
        context.detail(&place).await;
        Ok(())
    }
}

/// Whether a local machine is another one than the node had: a machine keeps its host key for as long as it exists.
fn lost(node: &Node, acquired: &Acquired) -> bool {
    let before = node.target.as_ref().filter(|_| node.source == AcquisitionSource::Local);
    before.is_some_and(|target| target.host_key != acquired.host_key)
}

/// Where a machine is, for the operator: of a remote one with the key that was pinned for it.
fn place(node: &Node, acquired: &Acquired) -> String {
    let fingerprint = acquired.host_key.fingerprint();
    match (&node.remote, fingerprint) {
        (Some(host), Some(fingerprint)) => {
            format!("{} port {}, host key {fingerprint}", acquired.hostname, host.ssh_port)
        }
        _ => format!("{} at {}", node.instance().name(), acquired.hostname),
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// Puts Pressluft's key on the machine over the provider's channel.
struct InjectKey(NodeProvision);

#[async_trait]
impl Step for InjectKey {
    fn name(&self) -> &'static str {
        "inject_key"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let node = load(self.0.store.as_ref(), job).await?;
        let provider = provider_of(&self.0.registry, &node)?;
        let key = self.0.keys.key().await?;
        provider.inject_key(&node.instance(), &key.public_key, context).await?;
        context.detail(&format!("key {}", key.fingerprint)).await;
        Ok(())
    }
}

/// Waits until the machine takes a login with the key.
struct WaitForSsh(NodeProvision);

#[async_trait]
impl Step for WaitForSsh {
    fn name(&self) -> &'static str {
        "wait_for_ssh"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let node = load(self.0.store.as_ref(), job).await?;
        let target = target_of(&node)?;
        let begin = context.now();
        let command = RemoteCommand::script("true", Duration::from_secs(10)).over_new_login();
        loop {
            let error = match self.0.ssh.run(node.id, target, &command, context).await {
                Ok(output) if output.exit_status == Some(0) => return Ok(()),
                Ok(output) => SshError::Other(format!("`true` ended with {:?}", output.exit_status)),
                Err(error) => error,
            };
            let code = match &error {
                SshError::AuthRejected => Some(JobErrorCode::SshAuthRejected),
                SshError::HostKeyMismatch => Some(JobErrorCode::SshHostKeyMismatch),
                SshError::Stopped(reason) => return Err(StepError::Stopped(*reason)),
                SshError::Refused | SshError::Unreachable(_) | SshError::TimedOut(_) | SshError::Other(_) => None,
            };
            if let Some(code) = code {
                return Err(StepError::failed(code, sentence(&error.to_string())));
            }
            if context.now().since(begin) >= SSH_LIMIT {
                let detail = format!("No login within {} s: {error}", SSH_LIMIT.as_secs());
                let code = match node.source {
                    AcquisitionSource::Local => JobErrorCode::LocalAcquisitionTimeout,
                    AcquisitionSource::Remote => JobErrorCode::RemoteHostUnreachable,
                };
                return Err(StepError::failed(code, detail));
            }
            context.sleep(PAUSE).await?;
        }
    }
}

/// Provisions the machine over SSH.
struct Provision(NodeProvision);

#[async_trait]
impl Step for Provision {
    fn name(&self) -> &'static str {
        "provision"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let node = load(self.0.store.as_ref(), job).await?;
        let target = target_of(&node)?;
        let limited = context.within(PROVISION_LIMIT);
        let summary = self.0.provisioner.provision(node.id, target, &limited).await?;
        context
            .detail(&format!("{} tasks ok, {} changed", summary.ok, summary.changed))
            .await;
        Ok(())
    }
}

/// Lets the provider keep an image of a machine that was just provisioned for the first time.
struct KeepImage(NodeProvision);

#[async_trait]
impl Step for KeepImage {
    fn name(&self) -> &'static str {
        "keep_image"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let node = load(self.0.store.as_ref(), job).await?;
        // A machine that was ever logged in to by a proof may have been active, and hold somebody's sites since.
        if node.last_seen_at.is_some() {
            context.detail("not a new machine").await;
            return Ok(());
        }
        let provider = provider_of(&self.0.registry, &node)?;
        let runtime = self.0.provisioner.runtime_image().await?;
        let kept = provider.keep_image(&node.instance(), &runtime, context).await?;
        // A machine that was stopped for it ended its connections itself; the proof that follows opens others.
        let detail = match kept {
            KeptImage::NotOffered => "this provider keeps none",
            KeptImage::Existing => "there is one already",
            KeptImage::Made => "kept for the next node",
            KeptImage::Failed => "none could be kept: the log says why",
        };
        context.detail(detail).await;
        Ok(())
    }
}

/// Proves over SSH that the machine is ready.
struct ProveReady(NodeProvision);

#[async_trait]
impl Step for ProveReady {
    fn name(&self) -> &'static str {
        "readiness"
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        let node = load(self.0.store.as_ref(), job).await?;
        let target = target_of(&node)?;
        let begin = context.now();
        loop {
            let facts = self.0.probe.probe(node.id, target, context).await;
            if let ProbeResult::NoLogin(SshError::Stopped(reason)) = &facts.result {
                return Err(stopped(*reason));
            }
            let seen = readiness(&node, NodeStatus::Active, Some(&facts), facts.checked_at);
            let late = context.now().since(begin) >= READY_LIMIT;
            if !seen.is_ready && !late {
                context.sleep(PAUSE).await?;
                continue;
            }
            let change = NodeChange {
                readiness: Some(seen.clone()),
                seen_at: matches!(facts.result, ProbeResult::LoggedIn { .. }).then_some(facts.checked_at),
                ..NodeChange::default()
            };
            self.0
                .store
                .change_in_job(&claim_of(job, context), node_id(job)?, change)
                .await?;
            return if seen.is_ready {
                Ok(())
            } else {
                Err(not_ready(&seen).into())
            };
        }
    }
}

fn stopped(reason: StopReason) -> StepError {
    StepError::Stopped(reason)
}

pub(super) fn not_ready(seen: &Readiness) -> Failure {
    let reasons: Vec<_> = seen
        .guidance
        .iter()
        .map(|entry| format!("{}: {}", entry.reason_code, entry.message))
        .collect();
    Failure::new(JobErrorCode::NodeNotReady, reasons.join(" "))
}
