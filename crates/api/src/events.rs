//! `/api/events` and `/api/jobs/{id}/events`.

use ::jobs::{Event, EventFilter, EventKind};
use actix_web::{HttpResponse, web};
use domain_kernel::{JobId, NodeId, Timestamp};
use http_session::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ApiState;
use crate::extract::{PathId, Query};
use crate::page::limit;
use crate::schema::EventKindText;

/// Which events are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Later than the event of this number; from the first one where it is left out.
    #[param(minimum = 0, default = 0)]
    after: Option<i64>,
    /// Of this job.
    #[param(value_type = Option<String>, format = "uuid")]
    job_id: Option<JobId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Which events of a job are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobEventsQuery {
    /// Later than the event of this number; from the first one where it is left out.
    #[param(minimum = 0, default = 0)]
    after: Option<i64>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Events, oldest first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"items": [], "next_after": 42}))]
pub(crate) struct EventList {
    items: Vec<EventBody>,
    /// The `after` of the next request.
    next_after: i64,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Event, example = json!({
    "seq": 42,
    "job_id": "01970000-0000-7000-8000-00000000000b",
    "node_id": "01970000-0000-7000-8000-0123456789ab",
    "at": "2030-01-31T12:00:00.123456Z",
    "kind": "task",
    "data": {"step": "provision", "name": "Install nginx", "status": "changed", "duration_ms": 5120}
}))]
pub(crate) struct EventBody {
    /// Its number in the one sequence of all events; later events have higher ones.
    seq: i64,
    /// The job that it belongs to.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    job_id: Option<JobId>,
    /// The node that it belongs to.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    node_id: Option<NodeId>,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[schema(value_type = EventKindText)]
    kind: EventKind,
    /// What it tells, by kind: a step's, task's or job's status, or a line of output.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        Self {
            seq: event.seq,
            job_id: event.job_id,
            node_id: event.node_id,
            at: event.at,
            kind: event.kind,
            data: event.data,
        }
    }
}

/// Events of all jobs, oldest first.
#[utoipa::path(
    get, path = "/api/events", operation_id = "list_events", tag = "jobs", params(EventsQuery),
    responses((status = 200, description = "The next events.", body = EventList))
)]
pub(crate) async fn list(
    state: web::Data<ApiState>,
    Query(query): Query<EventsQuery>,
) -> Result<HttpResponse, ApiError> {
    events(&state, query.job_id, query.after, query.limit).await
}

/// Events of one job, oldest first.
#[utoipa::path(
    get, path = "/api/jobs/{id}/events", operation_id = "list_job_events", tag = "jobs",
    params(("id" = String, Path, format = "uuid", description = "The job's id"), JobEventsQuery),
    responses((status = 200, description = "The next events.", body = EventList))
)]
pub(crate) async fn of_job(
    state: web::Data<ApiState>,
    PathId(id): PathId<JobId>,
    Query(query): Query<JobEventsQuery>,
) -> Result<HttpResponse, ApiError> {
    state.jobs.get(id).await?;
    events(&state, Some(id), query.after, query.limit).await
}

async fn events(
    state: &ApiState,
    job_id: Option<JobId>,
    after: Option<i64>,
    asked: Option<u32>,
) -> Result<HttpResponse, ApiError> {
    let after = after.unwrap_or(0);
    if after < 0 {
        return Err(ApiError::bad_request("`after` is the number of an event or 0."));
    }
    let filter = EventFilter {
        after,
        job_id,
        limit: limit(asked)?,
    };
    let events = state.jobs.events(&filter).await?;
    Ok(HttpResponse::Ok().json(EventList {
        next_after: events.last().map_or(after, |event| event.seq),
        items: events.into_iter().map(EventBody::from).collect(),
    }))
}
