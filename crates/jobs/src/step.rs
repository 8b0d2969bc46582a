//! Steps of a job, and how one can end.

use std::fmt;

use domain_kernel::{JobErrorCode, StopReason, Timestamp};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::text_enum;

text_enum!(
    /// Where a step stands.
    StepStatus {
        /// At work, or interrupted by the death of its worker.
        Started = "started",
        /// Done.
        Succeeded = "succeeded",
        /// Ended in a failure.
        Failed = "failed",
        /// Waits for something outside; it is tried again later without an attempt being counted.
        Parked = "parked",
        /// Ended because an operator asked for it.
        Cancelled = "cancelled",
    }
);

/// A step as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Its name, unique in its workflow.
    pub name: String,
    /// Where it stands.
    pub status: StepStatus,
    /// The job's attempt that it last ran in.
    pub attempt: u32,
    /// When it was last started; one that goes on after a park was started before it.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// A line for the operator: what it found, or what it waits for.
    pub detail: Option<String>,
}

/// A failure with its stable code. `detail` is shown to operators: never put a secret or raw output into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The code of the registry.
    pub code: JobErrorCode,
    /// What was met, in a sentence of its own.
    pub detail: String,
}

impl Failure {
    /// A failure.
    pub fn new(code: JobErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// The text for the operator: the code's sentence, what was met, and the next thing to do.
    pub fn message(&self) -> String {
        let detail = self.detail.trim();
        let stop = if detail.is_empty() || detail.ends_with(['.', '!', '?']) {
            ""
        } else {
            "."
        };
        let gap = if detail.is_empty() { "" } else { " " };
        format!("{}{gap}{detail}{stop} {}", self.code.summary(), self.code.remedy())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It failed. Whether it is tried again follows from the code.
    #[error("{0}")]
    Failed(Failure),
    /// It was told to stop and has stopped.
    #[error("stopped: {0:?}")]
    Stopped(StopReason),
    /// It did not end by its deadline and has stopped.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// It waits for something outside: put the job back until `run_after`, without counting an attempt.
    #[error("parked: {detail}")]
    Parked {
        /// When to look again.
        run_after: Timestamp,
        /// What it waits for, for the operator.
        detail: String,
    },
    /// What it found could not be stored.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl StepError {
    /// A failure with a code.
    pub fn failed(code: JobErrorCode, detail: impl Into<String>) -> Self {
        Self::Failed(Failure::new(code, detail))
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_what_happened_what_was_met_and_what_to_do() {
        let failure = Failure::new(JobErrorCode::LocalProviderUnavailable, "`multipass` is not on the PATH");
        assert_eq!(
            failure.message(),
            "The local provider cannot run on this host. `multipass` is not on the PATH. Run `pressluft doctor`: it \
             names what is missing and the command that installs it."
        );
    }
}
