//! The headers that every answer carries, and the one place where failed requests are logged.

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use actix_web::middleware::Next;

use crate::ApiError;

/// What is set where the handler has not set the same header itself.
const DEFAULTS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// The middleware; the outermost one, so that refusals of the others pass through it too.
pub async fn harden(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = next.call(request).await?.map_into_boxed_body();
    for (name, value) in DEFAULTS {
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    log(&response);
    Ok(response)
}

fn log(response: &ServiceResponse<BoxBody>) {
    let error = response
        .response()
        .error()
        .and_then(|error| error.as_error::<ApiError>());
    let Some((error, chain)) = error.and_then(|error| Some((error, error.chain()?))) else {
        return;
    };
    let request = response.request();
    tracing::error!(
        method = %request.method(),
        path = request.path(),
        code = %error.code(),
        error = chain,
        "a request failed"
    );
}
