//! How a call fails: with text and a code.

use serde::{Deserialize, Serialize};

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) stderr: String,
}

impl Failure {
    /// What the daemon reports: exit 2.
    pub(crate) fn reported(command: &str, message: impl std::fmt::Display) -> Self {
        Self {
            code: 2,
            stderr: format!("{command} failed: {message}\n"),
        }
    }

    /// What the client itself refuses: exit 1.
    pub(crate) fn refused(message: impl std::fmt::Display) -> Self {
        Self {
            code: 1,
            stderr: format!("{message}\n"),
        }
    }
}
