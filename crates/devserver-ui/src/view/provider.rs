//! What can be said before a node of a source is asked for.

use nodes_domain::{AcquisitionSource, Capability};
use operations::ProviderStatus;
use serde::Serialize;

use super::text::{Piece, prose, sentence};
use crate::providers::Seen;

/// The provider of a source's new nodes.
#[derive(Serialize)]
pub(crate) struct SourceProvider {
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
    /// None where no provider is there that could have told one; nor a remedy then.
    code: Option<&'static str>,
    reason: Vec<Piece>,
    remedy: Vec<Piece>,
}

impl SourceProvider {
    pub(crate) fn new(source: AcquisitionSource, seen: &Seen) -> Self {
        match seen {
            Seen::Statuses(statuses) => match statuses.iter().find(|status| status.source == source) {
                Some(status) => Self::known(status),
                None => Self::missing(source),
            },
            Seen::Nothing => Self::unknown(
                "Pressluft is looking whether the provider can work.",
                "Reload the page to see what it found. A node that is asked for now finds out, and says why not.",
            ),
            Seen::Failed(why) => Self::unknown("Pressluft could not find out whether the provider can work.", why),
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

    fn missing(source: AcquisitionSource) -> Self {
        let obstacle = match source {
            AcquisitionSource::Local => Obstacle {
                code: Some("LOCAL_PROVIDER_UNAVAILABLE"),
                reason: prose("This server was built without the configured local provider."),
                remedy: prose("Set `PRESSLUFT_LOCAL_PROVIDER` to one that it has, then restart Pressluft."),
            },
            AcquisitionSource::Remote => Obstacle {
                code: None,
                reason: prose("This server was built without a provider of remote nodes."),
                remedy: Vec::new(),
            },
        };
        Self {
            id: String::new(),
            obstacle: Some(obstacle),
            unknown: None,
        }
    }

    fn known(status: &ProviderStatus) -> Self {
        let obstacle = match &status.capability {
            Capability::Available => None,
            Capability::Unavailable(missing) => Some(Obstacle {
                code: Some(missing.code.as_str()),
                reason: prose(&sentence(&missing.reason)),
                remedy: prose(&sentence(&missing.remedy)),
            }),
        };
        Self {
            id: status.id.as_str().to_owned(),
            obstacle,
            unknown: None,
        }
    }
}
