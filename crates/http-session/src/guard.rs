//! Refuses requests that were made for another host or, where they change something, by another origin's page.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use domain_kernel::ApiErrorCode;

use crate::{ApiError, Authority, HttpSettings};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The middleware. `Host` must be a name of this server, so that a name that an attacker points here (DNS rebinding)
/// gets nothing. What changes something must not come from a page of another origin; programs send neither `Origin` nor
/// `Sec-Fetch-Site`, and their absence is fine because a browser cannot leave both out.
pub async fn guard(
    settings: web::Data<HttpSettings>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match check(&settings, request.request()) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(error) => Ok(request.into_response(HttpResponse::from_error(error))),
    }
}

/// Whether a request was made on this host for this host: the peer is on loopback, it names the address that the server
/// listens on, and no proxy stands between. Trusted proxies are no exception: they speak for clients elsewhere.
pub fn came_from_this_host(settings: &HttpSettings, request: &HttpRequest) -> bool {
    let is_local_peer = request
        .peer_addr()
        .is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_proxied = [FORWARDED, VIA, X_FORWARDED_FOR, X_REAL_IP]
        .iter()
        .any(|name| request.headers().contains_key(name));
    is_local_peer && !is_proxied && named_host(request).is_some_and(|host| settings.is_bound_host(&host))
}

fn check(settings: &HttpSettings, request: &HttpRequest) -> Result<(), ApiError> {
    let refused = |message: &str| Err(ApiError::new(ApiErrorCode::Forbidden, message));
    let Some(host) = named_host(request).filter(|host| settings.is_own_host(host)) else {
        return refused(
            "The request is for another host. Ask under the address that Pressluft listens on, or set PRESSLUFT_PUBLIC_URL.",
        );
    };
    if request.method().is_safe() {
        return Ok(());
    }
    const FOREIGN: &str =
        "The request comes from another origin. Only Pressluft's own pages and programs may change something.";
    let mut sites = request.headers().get_all(SEC_FETCH_SITE);
    if sites.any(|site| site != "same-origin" && site != "none") {
        return refused(FOREIGN);
    }
    let mut origins = request.headers().get_all(ORIGIN);
    let is_own = |origin: &str| settings.is_own_origin(origin, &host);
    if origins.any(|origin| !origin.to_str().is_ok_and(is_own)) {
        return refused(FOREIGN);
    }
    Ok(())
}

/// The host that a request names, if it names exactly one.
fn named_host(request: &HttpRequest) -> Option<Authority> {
    let mut headers = request.headers().get_all(HOST);
    let host: Authority = headers.next()?.to_str().ok()?.parse().ok()?;
    if headers.next().is_some() {
        return None;
    }
    // An absolute request target (`GET http://host/path`) must not say otherwise.
    match request.uri().authority() {
        Some(target) if target.as_str().parse() != Ok(host.clone()) => None,
        _ => Some(host),
    }
}
