//! What can be said before a local node is asked for.

use nodes_domain::{AcquisitionSource, Capability};
use operations::ProviderStatus;
use serde::Serialize;

use super::text::{Piece, prose, sentence};

/// The provider of new local nodes.
#[derive(Serialize)]
pub(crate) struct LocalProvider {
    /// Its id; empty where the server has none.
    id: String,
    obstacle: Option<Obstacle>,
}

/// Why it cannot work on this host.
#[derive(Serialize)]
struct Obstacle {
    code: &'static str,
    reason: Vec<Piece>,
    remedy: Vec<Piece>,
}

impl LocalProvider {
    pub(crate) fn new(statuses: Vec<ProviderStatus>) -> Self {
        let local = statuses
            .into_iter()
            .find(|status| status.source == AcquisitionSource::Local);
        let Some(ProviderStatus { id, capability, .. }) = local else {
            return Self {
                id: String::new(),
                obstacle: Some(Obstacle {
                    code: "LOCAL_PROVIDER_UNAVAILABLE",
                    reason: prose("This server was built without the configured local provider."),
                    remedy: prose("Set `PRESSLUFT_LOCAL_PROVIDER` to one that it has, then restart Pressluft."),
                }),
            };
        };
        let obstacle = match capability {
            Capability::Available => None,
            Capability::Unavailable(missing) => Some(Obstacle {
                code: missing.code.as_str(),
                reason: prose(&sentence(&missing.reason)),
                remedy: prose(&sentence(&missing.remedy)),
            }),
        };
        Self {
            id: id.as_str().to_owned(),
            obstacle,
        }
    }
}
