//! `/api/jobs`.

use ::jobs::{Job, JobFilter, JobKind, JobStatus, JobView, StepRecord, StepStatus};
use actix_web::{HttpResponse, web};
use domain_kernel::{BackupId, EnvironmentId, JobErrorCode, JobId, NodeId, SiteId, Timestamp};
use http_session::{ApiError, Operator};
use operations::RetriedJob;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ApiState;
use crate::extract::{NoBody, PathId, Query};
use crate::page::{Listed, next_cursor, page_request};
use crate::schema::{JobErrorCodeText, JobKindText, JobStatusText, StepStatusText};

struct Jobs;

impl Listed for Jobs {
    const MARK: &'static str = "j1_";
    type Id = JobId;
}

/// Which jobs are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Of this status.
    #[param(value_type = Option<JobStatusText>)]
    status: Option<JobStatus>,
    /// Of this kind.
    #[param(value_type = Option<JobKindText>)]
    kind: Option<JobKind>,
    /// On this node.
    #[param(value_type = Option<String>, format = "uuid")]
    node_id: Option<NodeId>,
    /// On this site.
    #[param(value_type = Option<String>, format = "uuid")]
    site_id: Option<SiteId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Jobs, newest first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"items": [], "next_cursor": null}))]
pub(crate) struct JobList {
    items: Vec<JobBody>,
    /// What to ask for next; null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A job: one piece of work on a machine.
#[derive(Serialize, ToSchema)]
#[schema(as = Job, example = json!({
    "id": "01970000-0000-7000-8000-00000000000b",
    "job_type": "node_provision",
    "status": "failed",
    "node_id": "01970000-0000-7000-8000-0123456789ab",
    "site_id": null,
    "environment_id": null,
    "backup_id": null,
    "attempt_count": 1,
    "max_attempts": 3,
    "run_after": "2030-01-31T12:00:00Z",
    "locked_at": null,
    "locked_by": null,
    "cancel_requested": false,
    "started_at": "2030-01-31T12:00:00.001Z",
    "finished_at": "2030-01-31T12:00:00.120Z",
    "error_code": "LOCAL_PROVIDER_UNAVAILABLE",
    "error_message": "The local provider cannot run on this host. `multipass` is not on the PATH. Run `pressluft doctor`: it names what is missing and the command that installs it.",
    "steps": [{
        "name": "acquire",
        "status": "failed",
        "attempt": 1,
        "started_at": "2030-01-31T12:00:00.002Z",
        "finished_at": "2030-01-31T12:00:00.119Z",
        "detail": "`multipass` is not on the PATH"
    }],
    "created_at": "2030-01-31T12:00:00Z",
    "updated_at": "2030-01-31T12:00:00.120Z"
}))]
pub(crate) struct JobBody {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: JobId,
    #[schema(value_type = JobKindText)]
    job_type: JobKind,
    #[schema(value_type = JobStatusText)]
    status: JobStatus,
    /// The node that it works on.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    node_id: Option<NodeId>,
    /// The site that it works on.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    site_id: Option<SiteId>,
    /// The environment that it works on.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    environment_id: Option<EnvironmentId>,
    /// The backup that it makes or restores.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    backup_id: Option<BackupId>,
    /// 1 on the first run; rises after a failure that is tried again.
    attempt_count: u32,
    /// How many attempts it has in all.
    max_attempts: u32,
    /// A queued job is not started before.
    #[schema(value_type = String, format = DateTime)]
    run_after: Timestamp,
    /// When the present worker took it.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    locked_at: Option<Timestamp>,
    /// The worker that has it.
    #[schema(required = true)]
    locked_by: Option<String>,
    /// An operator asked for it to end.
    cancel_requested: bool,
    /// When it was first started.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[schema(required = true, value_type = Option<JobErrorCodeText>)]
    error_code: Option<JobErrorCode>,
    /// The same as a text for the operator, with the next thing to do.
    #[schema(required = true)]
    error_message: Option<String>,
    /// Its steps so far, in order.
    steps: Vec<StepBody>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A step of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = Step)]
struct StepBody {
    /// Its name.
    name: String,
    #[schema(value_type = StepStatusText)]
    status: StepStatus,
    /// The job's attempt that it last ran in.
    attempt: u32,
    /// When it was last started.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it ended.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// What it found, or what it waits for.
    #[schema(required = true)]
    detail: Option<String>,
}

impl From<JobView> for JobBody {
    fn from(JobView { job, steps }: JobView) -> Self {
        let Job { error, .. } = job;
        Self {
            id: job.id,
            job_type: job.kind,
            status: job.status,
            node_id: job.node_id,
            site_id: job.site_id,
            environment_id: job.environment_id,
            backup_id: job.backup_id,
            attempt_count: job.attempt_count,
            max_attempts: job.max_attempts,
            run_after: job.run_after,
            locked_at: job.locked_at,
            locked_by: job.locked_by,
            cancel_requested: job.cancel_requested,
            started_at: job.started_at,
            finished_at: job.finished_at,
            error_code: error.as_ref().map(|failure| failure.code),
            error_message: error.as_ref().map(|failure| failure.message()),
            steps: steps.into_iter().map(StepBody::from).collect(),
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }
}

impl From<StepRecord> for StepBody {
    fn from(step: StepRecord) -> Self {
        Self {
            name: step.name,
            status: step.status,
            attempt: step.attempt,
            started_at: step.started_at,
            finished_at: step.finished_at,
            detail: step.detail,
        }
    }
}

/// The job that was asked to end.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"job_id": "01970000-0000-7000-8000-00000000000b"}))]
pub(crate) struct CancelledJob {
    /// The job.
    #[schema(value_type = String, format = "uuid")]
    job_id: JobId,
}

/// The job that was accepted in place of one that ended badly, with what it works on.
#[derive(Serialize, ToSchema)]
#[schema(as = RetriedJob, example = json!({
    "job_id": "01970000-0000-7000-8000-00000000000c",
    "node_id": "01970000-0000-7000-8000-0123456789ab",
    "site_id": null,
    "environment_id": null,
    "backup_id": null
}))]
pub(crate) struct RetriedJobBody {
    /// The new job.
    #[schema(value_type = String, format = "uuid")]
    job_id: JobId,
    /// The node that it works on.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    node_id: Option<NodeId>,
    /// The site that it works on.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    site_id: Option<SiteId>,
    /// The environment that it works on.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    environment_id: Option<EnvironmentId>,
    /// The backup that it makes or restores.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    backup_id: Option<BackupId>,
}

impl From<RetriedJob> for RetriedJobBody {
    fn from(job: RetriedJob) -> Self {
        Self {
            job_id: job.job_id,
            node_id: job.node_id,
            site_id: job.site_id,
            environment_id: job.environment_id,
            backup_id: job.backup_id,
        }
    }
}

/// Jobs, newest first.
#[utoipa::path(
    get, path = "/api/jobs", operation_id = "list_jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, description = "A page of jobs.", body = JobList))
)]
pub(crate) async fn list(state: web::Data<ApiState>, Query(query): Query<JobsQuery>) -> Result<HttpResponse, ApiError> {
    let request = page_request::<Jobs>(query.limit, query.cursor.as_deref())?;
    let filter = JobFilter {
        status: query.status,
        kind: query.kind,
        node_id: query.node_id,
        site_id: query.site_id,
        ..JobFilter::default()
    };
    let page = state.jobs.list(&filter, &request).await?;
    Ok(HttpResponse::Ok().json(JobList {
        next_cursor: next_cursor::<Jobs, _>(&page),
        items: page.items.into_iter().map(JobBody::from).collect(),
    }))
}

/// One job with its steps.
#[utoipa::path(
    get, path = "/api/jobs/{id}", operation_id = "job", tag = "jobs",
    params(("id" = String, Path, format = "uuid", description = "The job's id")),
    responses((status = 200, description = "The job.", body = JobBody))
)]
pub(crate) async fn show(state: web::Data<ApiState>, PathId(id): PathId<JobId>) -> Result<HttpResponse, ApiError> {
    let view = state.jobs.get(id).await?;
    Ok(HttpResponse::Ok().json(JobBody::from(view)))
}

/// Asks for a job to end. It is `cancelled` as soon as what it started has ended.
#[utoipa::path(
    post, path = "/api/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(("id" = String, Path, format = "uuid", description = "The job's id")),
    responses((status = 202, description = "Asked.", body = CancelledJob))
)]
pub(crate) async fn cancel(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<JobId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    state.jobs.cancel(id, Some(operator.session.account_id)).await?;
    Ok(HttpResponse::Accepted().json(CancelledJob { job_id: id }))
}

/// Asks for the work of a job that failed or was cancelled once more, as a new job.
#[utoipa::path(
    post, path = "/api/jobs/{id}/retry", operation_id = "retry_job", tag = "jobs",
    params(("id" = String, Path, format = "uuid", description = "The job's id")),
    responses((status = 202, description = "Accepted as a new job.", body = RetriedJobBody))
)]
pub(crate) async fn retry(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<JobId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let job = state.jobs.retry(id, Some(operator.session.account_id)).await?;
    Ok(HttpResponse::Accepted().json(RetriedJobBody::from(job)))
}
