//! Looks at every node that no job works on, again and again, and writes what it saw.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use jobs::{StepContext, StoreError};
use nodes_domain::{
    Node, NodeStatus, NodeStore, ProbeFacts, ProbeRecord, ProbeResult, ReadinessProbe, SshError, readiness,
};

/// Failed probes in a row before a node counts as unreachable.
const FAILURES: u32 = 3;

/// How many nodes are looked at at a time.
pub(crate) const AT_ONCE: usize = 4;

/// How long one look may take.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Probes nodes at an interval.
pub struct Reconciler {
    store: Arc<dyn NodeStore>,
    probe: Arc<dyn ReadinessProbe>,
    clock: Arc<dyn Clock>,
    host_id: String,
    interval: Duration,
}

impl Reconciler {
    /// A reconciler of this host's nodes.
    pub fn new(
        store: Arc<dyn NodeStore>,
        probe: Arc<dyn ReadinessProbe>,
        clock: Arc<dyn Clock>,
        host_id: String,
        interval: Duration,
    ) -> Self {
        Self {
            store,
            probe,
            clock,
            host_id,
            interval,
        }
    }

    /// Probes until told to stop.
    pub async fn run(&self, stop: CancelToken) {
        loop {
            let round = self.round();
            let stopped = stop.cancelled();
            futures_util::pin_mut!(round, stopped);
            match select(round, stopped).await {
                Either::Left((Ok(()), _)) => {}
                Either::Left((Err(error), _)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the nodes could not be looked at"
                    );
                }
                Either::Right(_) => return,
            }
            let pause = self.clock.sleep(self.interval);
            let stopped = stop.cancelled();
            futures_util::pin_mut!(stopped);
            if let Either::Right(_) = select(pause, stopped).await {
                return;
            }
        }
    }

    /// Looks at every idle node once.
    pub async fn round(&self) -> Result<(), StoreError> {
        let nodes = self.store.idle_nodes(&self.host_id, NodeStatus::PROBED).await?;
        futures_util::stream::iter(nodes)
            .for_each_concurrent(AT_ONCE, |node| async move {
                match self.look_at(&node).await {
                    Ok(()) => {}
                    // A job or a request was faster; what was seen is out of date.
                    Err(StoreError::VersionConflict(_) | StoreError::NodeBusy { .. }) => {}
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(node_id = %node.id, error, "what a probe saw could not be stored");
                    }
                }
            })
            .await;
        Ok(())
    }

    async fn look_at(&self, node: &Node) -> Result<(), StoreError> {
        let Some(target) = &node.target else { return Ok(()) };
        let context = StepContext::outside_job("probe", PROBE_LIMIT, Arc::clone(&self.clock));
        let facts = self.probe.probe(node.id, target, &context).await;
        let record = judge(node, &facts);
        if record.status != node.status {
            tracing::info!(node_id = %node.id, from = %node.status, to = %record.status, "a probe changed a node's status");
        }
        self.store
            .record_probe(node.id, node.state_version, record)
            .await
            .map(|_| ())
    }
}

/// What a probe means for a node. Silence must repeat before it counts, because one slow answer is no outage; a rejected
/// key or a changed host key is an answer and counts at once; one login brings the node back.
pub(crate) fn judge(node: &Node, facts: &ProbeFacts) -> ProbeRecord {
    let seen = |status| readiness(node, status, Some(facts), facts.checked_at);
    match &facts.result {
        ProbeResult::LoggedIn { .. } => ProbeRecord {
            status: NodeStatus::Active,
            readiness: seen(NodeStatus::Active),
            probe_failures: 0,
            seen_at: Some(facts.checked_at),
        },
        ProbeResult::NoLogin(SshError::AuthRejected | SshError::HostKeyMismatch) => ProbeRecord {
            status: NodeStatus::Unreachable,
            readiness: seen(NodeStatus::Unreachable),
            probe_failures: node.probe_failures,
            seen_at: None,
        },
        ProbeResult::NoLogin(
            SshError::Refused
            | SshError::Unreachable(_)
            | SshError::TimedOut(_)
            | SshError::Stopped(_)
            | SshError::Other(_),
        ) => {
            let probe_failures = node.probe_failures.saturating_add(1);
            let gone = probe_failures >= FAILURES || node.status == NodeStatus::Unreachable;
            let kept = node.readiness.clone().filter(|_| !gone);
            let status = if gone { NodeStatus::Unreachable } else { node.status };
            ProbeRecord {
                status,
                readiness: kept.unwrap_or_else(|| seen(status)),
                probe_failures,
                seen_at: None,
            }
        }
    }
}
