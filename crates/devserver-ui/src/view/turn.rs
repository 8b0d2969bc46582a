//! What keeps a job that could be at work from it.

use domain_kernel::Timestamp;
use jobs::Job;
use operations::Turn;
use serde::Serialize;

use super::job::kind_name;
use super::when::Since;

/// What a job waits for.
#[derive(Serialize)]
pub(crate) struct TurnView {
    /// The job that works on the same thing.
    other: Option<Other>,
    /// Jobs that are at work, where it is a worker that it waits for.
    running: u64,
}

/// Another job.
#[derive(Serialize)]
struct Other {
    id: String,
    title: &'static str,
    /// What both work on: `site` or `node`.
    shares: &'static str,
    running_since: Option<Since>,
}

impl TurnView {
    pub(crate) fn new(job: &Job, turn: &Turn, now: Timestamp) -> Self {
        match turn {
            Turn::Worker { running } => Self {
                other: None,
                running: *running,
            },
            Turn::Job(other) => {
                let other = &other.job;
                let is_of_site = job.site_id.is_some() && job.site_id == other.site_id;
                let other = Other {
                    id: other.id.to_string(),
                    title: kind_name(other.kind),
                    shares: if is_of_site { "site" } else { "node" },
                    running_since: other.started_at.map(|begun| Since::new(begun, now)),
                };
                Self {
                    other: Some(other),
                    running: 0,
                }
            }
        }
    }
}
