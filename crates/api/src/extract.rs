//! Reads the parts of a request. Whatever is wrong with one becomes an [`ApiError`].

use std::fmt::Display;
use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest};
use domain_kernel::ApiErrorCode;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use http_session::ApiError;
use serde::de::DeserializeOwned;

/// The largest body, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How much of a refused body is still read, in bytes. A client that is cut off while it sends may never see the answer;
/// actix alone waits a second for such a client, however much it has to send.
const MAX_DRAINED: usize = 4 * 1024 * 1024;

/// A JSON body.
pub(crate) struct JsonBody<T> {
    /// What it says.
    pub(crate) value: T,
    /// Its bytes.
    pub(crate) raw: Bytes,
}

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let declared = declared_length(request);
        let is_json = is_json(request);
        let payload = payload.take();
        Box::pin(async move {
            if !is_json {
                drain(payload, 0).await;
                let code = ApiErrorCode::UnsupportedMediaType;
                return Err(ApiError::new(
                    code,
                    "The body must be JSON: send `Content-Type: application/json`.",
                ));
            }
            let raw = read(payload, declared).await?;
            let value = serde_json::from_slice(&raw)
                .map_err(|error| ApiError::bad_request(format!("The body is not valid: {error}.")))?;
            Ok(Self { value, raw })
        })
    }
}

/// No body, or an empty object, which some clients send with every POST.
pub(crate) struct NoBody;

impl FromRequest for NoBody {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let declared = declared_length(request);
        let payload = payload.take();
        Box::pin(async move {
            let raw = read(payload, declared).await?;
            let is_nothing = raw.trim_ascii().is_empty();
            let is_empty_object =
                || serde_json::from_slice(&raw).is_ok_and(|body: serde_json::Value| body == serde_json::json!({}));
            if is_nothing || is_empty_object() {
                Ok(Self)
            } else {
                Err(ApiError::bad_request("This request takes no body."))
            }
        })
    }
}

fn declared_length(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_json(request: &HttpRequest) -> bool {
    let Some(value) = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read(mut payload: Payload, declared: Option<usize>) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("The body is larger than {} KiB.", MAX_BODY / 1024);
        ApiError::new(ApiErrorCode::PayloadTooLarge, message).with_details(serde_json::json!({"limit_bytes": MAX_BODY}))
    };
    if declared.is_some_and(|length| length > MAX_BODY) {
        drain(payload, 0).await;
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("The body ended early."))?;
        if body.len() + chunk.len() > MAX_BODY {
            drain(payload, body.len() + chunk.len()).await;
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

async fn drain(mut payload: Payload, mut read: usize) {
    while read < MAX_DRAINED {
        match payload.next().await {
            Some(Ok(chunk)) => read += chunk.len(),
            // The client is gone or done: either way there is nothing left to read.
            Some(Err(_)) | None => return,
        }
    }
}

/// The query. Unknown names are refused.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parsed = actix_web::web::Query::<T>::from_query(request.query_string());
        ready(match parsed {
            Ok(query) => Ok(Self(query.into_inner())),
            Err(actix_web::error::QueryPayloadError::Deserialize(error)) => {
                Err(ApiError::bad_request(format!("The query is not valid: {error}.")))
            }
            Err(_) => Err(ApiError::bad_request("The query is not valid.")),
        })
    }
}

/// The id in the path. Text that is no id names nothing.
pub(crate) struct PathId<T>(pub(crate) T);

impl<T: FromStr> FromRequest for PathId<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("id").and_then(|text| text.parse().ok());
        let what = match request.path().split('/').nth(2) {
            Some("jobs") => "job",
            Some("sites") => "site",
            Some("environments") => "environment",
            Some("backups") => "backup",
            _ => "node",
        };
        ready(id.map(Self).ok_or_else(|| ApiError::not_found(what)))
    }
}

/// The `Idempotency-Key`, where there is one.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl FromRequest for IdempotencyKey {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut headers = request.headers().get_all("idempotency-key");
        let (first, second) = (headers.next(), headers.next());
        let Some(key) = first else {
            return ready(Ok(Self(None)));
        };
        let key = key.as_bytes();
        let is_good = (1..=200).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) && second.is_none();
        let text = std::str::from_utf8(key).ok().filter(|_| is_good);
        let refused = || ApiError::bad_request("One Idempotency-Key of 1 to 200 visible ASCII characters is taken.");
        ready(text.map(|text| Self(Some(text.to_owned()))).ok_or_else(refused))
    }
}

/// A field whose form its own type knows.
pub(crate) fn field<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|error| ApiError::bad_request(format!("`{name}`: {error}.")))
}
