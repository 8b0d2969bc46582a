//! Launches whose client ended before them, as where a job was cancelled: the daemon may go on, and the list shows nothing
//! of a machine that is still being prepared. A release that forgot them would leave that machine for ever.
//!
//! This only ever makes a release look for longer. Which machine is meant does not depend on it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain_kernel::Timestamp;

/// Names of machines, and when the client of their launch ended.
#[derive(Default)]
pub(crate) struct Unfinished(Mutex<HashMap<String, Timestamp>>);

impl Unfinished {
    pub(crate) fn note(&self, name: &str, now: Timestamp) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), now);
    }

    /// The machine was seen, or its launch has ended.
    pub(crate) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether a machine may still appear: until `limit` after the end of its launch's client.
    pub(crate) fn may_appear(&self, name: &str, now: Timestamp, limit: Duration) -> bool {
        let mut launches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        launches.retain(|_, ended| now.since(*ended) < limit);
        launches.contains_key(name)
    }
}
