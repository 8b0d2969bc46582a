//! `/api/login`, `/api/logout`, `/api/session`.

use accounts_domain::SessionToken;
use actix_web::{HttpRequest, HttpResponse, web};
use domain_kernel::{Secret, Timestamp};
use http_session::{
    ApiError, HttpSettings, Operator, SESSION_COOKIE, client_address, no_session_cookie, session_cookie,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ApiState;
use crate::extract::{JsonBody, NoBody};

/// An e-mail address and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ops@example.test", "password": "correct horse battery"}))]
pub(crate) struct LoginRequest {
    /// The account's address.
    email: String,
    /// Its password.
    #[schema(format = Password)]
    password: String,
}

/// It was done.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"success": true}))]
pub(crate) struct Success {
    /// Always true: what failed is answered with an error.
    success: bool,
}

/// The session that the request came with.
#[derive(Serialize, ToSchema)]
#[schema(as = Session, example = json!({
    "account_id": "01970000-0000-7000-8000-00000000000a",
    "email": "ops@example.test",
    "created_at": "2030-01-31T12:00:00Z",
    "expires_at": "2030-02-01T00:00:00Z"
}))]
pub(crate) struct SessionBody {
    /// Whose it is.
    #[schema(format = "uuid")]
    account_id: String,
    /// The account's address.
    email: String,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Opens a session. Failed logins are counted per address and peer; after five within 15 minutes further ones are
/// refused for a while.
#[utoipa::path(
    post, path = "/api/login", operation_id = "login", tag = "session", request_body = LoginRequest,
    responses((
        status = 200, description = "The session is open.", body = Success,
        headers(("Set-Cookie" = String, description = "`session_token`: HttpOnly, SameSite=Lax, Path=/, Secure over HTTPS"))
    ))
)]
pub(crate) async fn login(
    state: web::Data<ApiState>,
    settings: web::Data<HttpSettings>,
    request: HttpRequest,
    body: JsonBody<LoginRequest>,
) -> Result<HttpResponse, ApiError> {
    let LoginRequest { email, password } = body.value;
    let from = client_address(&settings, &request);
    let opened = state.accounts.login(&email, Secret::new(password), &from).await?;
    let cookie = session_cookie(&settings, &opened.token);
    Ok(HttpResponse::Ok().cookie(cookie).json(Success { success: true }))
}

/// Ends the session, if there is one, and takes the cookie away.
#[utoipa::path(
    post, path = "/api/logout", operation_id = "logout", tag = "session",
    responses((
        status = 200, description = "There is no session any more.", body = Success,
        headers(("Set-Cookie" = String, description = "Removes `session_token`"))
    ))
)]
pub(crate) async fn logout(
    state: web::Data<ApiState>,
    settings: web::Data<HttpSettings>,
    request: HttpRequest,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    if let Some(cookie) = request.cookie(SESSION_COOKIE) {
        let token = SessionToken(Secret::new(cookie.value()));
        state.accounts.logout(&token).await?;
    }
    let cookie = no_session_cookie(&settings);
    Ok(HttpResponse::Ok().cookie(cookie).json(Success { success: true }))
}

/// The present session.
#[utoipa::path(
    get, path = "/api/session", operation_id = "session", tag = "session",
    responses((status = 200, description = "The session.", body = SessionBody))
)]
pub(crate) async fn show(operator: Operator) -> HttpResponse {
    let session = operator.session;
    HttpResponse::Ok().json(SessionBody {
        account_id: session.account_id.to_string(),
        email: session.email.to_string(),
        created_at: session.created_at,
        expires_at: session.expires_at,
    })
}
