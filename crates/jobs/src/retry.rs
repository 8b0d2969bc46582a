//! When a failed attempt is followed by another.

use std::time::Duration;

/// The waits between attempts: one more attempt than waits. `PRESSLUFT_RETRY_DELAYS` sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    delays: Vec<Duration>,
}

impl RetryPolicy {
    /// A policy that waits `delays[0]` before the second attempt and so on.
    pub fn new(delays: Vec<Duration>) -> Self {
        Self { delays }
    }

    /// How many attempts there are in all.
    pub fn max_attempts(&self) -> u32 {
        u32::try_from(self.delays.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How long to wait after attempt number `attempt` (from 1) failed. A job that was accepted under a longer policy
    /// waits the last delay.
    pub fn delay_after(&self, attempt: u32) -> Duration {
        let index = attempt.saturating_sub(1) as usize;
        let delay = self.delays.get(index).or(self.delays.last());
        delay.copied().unwrap_or(Duration::from_secs(60))
    }
}

impl Default for RetryPolicy {
    /// Three attempts, after 60 s and after 5 minutes.
    fn default() -> Self {
        Self::new(vec![Duration::from_secs(60), Duration::from_secs(300)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_three_attempts_after_a_minute_and_after_five() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.max_attempts(), 3);
        assert_eq!(policy.delay_after(1), Duration::from_secs(60));
        assert_eq!(policy.delay_after(2), Duration::from_secs(300));
        assert_eq!(RetryPolicy::new(vec![]).max_attempts(), 1);
    }
}
