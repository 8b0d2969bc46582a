//! `/api/metrics`, `/metrics`, `/healthz`, `/readyz`.

use actix_web::{HttpRequest, HttpResponse, web};
use http_session::{ApiError, HttpSettings, came_from_this_host, current_operator};
use operations::Metrics;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ApiState;
use crate::openapi::ErrorSchema;

/// Numbers for a glance.
#[derive(Serialize, ToSchema)]
#[schema(as = Metrics, example = json!({"jobs_running": 1, "jobs_queued": 2, "nodes_active": 3, "sites_total": 0}))]
pub(crate) struct MetricsBody {
    /// Jobs at work.
    jobs_running: u64,
    /// Jobs that wait.
    jobs_queued: u64,
    /// Active nodes.
    nodes_active: u64,
    /// Sites.
    sites_total: u64,
}

/// How the server is.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "ok"}))]
pub(crate) struct HealthBody {
    /// Always `ok`: anything else is answered with an error.
    #[schema(value_type = String)]
    status: &'static str,
}

/// Numbers for a glance.
#[utoipa::path(
    get, path = "/api/metrics", operation_id = "metrics", tag = "status",
    responses((status = 200, description = "The numbers.", body = MetricsBody))
)]
pub(crate) async fn metrics(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let metrics = state.jobs.metrics().await?;
    Ok(HttpResponse::Ok().json(MetricsBody {
        jobs_running: metrics.jobs_running,
        jobs_queued: metrics.jobs_queued,
        nodes_active: metrics.nodes_active,
        sites_total: metrics.sites_total,
    }))
}

/// The same numbers for Prometheus. Programs on this host need no session.
#[utoipa::path(
    get, path = "/metrics", operation_id = "prometheus_metrics", tag = "status",
    responses((status = 200, description = "Prometheus' text format.", body = String, content_type = "text/plain",
        example = "pressluft_jobs_running 1\n"))
)]
pub(crate) async fn prometheus(
    state: web::Data<ApiState>,
    settings: web::Data<HttpSettings>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    if !came_from_this_host(&settings, &request) {
        current_operator(&state.accounts, &request).await?;
    }
    let text = prometheus_text(&state.jobs.metrics().await?);
    let content_type = ("content-type", "text/plain; version=0.0.4; charset=utf-8");
    Ok(HttpResponse::Ok().insert_header(content_type).body(text))
}

fn prometheus_text(metrics: &Metrics) -> String {
    let gauges = [
        ("pressluft_jobs_running", "Jobs at work.", metrics.jobs_running),
        ("pressluft_jobs_queued", "Jobs that wait.", metrics.jobs_queued),
        ("pressluft_nodes_active", "Active nodes.", metrics.nodes_active),
        ("pressluft_sites_total", "Sites.", metrics.sites_total),
    ];
    let gauge = |(name, help, value)| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
    gauges.map(gauge).concat()
}

/// Whether the process answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz", tag = "status",
    responses((status = 200, description = "It does.", body = HealthBody))
)]
pub(crate) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(HealthBody { status: "ok" })
}

/// Whether the server can do its work.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "status",
    responses(
        (status = 200, description = "It can.", body = HealthBody),
        (status = 503, description = "It cannot; the server's log says why.", body = ErrorSchema)
    )
)]
pub(crate) async fn ready(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    match state.health.ready().await {
        Ok(()) => Ok(HttpResponse::Ok().json(HealthBody { status: "ok" })),
        Err(why) => Err(ApiError::unavailable(
            "Pressluft is not ready. The server's log says why.",
            why,
        )),
    }
}
