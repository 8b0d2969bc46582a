//! How a request is refused: a stable code, a sentence, and nothing of the inside.

use std::error::Error as StdError;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use domain_kernel::ApiErrorCode;
use operations::UseCaseError;
use serde::Serialize;

/// The body of every error.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorBody {
    /// The code of the registry.
    pub code: ApiErrorCode,
    /// What happened, as a sentence for people.
    pub message: String,
    /// Values that a program may need; an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

/// An error on its way to the client. What caused it stays inside and goes to the log.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    body: ErrorBody,
    header: Option<(HeaderName, HeaderValue)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    /// An error with its code's status.
    pub fn new(code: ApiErrorCode, message: impl Into<String>) -> Self {
        let body = ErrorBody {
            code,
            message: message.into(),
            details: None,
        };
        Self(Box::new(Inner {
            status: StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body,
            header: None,
            source: None,
        }))
    }

    /// A request that is not valid.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ApiErrorCode::BadRequest, message)
    }

    /// A path or a thing that is not there.
    pub fn not_found(what: &str) -> Self {
        Self::new(ApiErrorCode::NotFound, format!("There is no such {what}."))
    }

    /// A path that is there, asked with a method that it does not have.
    pub fn method_not_allowed(allowed: &str) -> Self {
        let message = format!("This path is asked with another method: {allowed}.");
        let mut error = Self::new(ApiErrorCode::MethodNotAllowed, message);
        error.0.header = HeaderValue::from_str(allowed).ok().map(|value| (ALLOW, value));
        error
    }

    /// Something that the server cannot do at present (503): for the readiness of the server itself.
    pub fn unavailable(message: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(ApiErrorCode::Internal, message).caused_by(source);
        error.0.status = StatusCode::SERVICE_UNAVAILABLE;
        error
    }

    /// Adds what caused it, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds values for programs.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.0.body.details = Some(details);
        self
    }

    /// Its code.
    pub fn code(&self) -> ApiErrorCode {
        self.0.body.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.0.body.message
    }

    /// What caused it, outermost first, as one line for the log; `None` for the client's own mistakes.
    pub fn chain(&self) -> Option<String> {
        let mut next: Option<&(dyn StdError + 'static)> = Some(self.0.source.as_deref()?);
        let mut parts = Vec::new();
        while let Some(error) = next {
            parts.push(error.to_string());
            next = error.source();
        }
        Some(parts.join(": "))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.body.code, self.0.body.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status);
        if let Some(header) = self.0.header.clone() {
            response.insert_header(header);
        }
        response.json(&self.0.body)
    }
}

impl From<UseCaseError> for ApiError {
    fn from(error: UseCaseError) -> Self {
        let refusal = Self::new(error.code(), error.to_string());
        match error {
            UseCaseError::Internal(source) => refusal.caused_by(source),
            UseCaseError::TooManyRequests { retry_after_s } => {
                let mut refusal = refusal.with_details(serde_json::json!({"retry_after_s": retry_after_s}));
                refusal.0.header = Some((RETRY_AFTER, HeaderValue::from(retry_after_s)));
                refusal
            }
            UseCaseError::NodeNotReady { reasons, .. } => {
                let reasons = reasons.iter().map(
                    |guidance| serde_json::json!({"reason_code": guidance.reason_code, "message": guidance.message}),
                );
                refusal.with_details(serde_json::json!({"reasons": reasons.collect::<serde_json::Value>()}))
            }
            UseCaseError::NodeInUse { environments } => {
                refusal.with_details(serde_json::json!({"environments": environments}))
            }
            UseCaseError::Invalid(_)
            | UseCaseError::Unauthorized(_)
            | UseCaseError::NotFound(_)
            | UseCaseError::Conflict(_)
            | UseCaseError::NodeUnreachable(_)
            | UseCaseError::NoNodeAvailable
            | UseCaseError::EnvironmentNotActive(_)
            | UseCaseError::ResourceNotFailed(_)
            | UseCaseError::ResetValidationFailed(_)
            | UseCaseError::WpCliError(_)
            | UseCaseError::JobNotCancellable => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use nodes_domain::{Guidance, ReasonCode};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_log_gets_the_whole_chain_and_the_client_none_of_it() {
        let inner = std::io::Error::other("disk on fire");
        let store = jobs::StoreError::Backend(Box::new(inner));
        let error = ApiError::from(UseCaseError::from(store));
        assert_eq!(error.chain().as_deref(), Some("the database failed: disk on fire"));
        assert_eq!(error.status_code(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.to_string().contains("fire"));
    }

    #[test]
    fn too_many_requests_say_when_to_come_back() {
        let response = ApiError::from(UseCaseError::TooManyRequests { retry_after_s: 7 }).error_response();
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "7");
    }

    fn details(error: UseCaseError) -> (u16, ErrorBody) {
        let error = ApiError::from(error);
        (error.status_code().as_u16(), error.0.body)
    }

    #[test]
    fn a_node_that_is_not_ready_says_every_reason_and_what_to_do() {
        let reasons = [ReasonCode::SudoUnavailable, ReasonCode::RuntimeMissing].map(|reason_code| Guidance {
            reason_code,
            message: reason_code.guidance().to_owned(),
        });
        let text = "The node `first` is not ready for sites.".to_owned();
        let reasons = reasons.to_vec();
        let (status, body) = details(UseCaseError::NodeNotReady { text, reasons });
        assert_eq!((status, body.code), (409, ApiErrorCode::NodeNotReady));
        assert_eq!(body.message, "The node `first` is not ready for sites.");
        let expected = [ReasonCode::SudoUnavailable, ReasonCode::RuntimeMissing]
            .map(|reason| json!({"reason_code": reason.as_str(), "message": reason.guidance()}));
        assert_eq!(body.details, Some(json!({ "reasons": expected })));
    }

    #[test]
    fn a_node_in_use_says_how_many_environments_live_on_it() {
        let (status, body) = details(UseCaseError::NodeInUse { environments: 3 });
        assert_eq!((status, body.code), (409, ApiErrorCode::NodeInUse));
        assert_eq!(body.details, Some(json!({"environments": 3})));
        assert!(body.message.starts_with("3 environments"));
    }

    #[test]
    fn refusals_of_sites_have_their_codes_and_statuses_and_no_details() {
        let text = || "Why.".to_owned();
        for (error, status, code) in [
            (UseCaseError::NoNodeAvailable, 409, ApiErrorCode::NoNodeAvailable),
            (
                UseCaseError::EnvironmentNotActive(text()),
                409,
                ApiErrorCode::EnvironmentNotActive,
            ),
            (
                UseCaseError::ResourceNotFailed(text()),
                409,
                ApiErrorCode::ResourceNotFailed,
            ),
            (
                UseCaseError::ResetValidationFailed(text()),
                409,
                ApiErrorCode::ResetValidationFailed,
            ),
            (UseCaseError::WpCliError(text()), 502, ApiErrorCode::WpCliError),
            (
                UseCaseError::NodeUnreachable(text()),
                502,
                ApiErrorCode::NodeUnreachable,
            ),
        ] {
            let (met, body) = details(error);
            assert_eq!((met, body.code, body.details), (status, code, None));
        }
    }
}
