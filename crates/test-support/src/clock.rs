//! Clocks for tests.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{Clock, Timestamp};
use tokio::sync::watch;

/// A clock that stands still until a test moves it; sleepers wake when it has passed their moment.
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
    sleeps: Mutex<Vec<Duration>>,
}

impl ManualClock {
    /// A clock at 2030-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self {
            now: watch::Sender::new(Timestamp::from_micros(1_893_456_000_000_000)),
            sleeps: Mutex::new(Vec::new()),
        }
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.plus(by));
    }

    /// How long was slept, each time, in order.
    pub fn sleeps(&self) -> Vec<Duration> {
        self.sleeps.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        self.sleeps.lock().unwrap_or_else(|e| e.into_inner()).push(duration);
        let wake = self.now().plus(duration);
        let mut now = self.now.subscribe();
        // The sender lives in `self`, so the wait cannot end in an error.
        let _ = now.wait_for(|now| *now >= wake).await;
    }
}

/// The system's clock.
pub struct RealClock;

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
