//! `/login` and `/logout`.

use accounts_domain::SessionToken;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpRequest, HttpResponse, web};
use domain_kernel::Secret;
use http_session::{
    ApiError, HttpSettings, SESSION_COOKIE, client_address, current_operator, no_session_cookie, session_cookie,
};
use operations::UseCaseError;
use serde::{Deserialize, Serialize};

use crate::UiState;
use crate::form::{Sent, fields, local_path, see};
use crate::view::when;

/// Where a login leads if nothing else was wanted.
const FIRST: &str = "/";

/// Where one wants to go after the login.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    next: String,
    /// Not empty where a form was sent whose session had ended.
    #[serde(default)]
    unsent: String,
}

/// The form.
#[derive(Deserialize)]
pub(crate) struct LoginForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Default, Serialize)]
struct LoginView<'a> {
    email: &'a str,
    next: &'a str,
    is_unsent: bool,
    alert: Option<String>,
}

/// `GET /login`: the form, or onwards where there is a session already.
pub(crate) async fn ask(
    ui: web::Data<UiState>,
    request: HttpRequest,
    wanted: Result<web::Query<Wanted>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let wanted = wanted.map(web::Query::into_inner).unwrap_or_default();
    let next = local_path(&wanted.next).unwrap_or(FIRST);
    if current_operator(&ui.accounts, &request).await.is_ok() {
        return Ok(see(next));
    }
    let view = LoginView {
        next,
        is_unsent: !wanted.unsent.is_empty(),
        ..LoginView::default()
    };
    ui.pages.show(StatusCode::OK, "login.html", &view)
}

/// `POST /login`: opens a session and leads on; otherwise the form again with what was wrong.
pub(crate) async fn login(
    ui: web::Data<UiState>,
    settings: web::Data<HttpSettings>,
    request: HttpRequest,
    sent: Sent<LoginForm>,
) -> Result<HttpResponse, ApiError> {
    let LoginForm { email, password, next } = fields(sent)?;
    let next = local_path(&next).unwrap_or(FIRST);
    let from = client_address(&settings, &request);
    let error = match ui.accounts.login(&email, Secret::new(password), &from).await {
        Ok(opened) => {
            let mut response = see(next);
            response
                .add_cookie(&session_cookie(&settings, &opened.token))
                .map_err(|error| ApiError::from(UseCaseError::Internal(Box::new(error))))?;
            return Ok(response);
        }
        Err(error) => error,
    };
    let (status, alert, retry_after) = match &error {
        UseCaseError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, error.to_string(), None),
        UseCaseError::TooManyRequests { retry_after_s } => {
            let wait = std::time::Duration::from_secs(*retry_after_s);
            let moment = when::clock_time(ui.clock.now().plus(wait));
            let alert = format!(
                "Too many failed logins. Come back in {}, at {moment} UTC.",
                when::duration(wait)
            );
            (StatusCode::TOO_MANY_REQUESTS, alert, Some(*retry_after_s))
        }
        _ => return Err(error.into()),
    };
    let view = LoginView {
        email: &email,
        next,
        is_unsent: false,
        alert: Some(alert),
    };
    let mut response = ui.pages.show(status, "login.html", &view)?;
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

/// `POST /logout`: ends the session, if there is one.
pub(crate) async fn logout(
    ui: web::Data<UiState>,
    settings: web::Data<HttpSettings>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    if let Some(cookie) = request.cookie(SESSION_COOKIE) {
        ui.accounts.logout(&SessionToken(Secret::new(cookie.value()))).await?;
    }
    let mut response = see("/login");
    response
        .add_cookie(&no_session_cookie(&settings))
        .map_err(|error| ApiError::from(UseCaseError::Internal(Box::new(error))))?;
    Ok(response)
}
