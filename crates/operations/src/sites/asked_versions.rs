//! Which environments were asked for their version lately: asking costs a command on the node, and a page has many of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain_kernel::{EnvironmentId, Timestamp};
use sites_domain::Environment;

use super::SitesService;

/// For how long an answer is good enough for a page.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// An answer: when it was given, and for which version of the environment's record. Whatever happens to an environment moves
/// that on, so a restored one is asked anew.
struct Answer {
    at: Timestamp,
    state_version: i64,
}

/// The answers since the start of this process.
#[derive(Default)]
pub(super) struct AskedVersions(Mutex<HashMap<EnvironmentId, Answer>>);

impl AskedVersions {
    pub(super) fn note(&self, id: EnvironmentId, state_version: i64, at: Timestamp) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, answer| at.since(answer.at) < GOOD_FOR);
        answers.insert(id, Answer { at, state_version });
    }
}

impl SitesService {
    /// Whether the stored version of an environment's WordPress is the answer of its node to this process within the last 10
    /// minutes, with nothing done to the environment since.
    pub fn was_version_asked(&self, environment: &Environment) -> bool {
        let now = self.deps.clock.now();
        let answers = self.asked_versions.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .get(&environment.id)
            .is_some_and(|answer| answer.state_version == environment.state_version && now.since(answer.at) < GOOD_FOR)
    }
}
