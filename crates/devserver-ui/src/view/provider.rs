//! What can be said before a local node is asked for.

use nodes_domain::{AcquisitionSource, Capability};
use operations::ProviderStatus;
use serde::Serialize;

use super::text::{Piece, prose, sentence};
use crate::providers::Seen;

/// The provider of new local nodes.
#[derive(Serialize)]
pub(crate) struct LocalProvider {
    /// Its id; empty where the server has none, or does not know yet.
    id: String,
    obstacle: Option<Obstacle>,
    /// Why it is not known whether it can work. A job finds out, so that nodes can be asked for meanwhile.
    unknown: Option<Unknown>,
}

/// Why it is not known.
#[derive(Serialize)]
struct Unknown {
    words: &'static str,
    detail: Vec<Piece>,
}

/// Why it cannot work on this host.
#[derive(Serialize)]
struct Obstacle {
    code: &'static str,
    reason: Vec<Piece>,
    remedy: Vec<Piece>,
}

impl LocalProvider {
    pub(crate) fn new(seen: Seen) -> Self {
        match seen {
            Seen::Statuses(statuses) => Self::known(statuses),
            Seen::Nothing => Self::unknown(
                "Pressluft is looking whether the provider can work.",
                "Reload the page to see what it found. A node that is asked for now finds out, and says why not.",
            ),
            Seen::Failed(why) => Self::unknown("Pressluft could not find out whether the provider can work.", &why),
        }
    }

    fn unknown(words: &'static str, detail: &str) -> Self {
        Self {
            id: String::new(),
            obstacle: None,
            unknown: Some(Unknown {
                words,
                detail: prose(detail),
            }),
        }
    }

    fn known(statuses: Vec<ProviderStatus>) -> Self {
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
                unknown: None,
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
            unknown: None,
        }
    }
}
