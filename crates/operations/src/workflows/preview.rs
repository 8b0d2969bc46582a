//! The proof of a preview: how a job's success is known.

use std::net::IpAddr;
use std::time::Duration;

use domain_kernel::{JobErrorCode, Secret, ShortId};
use jobs::{StepContext, StepError};
use nodes_domain::{Node, NodeTarget};
use sites_domain::{PreviewError, preview_url};

use super::SiteWork;

/// How long a preview has to prove itself: nginx and PHP may still be taking up what was written.
const PREVIEW_LIMIT: Duration = Duration::from_secs(20);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// The address that a node serves previews at, where it is known.
pub(crate) fn serving_address(target: &NodeTarget) -> Option<IpAddr> {
    target.public_ip.or_else(|| target.hostname.parse().ok())
}

/// Where an environment of a node is to answer; `None` while the node has no address.
pub(crate) fn wanted_preview(node: &Node, environment: &ShortId, domain: Option<&str>) -> Option<String> {
    let address = node.target.as_ref().and_then(serving_address)?;
    Some(preview_url(environment, address, domain))
}

impl SiteWork {
    /// Asks a preview for its proof until it gives it.
    ///
    /// # Errors
    /// `PREVIEW_UNREACHABLE` with what was met last, where it does not within 20 s.
    pub(super) async fn prove_preview(
        &self,
        url: &str,
        target: &NodeTarget,
        secret: &Secret,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let address = serving_address(target).ok_or_else(|| {
            StepError::failed(
                JobErrorCode::PreviewUnreachable,
                "The node has no address that previews are served at",
            )
        })?;
        let begin = context.now();
        loop {
            let limited = context.within(PREVIEW_LIMIT.saturating_sub(context.now().since(begin)));
            let error = match self.preview.prove(url, address, secret, &limited).await {
                Ok(()) => return Ok(()),
                Err(PreviewError::Stopped(reason)) => return Err(StepError::Stopped(reason)),
                Err(error) => error,
            };
            context.check()?;
            // A try without time would end as out of time, and hide what is wrong.
            if context.now().since(begin) + PAUSE >= PREVIEW_LIMIT {
                let detail = format!("{url}: {error}");
                return Err(StepError::failed(JobErrorCode::PreviewUnreachable, detail));
            }
            context.sleep(PAUSE).await?;
        }
    }
}
