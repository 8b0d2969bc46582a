//! `/api/events` and `/api/jobs/{id}/events`: a page of events as JSON, or all of them as they come as server-sent events.

use ::jobs::{Event, EventFilter, EventKind};
use accounts_domain::SessionToken;
use actix_web::http::Method;
use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use domain_kernel::{JobId, NodeId, Secret, Timestamp};
use http_session::{ApiError, Operator, SESSION_COOKIE};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ApiState;
use crate::extract::{PathId, Query};
use crate::page::limit;
use crate::schema::EventKindText;
use crate::stream::{self, EVENT_STREAM};

/// The number after which a client that comes back goes on; stronger than `after`, which is still in its address.
const LAST_EVENT_ID: &str = "last-event-id";

const LAST_EVENT_ID_SAYS: &str = "The last event that the client has; stronger than `after`. For streams.";

/// What a stream looks like.
const MESSAGES: &str = "retry: 1000\n\nid: 42\ndata: {\"seq\":42,\"job_id\":null,\"node_id\":\"01970000-0000-7000-8000-0123456789ab\",\
                        \"at\":\"2030-01-31T12:00:00Z\",\"kind\":\"status\",\"data\":{\"node_status\":\"active\"}}\n\n:\n\n";

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

impl EventBody {
    pub(crate) fn seq(&self) -> i64 {
        self.seq
    }
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

/// Events of all jobs, oldest first. By `Accept: text/event-stream` as a stream that goes on until the session ends: each
/// message's `id` is the event's number, its `data` the event as JSON; `limit` is not read. Where `after` is higher than the
/// number of the last event, as after a restore from a backup, the first message is of the type `reset` with the `data`
/// `{"last_seq": 17}`: what the client knows is void, and the stream goes on after that number.
#[utoipa::path(
    get, path = "/api/events", operation_id = "list_events", tag = "jobs",
    params(EventsQuery, ("Last-Event-ID" = Option<i64>, Header, description = LAST_EVENT_ID_SAYS)),
    responses((status = 200, description = "The next events.", content(
        (EventList = "application/json"), (String = "text/event-stream", example = json!(MESSAGES))
    )))
)]
pub(crate) async fn list(
    state: web::Data<ApiState>,
    Query(query): Query<EventsQuery>,
    operator: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let asked = Asked {
        job_id: query.job_id,
        after: query.after,
        limit: query.limit,
    };
    events(state, asked, &operator, &request).await
}

/// Events of one job, oldest first; as a stream like `GET /api/events`.
#[utoipa::path(
    get, path = "/api/jobs/{id}/events", operation_id = "list_job_events", tag = "jobs",
    params(("id" = String, Path, format = "uuid", description = "The job's id"), JobEventsQuery,
        ("Last-Event-ID" = Option<i64>, Header, description = LAST_EVENT_ID_SAYS)),
    responses((status = 200, description = "The next events.", content(
        (EventList = "application/json"), (String = "text/event-stream", example = json!(MESSAGES))
    )))
)]
pub(crate) async fn of_job(
    state: web::Data<ApiState>,
    PathId(id): PathId<JobId>,
    Query(query): Query<JobEventsQuery>,
    operator: Operator,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    state.jobs.get(id).await?;
    let asked = Asked {
        job_id: Some(id),
        after: query.after,
        limit: query.limit,
    };
    events(state, asked, &operator, &request).await
}

/// What is asked for, of either path.
struct Asked {
    job_id: Option<JobId>,
    after: Option<i64>,
    limit: Option<u32>,
}

async fn events(
    state: web::Data<ApiState>,
    asked: Asked,
    operator: &Operator,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let after = asked.after.unwrap_or(0);
    if after < 0 {
        return Err(ApiError::bad_request("`after` is the number of an event or 0."));
    }
    let filter = EventFilter {
        after,
        job_id: asked.job_id,
        limit: limit(asked.limit)?,
    };
    if wants_stream(request) {
        let filter = EventFilter {
            after: last_event_id(request)?.unwrap_or(after),
            ..filter
        };
        let token = request.cookie(SESSION_COOKIE).map(|cookie| cookie.value().to_owned());
        let token = SessionToken(Secret::new(token.unwrap_or_default()));
        return stream::follow(state, token, operator.session.expires_at, filter).await;
    }
    let events = state.jobs.events(&filter).await?;
    Ok(HttpResponse::Ok().json(EventList {
        next_after: events.last().map_or(after, |event| event.seq),
        items: events.into_iter().map(EventBody::from).collect(),
    }))
}

/// Whether the client names the media type of server-sent events; a browser's `EventSource` names nothing else. A request
/// for the head alone has no body to stream.
fn wants_stream(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    request.method() == Method::GET && accept.is_some_and(|accept| accept.contains(EVENT_STREAM))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<i64>, ApiError> {
    let Some(value) = request.headers().get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok());
    match number.filter(|number| *number >= 0) {
        Some(number) => Ok(Some(number)),
        None => Err(ApiError::bad_request("`Last-Event-ID` is the number of an event or 0.")),
    }
}
