//! A job in a word or two, to be linked to.

use jobs::JobView;
use serde::Serialize;

use super::job::{is_parked, status_words, title};

/// The link.
#[derive(Serialize)]
pub(crate) struct JobLink {
    id: String,
    title: &'static str,
    status_words: &'static str,
}

impl JobLink {
    pub(crate) fn new(view: &JobView) -> Self {
        let JobView { job, steps } = view;
        Self {
            id: job.id.to_string(),
            title: title(job.kind),
            status_words: status_words(job, is_parked(job, steps)),
        }
    }
}
