//! The session: its cookie, and the middleware that lets only operators through.

use std::future::{Ready, ready};

use accounts_domain::{Session, SessionToken};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::LOCATION;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use domain_kernel::{ApiErrorCode, Secret};
use operations::{Accounts, SESSION_LIFETIME, UseCaseError};

use crate::{ApiError, HttpSettings};

/// The cookie's name.
pub const SESSION_COOKIE: &str = "session_token";

/// Longer values are no token of ours; they are not even hashed.
const MAX_TOKEN: usize = 256;

/// Who makes a request. Handlers behind [`require_session`] take it as an argument.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The session.
    pub session: Session,
}

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Only a route that forgot the middleware has none, and it must not let anybody through.
        let found = request.extensions().get::<Self>().cloned();
        ready(found.ok_or_else(|| UseCaseError::Unauthorized("There is no valid session. Log in first.").into()))
    }
}

/// The middleware of a route that needs a session. It looks at nothing of the request but the cookie.
pub async fn require_session(
    accounts: web::Data<Accounts>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let found = current_operator(&accounts, request.request()).await;
    match found {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(error) => Ok(request.into_response(HttpResponse::from_error(error))),
    }
}

/// The middleware of a page that needs a session: without one the browser is sent to log in, and from there to where it
/// wanted to go. What was posted is not sent again by itself: that leads to the page of the form, and `unsent` tells the login.
pub async fn require_session_or_login(
    accounts: web::Data<Accounts>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let error = match current_operator(&accounts, request.request()).await {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            return Ok(next.call(request).await?.map_into_boxed_body());
        }
        Err(error) => error,
    };
    let response = if error.code() == ApiErrorCode::Unauthorized {
        let place = if request.method().is_safe() {
            login_place(request.uri().path_and_query().map_or("/", |wanted| wanted.as_str()))
        } else {
            login_place(page_of_form(request.path())) + "&unsent=1"
        };
        HttpResponse::SeeOther().insert_header((LOCATION, place)).finish()
    } else {
        HttpResponse::from_error(error)
    };
    Ok(request.into_response(response))
}

/// The page whose form posts to a path: forms post to `/<page>`, or to `/<page>/<id>/<action>` from `/<page>/<id>`.
fn page_of_form(path: &str) -> &str {
    let third = path.match_indices('/').nth(2);
    third.map_or(path, |(at, _)| &path[..at])
}

/// Where one logs in before one goes to `wanted`, a path with its query.
fn login_place(wanted: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
    let encoded: String = wanted
        .bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    format!("/login?next={encoded}")
}

/// The operator whose cookie a request carries. [`ApiErrorCode::Unauthorized`] where there is no valid session.
pub async fn current_operator(accounts: &Accounts, request: &HttpRequest) -> Result<Operator, ApiError> {
    let cookie = request.cookie(SESSION_COOKIE);
    let token = cookie
        .as_ref()
        .map(Cookie::value)
        .filter(|value| (1..=MAX_TOKEN).contains(&value.len()));
    let Some(token) = token else {
        let message = "There is no valid session. Log in first.";
        return Err(ApiError::new(ApiErrorCode::Unauthorized, message));
    };
    let session = accounts.session(&SessionToken(Secret::new(token))).await?;
    Ok(Operator { session })
}

/// The cookie of a session that was just opened.
pub fn session_cookie(settings: &HttpSettings, token: &SessionToken) -> Cookie<'static> {
    let lifetime = i64::try_from(SESSION_LIFETIME.as_secs()).unwrap_or(i64::MAX);
    cookie(settings, token.0.expose().to_owned(), lifetime)
}

/// The cookie that takes a session's cookie away.
pub fn no_session_cookie(settings: &HttpSettings) -> Cookie<'static> {
    cookie(settings, String::new(), 0)
}

fn cookie(settings: &HttpSettings, value: String, max_age_s: i64) -> Cookie<'static> {
    Cookie::build(SESSION_COOKIE, value)
        .http_only(true)
        .same_site(SameSite::Lax)
        .path("/")
        .secure(settings.is_https())
        .max_age(CookieDuration::seconds(max_age_s))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_page_comes_through_the_login_whole() {
        assert_eq!(
            login_place("/nodes?cursor=a&x=%20ä"),
            "/login?next=/nodes%3Fcursor%3Da%26x%3D%2520%C3%A4"
        );
    }

    #[test]
    fn a_form_belongs_to_the_page_above_its_action() {
        for (path, page) in [
            ("/nodes", "/nodes"),
            ("/nodes/7/delete", "/nodes/7"),
            ("/sites/7/restore", "/sites/7"),
            ("/sites/7/a/b", "/sites/7"),
            ("/", "/"),
        ] {
            assert_eq!(page_of_form(path), page);
        }
    }
}
