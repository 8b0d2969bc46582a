//! Every path of the pages, and who may ask for it.

use std::future::ready;

use actix_web::guard::fn_guard;
use actix_web::http::Method;
use actix_web::http::header::ACCEPT;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, Resource, Route, web};
use http_session::{ApiError, HttpSettings, guard, harden, require_session, require_session_or_login};

use crate::pages::as_page;
use crate::{UiState, assets, create, form, jobs, login, nodes};

/// Adds the pages to a server that has the API already: they answer for unknown paths, too.
pub fn configure(state: UiState, settings: HttpSettings) -> impl FnOnce(&mut web::ServiceConfig) + Clone {
    move |config| {
        config
            .app_data(web::Data::from(state.accounts.clone()))
            .app_data(web::Data::new(state))
            .app_data(web::Data::new(settings));
        // Anybody's.
        page(config, "/", "GET, HEAD", |path| path.route(get().to(first)));
        page(config, assets::PATH, "GET, HEAD", |path| {
            path.route(get().to(assets::show))
        });
        page(config, "/login", "GET, HEAD, POST", |path| {
            path.route(get().to(login::ask)).route(web::post().to(login::login))
        });
        page(config, "/logout", "POST", |path| {
            path.route(web::post().to(login::logout))
        });
        // An operator's.
        page(config, "/nodes", "GET, HEAD, POST", |path| {
            path.route(own(get().to(nodes::list)))
                .route(own(web::post().to(create::create)))
        });
        page(config, "/nodes/{id}/provision", "POST", |path| {
            path.route(own(web::post().to(nodes::provision)))
        });
        page(config, "/nodes/{id}/delete", "GET, HEAD, POST", |path| {
            path.route(own(get().to(nodes::ask_to_delete)))
                .route(own(web::post().to(nodes::delete)))
        });
        page(config, "/nodes/{id}/host-key", "POST", |path| {
            path.route(own(web::post().to(nodes::pin_host_key)))
        });
        page(config, "/jobs/{id}/cancel", "POST", |path| {
            path.route(own(web::post().to(jobs::cancel)))
        });
        page(config, "/jobs/{id}/retry", "POST", |path| {
            path.route(own(web::post().to(jobs::retry)))
        });
        // A script's: it is told that there is no session, and decides itself where to go.
        page(config, "/nodes/{id}/row", "GET, HEAD", |path| {
            path.route(get().to(nodes::row).wrap(from_fn(require_session)))
        });
        // Programs are told in JSON that there is no such path, browsers by a page.
        let for_program = web::to(not_found).wrap(from_fn(guard)).wrap(from_fn(harden));
        let for_browser = web::to(not_found)
            .wrap(from_fn(guard))
            .wrap(from_fn(as_page))
            .wrap(from_fn(harden));
        let is_browser = fn_guard(|context| {
            let accept = context
                .head()
                .headers()
                .get(ACCEPT)
                .and_then(|value| value.to_str().ok());
            !context.head().uri.path().starts_with("/api/") && accept.is_some_and(|accept| accept.contains("text/html"))
        });
        config.service(web::resource("/{path:.*}").guard(is_browser).route(for_browser));
        config.default_service(for_program);
    }
}

/// Adds a path with what every page has: the check of `Host` and `Origin`, its headers, errors as pages.
fn page(config: &mut web::ServiceConfig, path: &str, allowed: &'static str, routes: impl FnOnce(Resource) -> Resource) {
    let refuse = move || ready(Err::<HttpResponse, _>(ApiError::method_not_allowed(allowed)));
    let resource = routes(web::resource(path)).default_service(web::to(refuse));
    config.service(
        resource
            .wrap(from_fn(guard))
            .wrap(from_fn(as_page))
            .wrap(from_fn(harden)),
    );
}

/// What can be got can be asked for its head too.
fn get() -> Route {
    web::route().guard(fn_guard(|context| {
        matches!(context.head().method, Method::GET | Method::HEAD)
    }))
}

/// A route for operators only; others log in first.
fn own(route: Route) -> Route {
    route.wrap(from_fn(require_session_or_login))
}

async fn first(_: HttpRequest) -> HttpResponse {
    form::see("/nodes")
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found("path"))
}
