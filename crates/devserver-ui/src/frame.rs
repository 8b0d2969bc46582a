//! What every page of an operator has around its content, and what keeps it true while it is open.

use domain_kernel::JobId;
use http_session::{ApiError, Operator};
use serde::Serialize;

use crate::UiState;

/// Which of the pages in the navigation a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Section {
    /// `/`
    Overview,
    /// `/nodes`
    Nodes,
    /// `/sites`
    Sites,
    /// `/jobs`
    Jobs,
}

/// The frame. `app.js` asks for `here` again when an event says that something changed, and takes over what differs.
#[derive(Serialize)]
pub(crate) struct Frame {
    operator: String,
    section: Section,
    /// Where a `GET` shows this page: it may be the answer to a form, at an address that serves no `GET`.
    here: String,
    /// The page tells everything up to this event.
    after: i64,
    now: String,
    /// The only job whose events are of interest, each of them; otherwise every job's, as far as they change a status or a
    /// step.
    job: Option<String>,
}

impl Frame {
    /// The frame of a page that a `GET` of `here` shows. Make it first: what happens while the page's content is read is
    /// told by the events after `after`.
    pub(crate) async fn new(
        ui: &UiState,
        operator: &Operator,
        section: Section,
        here: impl Into<String>,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            operator: operator.session.email.to_string(),
            section,
            here: here.into(),
            after: ui.jobs.last_seq().await?,
            now: ui.clock.now().to_string(),
            job: None,
        })
    }

    /// The same for a page about one job.
    pub(crate) fn following(self, job: JobId) -> Self {
        Self {
            job: Some(job.to_string()),
            ..self
        }
    }
}
