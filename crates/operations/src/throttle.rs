//! Counts failed logins. Successes cost nothing and forget the failures before them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain_kernel::Timestamp;

/// How many failures are free within the window.
const FREE_FAILURES: usize = 5;

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// How many subjects are remembered; beyond that the oldest are forgotten.
const MAX_SUBJECTS: usize = 10_000;

/// Why a subject is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttled {
    /// How long it has to wait.
    pub(crate) wait: Duration,
    /// Whether this is the first refusal since the subject last had to wait: the one worth a line in the audit log.
    pub(crate) first: bool,
}

/// Counts by subject (for failed logins an address and where it is tried from) within a window.
pub(crate) struct LoginThrottle {
    free: usize,
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Default)]
struct Failures {
    times: Vec<Timestamp>,
    /// The oldest failure that counted when the subject was last refused for the first time.
    told: Option<Timestamp>,
}

impl Default for LoginThrottle {
    fn default() -> Self {
        Self::new(FREE_FAILURES)
    }
}

impl LoginThrottle {
    /// A throttle that lets `free` failures go within the window.
    pub(crate) fn new(free: usize) -> Self {
        Self {
            free,
            failures: Mutex::default(),
        }
    }

    /// Whether the subject has to wait.
    pub(crate) fn wait(&self, subject: &str, now: Timestamp) -> Option<Throttled> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Failures { times, told } = failures.get_mut(subject)?;
        let recent: Vec<_> = times.iter().copied().filter(|at| now.since(*at) < WINDOW).collect();
        let oldest = *recent.first()?;
        if recent.len() < self.free {
            return None;
        }
        // A refused try is no failure of its own, so the oldest one stays the same until it has left the window.
        let first = told.replace(oldest) != Some(oldest);
        Some(Throttled {
            wait: oldest.plus(WINDOW).since(now),
            first,
        })
    }

    pub(crate) fn failed(&self, subject: &str, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_SUBJECTS {
            failures.retain(|_, kept| kept.times.last().is_some_and(|at| now.since(*at) < WINDOW));
        }
        if failures.len() >= MAX_SUBJECTS {
            let oldest = failures
                .iter()
                .min_by_key(|(_, kept)| kept.times.last().copied())
                .map(|(key, _)| key.clone());
            failures.retain(|key, _| Some(key) != oldest.as_ref());
        }
        let times = &mut failures.entry(subject.to_owned()).or_default().times;
        times.retain(|at| now.since(*at) < WINDOW);
        times.push(now);
    }

    pub(crate) fn succeeded(&self, subject: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_are_free_and_the_window_ends_the_wait() {
        let throttle = LoginThrottle::default();
        let begin = Timestamp::from_micros(0);
        for n in 0..FREE_FAILURES {
            assert_eq!(throttle.wait("a", begin), None, "{n}");
            throttle.failed("a", begin);
        }
        let refused = |first| Some(Throttled { wait: WINDOW, first });
        assert_eq!(throttle.wait("a", begin), refused(true));
        assert_eq!(throttle.wait("a", begin), refused(false));
        assert_eq!(throttle.wait("b", begin), None);
        assert_eq!(throttle.wait("a", begin.plus(WINDOW)), None);
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let throttle = LoginThrottle::default();
        let now = Timestamp::from_micros(0);
        (0..9).for_each(|_| throttle.failed("a", now));
        throttle.succeeded("a");
        assert_eq!(throttle.wait("a", now), None);
    }
}
