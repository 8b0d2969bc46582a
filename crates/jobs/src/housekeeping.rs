//! What is thrown away: old jobs with their events, and whatever else only piles up.

use async_trait::async_trait;
use domain_kernel::Timestamp;

use crate::StoreError;

/// What may be thrown away now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneCut {
    /// Sessions that have ended by then.
    pub now: Timestamp,
    /// Jobs that ended before then, with their steps and events; events without a job and Idempotency-Keys from before
    /// then. Never a node's newest job of its own, nor the newest of a site that is there: it says how the node or the
    /// site came to be what it is.
    pub finished_before: Timestamp,
    /// Lines of the audit log from before then.
    pub audit_before: Timestamp,
    /// How many events there may be in all. Beyond it the oldest go, but none of a job that has not ended.
    pub max_events: u64,
    /// How many rows of a kind one call removes at most, so that no other writer waits for long.
    pub batch: u32,
}

/// How many rows were thrown away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Jobs, their steps not counted.
    pub jobs: u64,
    /// Events.
    pub events: u64,
    /// Sessions.
    pub sessions: u64,
    /// Idempotency-Keys.
    pub idempotency_keys: u64,
    /// Lines of the audit log.
    pub audit: u64,
    /// Whether there may be more: a batch was full.
    pub more: bool,
}

impl Pruned {
    /// Both together; whether there is more is what the later one says.
    pub fn and(self, later: Self) -> Self {
        Self {
            jobs: self.jobs + later.jobs,
            events: self.events + later.events,
            sessions: self.sessions + later.sessions,
            idempotency_keys: self.idempotency_keys + later.idempotency_keys,
            audit: self.audit + later.audit,
            more: later.more,
        }
    }

    /// Rows of all kinds.
    pub fn rows(&self) -> u64 {
        self.jobs + self.events + self.sessions + self.idempotency_keys + self.audit
    }
}

/// Throws away what is not wanted any more. Jobs that wait or run are never touched, nor are nodes.
#[async_trait]
pub trait Housekeeping: Send + Sync {
    /// Removes one batch of each kind, each in a transaction of its own. Call it again while there is more.
    async fn prune(&self, cut: &PruneCut) -> Result<Pruned, StoreError>;
}
