//! Why a process could not be run to its end.

use domain_kernel::StopReason;

use crate::Output;

/// Why a process could not be run to its end. An exit status other than 0 is no error here: see [`Output`].
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no such program on the PATH.
    #[error("`{program}` is not installed (not found on {path})")]
    NotFound {
        /// The program.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// The system did not start or watch it.
    #[error("`{program}` could not be run")]
    System {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The deadline passed; the process and its descendants were ended.
    #[error("`{program}` did not end by its deadline")]
    TimedOut {
        /// The program.
        program: String,
        /// What it had printed.
        output: Output,
    },
    /// It was told to stop; the process and its descendants were ended.
    #[error("`{program}` was stopped: {reason:?}")]
    Stopped {
        /// The program.
        program: String,
        /// Why.
        reason: StopReason,
    },
    /// Some descendants could not be ended.
    #[error("processes of `{program}` could not be ended: {pids:?}")]
    Unkillable {
        /// The program.
        program: String,
        /// They.
        pids: Vec<u32>,
    },
}
