//! Throws away what has been kept long enough, again and again.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Clock};
use futures_util::future::{Either, select};
use jobs::{Housekeeping, PruneCut, Pruned, StoreError};

/// How long after the start the first round begins: a server that starts has better things to do.
const FIRST_AFTER: Duration = Duration::from_secs(30);

/// The pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The pause between two batches of a round, in which other writers have their turn.
const BREATH: Duration = Duration::from_millis(50);

/// How many rows of a kind are removed at a time.
const BATCH: u32 = 500;

/// How long the audit log is kept at least: whatever else was thrown away, who did what stays known for a year.
const AUDIT_AT_LEAST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// How long jobs are kept after their end, with their steps and events; the audit log as long, but at least a year.
    pub keep_for: Duration,
    /// How many events are kept in all.
    pub max_events: u64,
}

/// Throws away at an interval.
pub struct Housekeeper {
    store: Arc<dyn Housekeeping>,
    clock: Arc<dyn Clock>,
    policy: RetentionPolicy,
}

impl Housekeeper {
    /// A housekeeper of one store.
    pub fn new(store: Arc<dyn Housekeeping>, clock: Arc<dyn Clock>, policy: RetentionPolicy) -> Self {
        Self { store, clock, policy }
    }

    /// Keeps house until told to stop. What fails is tried again the next time.
    pub async fn run(&self, stop: CancelToken) {
        let work = async {
            self.clock.sleep(FIRST_AFTER).await;
            loop {
                match self.round().await {
                    Ok(pruned) if pruned.rows() > 0 => tracing::info!(?pruned, "threw away what was kept long enough"),
                    Ok(_) => {}
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "what was kept long enough could not be thrown away");
                    }
                }
                self.clock.sleep(INTERVAL).await;
            }
        };
        let stopped = stop.cancelled();
        futures_util::pin_mut!(work, stopped);
        match select(work, stopped).await {
            Either::Left((never, _)) => never,
            // A batch that is under way is written whole or not at all.
            Either::Right(_) => {}
        }
    }

    /// Throws away everything that may go now, batch by batch.
    pub async fn round(&self) -> Result<Pruned, StoreError> {
        let now = self.clock.now();
        let cut = PruneCut {
            now,
            finished_before: now.minus(self.policy.keep_for),
            audit_before: now.minus(self.policy.keep_for.max(AUDIT_AT_LEAST)),
            max_events: self.policy.max_events,
            batch: BATCH,
        };
        let mut pruned = self.store.prune(&cut).await?;
        while pruned.more {
            self.clock.sleep(BREATH).await;
            pruned = pruned.and(self.store.prune(&cut).await?);
        }
        Ok(pruned)
    }
}
