//! How a command of Multipass's can fail, and what failure of a step that is.

use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::StepError;
use process_exec::Ended;

use crate::class::Class;
use crate::list::Garbled;

/// How a command failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The step was told to stop, or its own deadline passed.
    Step(StepError),
    /// There is no such program.
    NotInstalled(String),
    /// It could not be started or ended.
    Broken(String),
    /// It did not end within its limit and was ended.
    NoEnd { subcommand: &'static str, limit: Duration },
    /// It ended otherwise than with status 0.
    Failed {
        subcommand: &'static str,
        ended: Ended,
        class: Class,
    },
    /// It ended well and printed something else than it should.
    Garbled { subcommand: &'static str, error: Garbled },
}

impl Trouble {
    /// The class of its end, where it had one.
    pub(crate) fn class(&self) -> Option<Class> {
        match self {
            Self::Failed { class, .. } => Some(*class),
            _ => None,
        }
    }

    /// Whether it may pass when the same command, which changes nothing, is run again after a while.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::NoEnd { .. } | Self::Garbled { .. }) || self.class() == Some(Class::DaemonUnreachable)
    }

    /// The code of a failure of acquisition.
    pub(crate) fn code(&self) -> JobErrorCode {
        match self {
            Self::Step(_) | Self::Broken(_) => JobErrorCode::LocalAcquisitionFailed,
            Self::NotInstalled(_) => JobErrorCode::LocalProviderUnavailable,
            Self::NoEnd { subcommand, .. } => match *subcommand {
                "launch" | "start" | "restart" | "stop" | "exec" => JobErrorCode::LocalAcquisitionTimeout,
                _ => JobErrorCode::LocalProviderNotResponding,
            },
            Self::Failed { class, .. } => class.code(),
            Self::Garbled { .. } => JobErrorCode::LocalProviderNotResponding,
        }
    }

    /// What was met, as a sentence without its end. Nothing that a program printed stands in it.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Step(error) => error.to_string(),
            Self::NotInstalled(reason) | Self::Broken(reason) => reason.clone(),
            Self::NoEnd { subcommand, limit } => {
                format!("`multipass {subcommand}` did not end within {limit:?} and was ended")
            }
            Self::Failed {
                subcommand,
                ended,
                class,
            } => {
                let end = match ended {
                    Ended::Exit(status) => format!("with status {status}"),
                    Ended::Signal(signal) => format!("by signal {signal}"),
                };
                format!("`multipass {subcommand}` ended {end}: {}", class.says())
            }
            Self::Garbled { subcommand, error } => {
                format!("the output of `multipass {subcommand}` cannot be used: {error}")
            }
        }
    }

    /// The same as a sentence, followed by the next thing to do where that is known.
    pub(crate) fn told(&self) -> String {
        match self.class().and_then(Class::remedy) {
            Some(remedy) => format!("{}. Next: {remedy}.", self.reason()),
            None => format!("{}.", self.reason()),
        }
    }

    /// As the failure of a step, with the code of an acquisition.
    pub(crate) fn into_step(self) -> StepError {
        let code = self.code();
        self.into_step_as(code)
    }

    /// As the failure of a step, with a code of the caller's.
    pub(crate) fn into_step_as(self, code: JobErrorCode) -> StepError {
        match self {
            Self::Step(error) => error,
            other => StepError::failed(code, other.told()),
        }
    }
}

impl From<StepError> for Trouble {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}
