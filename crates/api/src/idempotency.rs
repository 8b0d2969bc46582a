//! The Idempotency-Key of a request that creates.

use actix_web::HttpRequest;
use actix_web::web::Bytes;
use domain_kernel::AccountId;
use nodes_domain::Idempotency;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

/// The headers of a request that creates; read by [`IdempotencyKey`](crate::extract::IdempotencyKey).
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the OpenAPI document only")]
pub(crate) struct CreateHeaders {
    /// Visible ASCII characters. The same request with the same key is accepted once.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 200)]
    idempotency_key: Option<String>,
}

/// A key with the request that it came with.
pub(crate) fn idempotency(
    account_id: AccountId,
    key: Option<String>,
    request: &HttpRequest,
    body: &Bytes,
) -> Option<Idempotency> {
    key.map(|key| Idempotency {
        account_id,
        key,
        request_hash: request_hash(request, body),
    })
}

/// SHA-256 over method, path and body, hexadecimal. The parts cannot run into each other: neither a method nor a path
/// holds a line feed.
fn request_hash(request: &HttpRequest, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{}\n", request.method(), request.path()));
    hash.update(body);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
