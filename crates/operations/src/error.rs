//! How a use case can fail, without saying anything of HTTP.

use accounts_domain::{AccountStoreError, HashError, SecretBoxError};
use domain_kernel::ApiErrorCode;
use jobs::{Failure, StoreError};
use nodes_domain::Guidance;

/// Why a use case did not do as asked. The text of `Display` is for the client; sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum UseCaseError {
    /// The request is not valid.
    #[error("{0}")]
    Invalid(String),
    /// No valid session, or the wrong password.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// There is no such thing.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// The request does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// The machine does not answer a request that needs it.
    #[error("The machine does not answer: {0}")]
    NodeUnreachable(String),
    /// The node is not ready for sites.
    #[error("{text}")]
    NodeNotReady {
        /// What it was asked for, and that it is not ready.
        text: String,
        /// Why, and what to do about each.
        reasons: Vec<Guidance>,
    },
    /// Environments live on the node.
    #[error("{}", in_use(*environments))]
    NodeInUse {
        /// How many.
        environments: u64,
    },
    /// No node is ready.
    #[error("There is no ready node. Create one, wait until it is active, then repeat the request.")]
    NoNodeAvailable,
    /// The environment is not active.
    #[error("{0}")]
    EnvironmentNotActive(String),
    /// Only what is failed can be reset.
    #[error("{0}")]
    ResourceNotFailed(String),
    /// What was to be reset does not work.
    #[error("{0}")]
    ResetValidationFailed(String),
    /// WordPress did not answer on the node.
    #[error("WordPress did not answer on the node: {0}")]
    WpCliError(String),
    /// The job has ended.
    #[error("The job has ended already; there is nothing to cancel.")]
    JobNotCancellable,
    /// Too many failed logins.
    #[error("Too many failed logins. Try again in {retry_after_s} seconds.")]
    TooManyRequests {
        /// Seconds until the next try is looked at.
        retry_after_s: u64,
    },
    /// Something of Pressluft's own failed.
    #[error("Pressluft met an error of its own. The server's log says more.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl UseCaseError {
    /// The code of the registry.
    pub fn code(&self) -> ApiErrorCode {
        match self {
            Self::Invalid(_) => ApiErrorCode::BadRequest,
            Self::Unauthorized(_) => ApiErrorCode::Unauthorized,
            Self::NotFound(_) => ApiErrorCode::NotFound,
            Self::Conflict(_) => ApiErrorCode::Conflict,
            Self::NodeUnreachable(_) => ApiErrorCode::NodeUnreachable,
            Self::NodeNotReady { .. } => ApiErrorCode::NodeNotReady,
            Self::NodeInUse { .. } => ApiErrorCode::NodeInUse,
            Self::NoNodeAvailable => ApiErrorCode::NoNodeAvailable,
            Self::EnvironmentNotActive(_) => ApiErrorCode::EnvironmentNotActive,
            Self::ResourceNotFailed(_) => ApiErrorCode::ResourceNotFailed,
            Self::ResetValidationFailed(_) => ApiErrorCode::ResetValidationFailed,
            Self::WpCliError(_) => ApiErrorCode::WpCliError,
            Self::JobNotCancellable => ApiErrorCode::JobNotCancellable,
            Self::TooManyRequests { .. } => ApiErrorCode::TooManyRequests,
            Self::Internal(_) => ApiErrorCode::Internal,
        }
    }
}

fn in_use(environments: u64) -> String {
    match environments {
        1 => "1 environment lives on this node. Delete it or its site first.".to_owned(),
        more => format!("{more} environments live on this node. Delete them or their sites first."),
    }
}

impl From<StoreError> for UseCaseError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::VersionConflict(what) => Self::Conflict(format!(
                "The {what} changed meanwhile. Look at it again, then repeat the request."
            )),
            StoreError::NodeBusy { job_id } => Self::Conflict(format!(
                "Job {job_id} works on this node. Wait for its end or cancel it, then repeat the request."
            )),
            StoreError::NodeInUse { environments } => Self::NodeInUse { environments },
            StoreError::Duplicate(text) => Self::Conflict(text),
            StoreError::IdempotencyMismatch => Self::Conflict(
                "This Idempotency-Key was used for another request. Use a new key for a new request.".to_owned(),
            ),
            error @ (StoreError::LostLease | StoreError::Backend(_)) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<AccountStoreError> for UseCaseError {
    fn from(error: AccountStoreError) -> Self {
        match error {
            AccountStoreError::Duplicate => Self::Conflict("There is an account with that address.".to_owned()),
            error @ AccountStoreError::Backend(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<SecretBoxError> for UseCaseError {
    fn from(error: SecretBoxError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<HashError> for UseCaseError {
    fn from(error: HashError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<Failure> for UseCaseError {
    fn from(failure: Failure) -> Self {
        Self::Internal(failure.to_string().into())
    }
}
