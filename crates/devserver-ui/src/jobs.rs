//! `/jobs/{id}/cancel` and `/jobs/{id}/retry`.

use actix_web::{HttpResponse, web};
use domain_kernel::JobId;
use http_session::{ApiError, Operator};

use crate::UiState;
use crate::form::see;
use crate::nodes::{by, refused};

/// Asks for a job to end.
pub(crate) async fn cancel(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    match ui.jobs.cancel(job_id(&id)?, by(&operator)).await {
        Ok(()) => Ok(see("/nodes")),
        Err(error) => refused(&ui, &operator, error).await,
    }
}

/// Asks for the work of a job that ended badly once more.
pub(crate) async fn retry(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    match ui.jobs.retry(job_id(&id)?, by(&operator)).await {
        Ok(_) => Ok(see("/nodes")),
        Err(error) => refused(&ui, &operator, error).await,
    }
}

fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("job"))
}
