//! What providers can do on this host, for pages that never wait for it: to find out starts programs of the host, which can
//! take far longer than to show a page.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{Clock, Timestamp};
use nodes_domain::{AcquisitionSource, Capability, Unavailable};
use operations::{NodesService, ProviderStatus};
use tokio::sync::watch;

/// For how long it is good to know what providers can do.
const KNOWN: Duration = Duration::from_secs(5);

/// How long a page waits for a look that is under way.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long a look may take: longer than the use case gives a provider, for one that does not keep to that.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// What a look at the providers saw.
#[derive(Clone)]
pub(crate) enum Seen {
    /// The first one goes on.
    Nothing,
    /// What each can do.
    Statuses(Vec<ProviderStatus>),
    /// It failed; why, as a sentence.
    Failed(String),
}

/// Looks at the providers in the background, once at a time.
#[derive(Clone)]
pub(crate) struct Providers {
    nodes: Arc<NodesService>,
    clock: Arc<dyn Clock>,
    looked: Arc<watch::Sender<Looked>>,
}

/// How the looking stands.
struct Looked {
    is_under_way: bool,
    seen: Seen,
    /// When the last look ended.
    ended: Option<Timestamp>,
}

impl Providers {
    pub(crate) fn new(nodes: Arc<NodesService>, clock: Arc<dyn Clock>) -> Self {
        let looked = Looked {
            is_under_way: false,
            seen: Seen::Nothing,
            ended: None,
        };
        Self {
            nodes,
            clock,
            looked: Arc::new(watch::Sender::new(looked)),
        }
    }

    /// What was seen a few seconds ago at the most, or the last time where the look that goes on takes longer than a page
    /// waits.
    pub(crate) async fn seen(&self) -> Seen {
        let now = self.clock.now();
        let begins = self.looked.send_if_modified(|looked| {
            let is_known = looked.ended.is_some_and(|at| now.since(at) < KNOWN);
            let begins = !looked.is_under_way && !is_known;
            looked.is_under_way |= begins;
            begins
        });
        if begins {
            // Not a part of this request: the look goes on when the client is gone.
            tokio::spawn(Look(self.clone()).run());
        }
        let mut looked = self.looked.subscribe();
        tokio::select! {
            _ = looked.wait_for(|looked| !looked.is_under_way) => {}
            () = self.clock.sleep(PATIENCE) => {}
        }
        self.looked.borrow().seen.clone()
    }

    /// Why new nodes of a source cannot be made on this host now, where that is known: what the page says before anything is
    /// sent, for a form that was sent nevertheless.
    pub(crate) async fn obstacle(&self, source: AcquisitionSource) -> Option<Unavailable> {
        let Seen::Statuses(statuses) = self.seen().await else {
            return None;
        };
        let status = statuses.into_iter().find(|status| status.source == source)?;
        match status.capability {
            Capability::Available => None,
            Capability::Unavailable(missing) => Some(missing),
        }
    }
}

/// The look that is under way. However it ends, the next one may begin.
struct Look(Providers);

impl Look {
    async fn run(self) {
        let Providers { nodes, clock, looked } = &self.0;
        let seen = tokio::select! {
            statuses = nodes.providers() => match statuses {
                Ok(statuses) => Seen::Statuses(statuses),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the providers could not be looked at");
                    Seen::Failed(error.to_string())
                }
            },
            () = clock.sleep(LOOK_LIMIT) => Seen::Failed(format!("No answer within {} s.", LOOK_LIMIT.as_secs())),
        };
        looked.send_modify(|looked| {
            looked.seen = seen;
            looked.ended = Some(clock.now());
        });
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.0.looked.send_modify(|looked| looked.is_under_way = false);
    }
}
