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

/// Failed logins by subject (an address and where it is tried from).
#[derive(Default)]
pub(crate) struct LoginThrottle {
    failures: Mutex<HashMap<String, Vec<Timestamp>>>,
}

impl LoginThrottle {
    /// How long the subject has to wait, if it has to.
    pub(crate) fn wait(&self, subject: &str, now: Timestamp) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let recent: Vec<_> = failures
            .get(subject)?
            .iter()
            .filter(|at| now.since(**at) < WINDOW)
            .collect();
        let oldest = recent.first()?;
        (recent.len() >= FREE_FAILURES).then(|| oldest.plus(WINDOW).since(now))
    }

    pub(crate) fn failed(&self, subject: &str, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_SUBJECTS {
            failures.retain(|_, times| times.last().is_some_and(|at| now.since(*at) < WINDOW));
        }
        if failures.len() >= MAX_SUBJECTS {
            let oldest = failures
                .iter()
                .min_by_key(|(_, times)| times.last().copied())
                .map(|(key, _)| key.clone());
            failures.retain(|key, _| Some(key) != oldest.as_ref());
        }
        let times = failures.entry(subject.to_owned()).or_default();
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
        assert_eq!(throttle.wait("a", begin), Some(WINDOW));
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
