//! Cancellation that any number of tasks can wait for, without a runtime.

use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::Shared;

use crate::Timestamp;

/// Why work was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// An operator asked for it: the work ends as cancelled.
    Cancelled,
    /// The worker's claim is no longer valid: another one may be at the same work.
    LeaseLost,
    /// The server is being stopped: the work goes on after the next start.
    Shutdown,
}

/// A cancel signal: cloned freely, given once, seen by all. The first reason stands.
#[derive(Clone)]
pub struct CancelToken {
    sender: Arc<Mutex<Option<oneshot::Sender<StopReason>>>>,
    receiver: Shared<oneshot::Receiver<StopReason>>,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self {
            sender: Arc::new(Mutex::new(Some(sender))),
            receiver: receiver.shared(),
        }
    }

    /// Tells everyone who holds this token to stop.
    pub fn cancel(&self, reason: StopReason) {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.take() {
            // The receiving half lives in `self`, so the signal always arrives.
            let _ = sender.send(reason);
        }
    }

    /// The reason, once there is one.
    pub fn reason(&self) -> Option<StopReason> {
        self.receiver.clone().now_or_never()?.ok()
    }

    /// Returns when the token is cancelled. A token that is dropped unheard never is.
    pub async fn cancelled(&self) -> StopReason {
        match self.receiver.clone().await {
            Ok(reason) => reason,
            // Unreachable while `self` holds the sender; waiting is the honest answer.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken").field("reason", &self.reason()).finish()
    }
}

/// What bounds a piece of work: a signal to stop and the moment by which it must be done.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Cancelled when the work should stop.
    pub cancel: CancelToken,
    /// The moment by which it must be done.
    pub deadline: Timestamp,
}

impl Limits {
    /// The same signal with a deadline no later than `deadline`.
    pub fn until(&self, deadline: Timestamp) -> Self {
        Self {
            cancel: self.cancel.clone(),
            deadline: self.deadline.min(deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_reaches_every_clone() {
        let token = CancelToken::new();
        let other = token.clone();
        assert_eq!(other.reason(), None);
        token.cancel(StopReason::LeaseLost);
        token.cancel(StopReason::Cancelled);
        assert_eq!(other.reason(), Some(StopReason::LeaseLost));
        assert_eq!(other.cancelled().now_or_never(), Some(StopReason::LeaseLost));
    }
}
