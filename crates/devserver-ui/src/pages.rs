//! The templates, and what every answer of the pages has in common.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use domain_kernel::ApiErrorCode;
use http_session::ApiError;
use serde::Serialize;
use tera::{Context, Tera};

use crate::UiState;
use crate::assets::AssetUrls;

const HTML: &str = "text/html; charset=utf-8";

/// Scripts, styles and requests of our own and nothing else; nothing inline. The answer with the worker's script carries
/// it too, because a worker obeys its own answer's policy.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// With `no-referrer` a browser would send `Origin: null` with our own forms, as it does with another server's.
const REFERRER: &str = "same-origin";

const TEMPLATES: [(&str, &str); 18] = [
    ("base.html", include_str!("../templates/base.html")),
    ("parts.html", include_str!("../templates/parts.html")),
    ("login.html", include_str!("../templates/login.html")),
    ("nodes.html", include_str!("../templates/nodes.html")),
    ("overview.html", include_str!("../templates/overview.html")),
    ("node.html", include_str!("../templates/node.html")),
    ("node_asks.html", include_str!("../templates/node_asks.html")),
    ("node_line.html", include_str!("../templates/node_line.html")),
    ("sites.html", include_str!("../templates/sites.html")),
    ("site.html", include_str!("../templates/site.html")),
    ("site_form.html", include_str!("../templates/site_form.html")),
    ("site_asks.html", include_str!("../templates/site_asks.html")),
    ("jobs.html", include_str!("../templates/jobs.html")),
    ("job_page.html", include_str!("../templates/job_page.html")),
    ("job_asks.html", include_str!("../templates/job_asks.html")),
    ("timeline.html", include_str!("../templates/timeline.html")),
    ("forms.html", include_str!("../templates/forms.html")),
    ("error.html", include_str!("../templates/error.html")),
];

/// The templates.
pub(crate) struct Pages {
    tera: Tera,
}

#[derive(Serialize)]
struct ErrorView<'a> {
    status: u16,
    title: &'a str,
    message: &'a str,
}

impl Pages {
    pub(crate) fn new() -> Result<Self, tera::Error> {
        let mut tera = Tera::new();
        // Every name ends in nothing: no template is without escaping, whatever it is called.
        tera.autoescape_on([""]);
        tera.global_context().insert("assets", &AssetUrls::new());
        tera.add_raw_templates(TEMPLATES)?;
        Ok(Self { tera })
    }

    /// A page, or a part of one.
    pub(crate) fn show(&self, status: StatusCode, name: &str, view: &impl Serialize) -> Result<HttpResponse, ApiError> {
        let html = self.render(name, view).map_err(|error| {
            let message = "Pressluft met an error of its own. The server's log says more.";
            ApiError::new(ApiErrorCode::Internal, message).caused_by(error)
        })?;
        Ok(HttpResponse::build(status).content_type(HTML).body(html))
    }

    fn render(&self, name: &str, view: &impl Serialize) -> Result<String, tera::Error> {
        self.tera.render(name, &Context::from_serialize(view)?)
    }

    fn error(&self, status: StatusCode, error: &ApiError) -> Result<String, tera::Error> {
        let view = ErrorView {
            status: status.as_u16(),
            title: title(error.code()),
            message: error.message(),
        };
        self.render("error.html", &view)
    }
}

/// What a page that could not be shown is headed with.
fn title(code: ApiErrorCode) -> &'static str {
    match code {
        ApiErrorCode::NotFound => "Not found",
        ApiErrorCode::Internal => "Something went wrong",
        _ => "That was not possible",
    }
}

/// The middleware of every page: its headers, and errors as pages for people. What caused an error stays with it for the
/// log.
pub(crate) async fn as_page(
    ui: web::Data<UiState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = next.call(request).await?.map_into_boxed_body();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static(REFERRER));
    let status = response.status();
    let error = response
        .response()
        .error()
        .and_then(|error| error.as_error::<ApiError>());
    let Some(html) = error.map(|error| ui.pages.error(status, error)) else {
        return Ok(response);
    };
    match html {
        Ok(html) => Ok(response.map_body(|head, _| {
            head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
            BoxBody::new(html)
        })),
        // The error as the API would tell it is better than none.
        Err(_) => Ok(response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_escapes_whatever_it_is_called() {
        let mut pages = Pages::new().unwrap();
        let names = ["a.html", "a.svg", "a.txt", "a.js", "a"];
        pages
            .tera
            .add_raw_templates(names.map(|name| (name, "{{ title }}")))
            .unwrap();
        let view = ErrorView {
            status: 400,
            title: "<&\"'>",
            message: "",
        };
        for name in names {
            assert_eq!(pages.render(name, &view).unwrap(), "&lt;&amp;&quot;&#39;&gt;", "{name}");
        }
    }
}
