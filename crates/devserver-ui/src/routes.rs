//! Every path of the pages, and who may ask for it.

use std::future::ready;

use actix_web::guard::fn_guard;
use actix_web::http::Method;
use actix_web::http::header::ACCEPT;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Resource, Route, web};
use http_session::{ApiError, HttpSettings, guard, harden, require_session_or_login};

use crate::pages::as_page;
use crate::{UiState, assets, create, job, jobs, login, node, nodes, overview, site, site_actions, sites};

/// Adds the pages to a server that has the API already: they answer for unknown paths, too.
pub fn configure(state: UiState, settings: HttpSettings) -> impl FnOnce(&mut web::ServiceConfig) + Clone {
    move |config| {
        config
            .app_data(web::Data::from(state.accounts.clone()))
            .app_data(web::Data::new(state))
            .app_data(web::Data::new(settings));
        // Anybody's.
        page(config, assets::PATH, "GET, HEAD", |path| {
            path.route(get().to(assets::show))
        });
        page(config, "/login", "GET, HEAD, POST", |path| {
            path.route(get().to(login::ask)).route(web::post().to(login::login))
        });
        form(config, "/logout", |path| path.route(web::post().to(login::logout)));
        // An operator's.
        page(config, "/", "GET, HEAD", |path| {
            path.route(own(get().to(overview::show)))
        });
        page(config, "/nodes", "GET, HEAD, POST", |path| {
            path.route(own(get().to(nodes::list)))
                .route(own(web::post().to(create::create)))
        });
        page(config, "/nodes/{id}", "GET, HEAD", |path| {
            path.route(own(get().to(node::show)))
        });
        form(config, "/nodes/{id}/provision", |path| {
            path.route(own(web::post().to(node::provision)))
        });
        form(config, "/nodes/{id}/check", |path| {
            path.route(own(web::post().to(node::check)))
        });
        form(config, "/nodes/{id}/delete", |path| {
            path.route(own(web::post().to(node::delete)))
        });
        form(config, "/nodes/{id}/host-key", |path| {
            path.route(own(web::post().to(node::pin_host_key)))
        });
        page(config, "/sites", "GET, HEAD, POST", |path| {
            path.route(own(get().to(sites::list)))
                .route(own(web::post().to(sites::create)))
        });
        page(config, "/sites/{id}", "GET, HEAD", |path| {
            path.route(own(get().to(site::show)))
        });
        form(config, "/sites/{id}/delete", |path| {
            path.route(own(web::post().to(site_actions::delete)))
        });
        form(config, "/sites/{id}/reset", |path| {
            path.route(own(web::post().to(site_actions::reset)))
        });
        form(config, "/sites/{id}/environments", |path| {
            path.route(own(web::post().to(site_actions::environments)))
        });
        form(config, "/sites/{id}/delete-environment", |path| {
            path.route(own(web::post().to(site_actions::delete_environment)))
        });
        form(config, "/sites/{id}/reset-environment", |path| {
            path.route(own(web::post().to(site_actions::reset_environment)))
        });
        form(config, "/sites/{id}/backups", |path| {
            path.route(own(web::post().to(site_actions::backups)))
        });
        form(config, "/sites/{id}/delete-backup", |path| {
            path.route(own(web::post().to(site_actions::delete_backup)))
        });
        form(config, "/sites/{id}/restore", |path| {
            path.route(own(web::post().to(site_actions::restore)))
        });
        form(config, "/sites/{id}/schedule", |path| {
            path.route(own(web::post().to(site_actions::schedule)))
        });
        form(config, "/sites/{id}/version", |path| {
            path.route(own(web::post().to(site_actions::version)))
        });
        form(config, "/sites/{id}/login", |path| {
            path.route(own(web::post().to(site_actions::login)))
        });
        page(config, "/jobs", "GET, HEAD", |path| {
            path.route(own(get().to(jobs::list)))
        });
        page(config, "/jobs/{id}", "GET, HEAD", |path| {
            path.route(own(get().to(job::show)))
        });
        form(config, "/jobs/{id}/cancel", |path| {
            path.route(own(web::post().to(job::cancel)))
        });
        form(config, "/jobs/{id}/retry", |path| {
            path.route(own(web::post().to(job::retry)))
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

/// Adds a path that forms post to and nothing else.
fn form(config: &mut web::ServiceConfig, path: &str, routes: impl FnOnce(Resource) -> Resource) {
    page(config, path, "POST", routes);
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

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found("path"))
}
