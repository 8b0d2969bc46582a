//! Every endpoint, once: its method, path, handler, who may ask, and how it can refuse. The server's routes, the `Allow`
//! headers and the errors of the OpenAPI document all come from this table.

use std::future::ready;

use actix_web::guard::fn_guard;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Route, web};
use domain_kernel::ApiErrorCode::{
    self, BadRequest, Conflict, EnvironmentNotActive, JobNotCancellable, NoNodeAvailable, NodeInUse, NodeNotReady,
    NodeUnreachable, NotFound, ResetValidationFailed, ResourceNotFailed, TooManyRequests, Unauthorized, WpCliError,
};
use http_session::{ApiError, HttpSettings, guard, harden, require_session};

use crate::sites::{backups, environments};
use crate::{ApiState, events, jobs, nodes, providers, session, sites, ssh_key, status};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, under any host name: it tells nothing.
    Open,
    /// Anybody.
    Public,
    /// An operator with a session.
    Session,
    /// An operator with a session, or a program on this host. The handler checks it.
    SessionOrThisHost,
}

/// What a request may carry as its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing is read.
    Unread,
    /// Nothing, or an empty object.
    Empty,
    /// JSON.
    Json,
}

/// An endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) body: Body,
    /// Refusals beside those that follow from `access` and `body`.
    pub(crate) errors: &'static [ApiErrorCode],
    route: fn() -> Route,
}

macro_rules! endpoints {
    ($($method:ident $path:literal $access:ident $body:ident $handler:path => [$($error:expr),*];)*) => {
        /// The table.
        pub(crate) static ENDPOINTS: &[Endpoint] = &[$(Endpoint {
            method: stringify!($method),
            path: $path,
            access: Access::$access,
            body: Body::$body,
            errors: &[$($error),*],
            route: || route(stringify!($method)).to($handler),
        },)*];
    };
}

endpoints! {
    POST   "/api/login"                      Public  Json   session::login        => [Unauthorized, TooManyRequests];
    POST   "/api/logout"                     Public  Empty  session::logout       => [];
    GET    "/api/session"                    Session Unread session::show         => [];
    GET    "/api/nodes"                      Session Unread nodes::list           => [BadRequest];
    POST   "/api/nodes"                      Session Json   nodes::create         => [Conflict];
    GET    "/api/nodes/{id}"                 Session Unread nodes::show           => [NotFound];
    DELETE "/api/nodes/{id}"                 Session Empty  nodes::delete         => [NotFound, Conflict, NodeInUse];
    POST   "/api/nodes/{id}/provision"       Session Empty  nodes::provision      => [NotFound, Conflict];
    POST   "/api/nodes/{id}/readiness-check" Session Empty  nodes::check          => [NotFound];
    POST   "/api/nodes/{id}/host-key"        Session Json   nodes::pin_host_key   => [NotFound, Conflict, NodeUnreachable];
    GET    "/api/sites"                      Session Unread sites::list           => [BadRequest];
    POST   "/api/sites"                      Session Json   sites::create         => [NotFound, Conflict, NodeNotReady, NoNodeAvailable];
    GET    "/api/sites/{id}"                 Session Unread sites::show           => [NotFound];
    DELETE "/api/sites/{id}"                 Session Json   sites::delete         => [NotFound, Conflict];
    POST   "/api/sites/{id}/reset"           Session Empty  sites::reset          => [NotFound, Conflict, ResourceNotFailed, ResetValidationFailed];
    GET    "/api/sites/{id}/environments"    Session Unread environments::list    => [NotFound];
    POST   "/api/sites/{id}/environments"    Session Json   environments::create  => [NotFound, Conflict, EnvironmentNotActive, NodeNotReady];
    GET    "/api/environments/{id}"          Session Unread environments::show    => [NotFound];
    DELETE "/api/environments/{id}"          Session Json   environments::delete  => [NotFound, Conflict];
    POST   "/api/environments/{id}/reset"    Session Empty  environments::reset   => [NotFound, Conflict, ResourceNotFailed, ResetValidationFailed];
    GET    "/api/environments/{id}/wordpress-version" Session Unread environments::wordpress_version => [NotFound, NodeUnreachable, WpCliError];
    POST   "/api/environments/{id}/wordpress-login"   Session Empty  environments::wordpress_login   => [NotFound];
    GET    "/api/environments/{id}/backups"  Session Unread backups::list         => [BadRequest, NotFound];
    POST   "/api/environments/{id}/backups"  Session Json   backups::create       => [NotFound, Conflict, EnvironmentNotActive];
    PUT    "/api/environments/{id}/backup-schedule"   Session Json   backups::set_schedule           => [NotFound, Conflict];
    POST   "/api/environments/{id}/restore"  Session Json   backups::restore      => [NotFound, Conflict];
    GET    "/api/backups/{id}"               Session Unread backups::show         => [NotFound];
    DELETE "/api/backups/{id}"               Session Empty  backups::delete       => [NotFound, Conflict];
    GET    "/api/ssh-key"                    Session Unread ssh_key::show         => [];
    GET    "/api/providers"                  Session Unread providers::list       => [];
    GET    "/api/jobs"                       Session Unread jobs::list            => [BadRequest];
    GET    "/api/jobs/{id}"                  Session Unread jobs::show            => [NotFound];
    POST   "/api/jobs/{id}/cancel"           Session Empty  jobs::cancel          => [NotFound, JobNotCancellable];
    POST   "/api/jobs/{id}/retry"            Session Empty  jobs::retry           => [NotFound, Conflict, EnvironmentNotActive];
    GET    "/api/jobs/{id}/events"           Session Unread events::of_job        => [BadRequest, NotFound, TooManyRequests];
    GET    "/api/events"                     Session Unread events::list          => [BadRequest, TooManyRequests];
    GET    "/api/metrics"                    Session Unread status::metrics       => [];
    GET    "/metrics"             SessionOrThisHost  Unread status::prometheus    => [Unauthorized];
    GET    "/healthz"                        Open    Unread status::alive         => [];
    GET    "/readyz"                         Open    Unread status::ready         => [];
}

/// Adds the API to a server: everything under `/api`, `/metrics`, the health checks, and the answer for paths that
/// nobody else serves.
pub fn configure(state: ApiState, settings: HttpSettings) -> impl FnOnce(&mut web::ServiceConfig) + Clone {
    let accounts = web::Data::from(state.accounts.clone());
    let state = web::Data::new(state);
    let settings = web::Data::new(settings);
    move |config| {
        config.app_data(accounts).app_data(state).app_data(settings);
        let mut paths: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
        paths.dedup();
        for path in paths {
            add(config, path);
        }
        let nowhere = web::to(not_found);
        config.default_service(nowhere.wrap(from_fn(guard)).wrap(from_fn(harden)));
    }
}

fn add(config: &mut web::ServiceConfig, path: &str) {
    let endpoints = || ENDPOINTS.iter().filter(|endpoint| endpoint.path == path);
    let allowed = allowed_methods(path);
    let refuse = move || ready(Err::<HttpResponse, _>(ApiError::method_not_allowed(&allowed)));
    let mut resource = web::resource(path).default_service(web::to(refuse));
    for endpoint in endpoints() {
        let route = (endpoint.route)();
        resource = resource.route(match endpoint.access {
            Access::Session => route.wrap(from_fn(require_session)),
            Access::Open | Access::Public | Access::SessionOrThisHost => route,
        });
    }
    if endpoints().all(|endpoint| endpoint.access == Access::Open) {
        config.service(resource.wrap(from_fn(harden)));
    } else {
        config.service(resource.wrap(from_fn(guard)).wrap(from_fn(harden)));
    }
}

/// The methods of a path, as in an `Allow` header.
fn allowed_methods(path: &str) -> String {
    let methods = ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.path == path)
        .map(|endpoint| match endpoint.method {
            "GET" => "GET, HEAD",
            other => other,
        });
    methods.collect::<Vec<_>>().join(", ")
}

/// A route's method. What can be got can be asked for its head too.
fn route(method: &'static str) -> Route {
    let is_asked = move |asked: &str| asked == method || (asked == "HEAD" && method == "GET");
    web::route().guard(fn_guard(move |context| is_asked(context.head().method.as_str())))
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found("path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_and_the_routes_tell_of_the_same_endpoints() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                documented.insert((path.clone(), method.to_uppercase()));
            }
        }
        let served: BTreeSet<_> = ENDPOINTS
            .iter()
            .map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_owned()))
            .collect();
        assert_eq!(documented, served);
        assert_eq!(ENDPOINTS.len(), served.len());
    }
}
