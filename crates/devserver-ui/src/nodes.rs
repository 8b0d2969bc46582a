//! `/nodes`: the list, and the two forms that ask for nodes.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{AccountId, ApiErrorCode, NodeId};
use http_session::{ApiError, Operator};
use jobs::{JobStatus, JobView, PageRequest, StepStatus};
use nodes_domain::{AcquisitionSource, ManagedKey, Node};
use operations::{UseCaseError, present_readiness};
use serde::{Deserialize, Serialize};

use crate::UiState;
use crate::frame::{Frame, Section};
use crate::pace::Pace;
use crate::view::create::{CreateView, KeyView};
use crate::view::node::NodeRow;
use crate::view::node_job::JobFacts;
use crate::view::provider::SourceProvider;
use crate::view::text::{Piece, prose};

/// The list.
pub(crate) const LIST: &str = "/nodes";

/// Rows of a page.
const ROWS: u32 = 20;

/// How many of a job's newest events may tell what it waits for.
const EVENTS: u32 = 200;

/// Which page of the list.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    cursor: Option<String>,
}

#[derive(Serialize)]
struct ListView {
    frame: Frame,
    local: SourceProvider,
    remote: SourceProvider,
    key: KeyView,
    create: CreateView,
    alert: Option<Vec<Piece>>,
    rows: Vec<NodeRow>,
    is_first: bool,
    next: Option<String>,
}

/// `GET /nodes`
pub(crate) async fn list(
    ui: web::Data<UiState>,
    operator: Operator,
    query: Result<web::Query<ListQuery>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let cursor = query.map_or(None, |query| query.into_inner().cursor);
    let after = match cursor.map(|cursor| cursor.parse::<NodeId>()) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            return Err(ApiError::bad_request(
                "There is no such page of the list. Go to the first one.",
            ));
        }
    };
    show(&ui, &operator, StatusCode::OK, after, CreateView::empty(), None).await
}

/// The list, with what was wrong with the last request on it.
pub(crate) async fn show(
    ui: &UiState,
    operator: &Operator,
    status: StatusCode,
    cursor: Option<NodeId>,
    create: CreateView,
    alert: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let here = cursor.map_or_else(|| LIST.to_owned(), |id| format!("{LIST}?cursor={id}"));
    let frame = Frame::new(ui, operator, Section::Nodes, here).await?;
    let request = PageRequest {
        limit: ROWS,
        after: cursor.map(|id| id.to_string()),
    };
    let page = ui.nodes.list(false, &request).await?;
    let key = ui.nodes.ssh_key().await;
    let rows = rows(ui, &page.items, key.as_ref().ok()).await?;
    let seen = ui.providers.seen().await;
    let view = ListView {
        frame,
        local: SourceProvider::new(AcquisitionSource::Local, &seen),
        remote: SourceProvider::new(AcquisitionSource::Remote, &seen),
        key: KeyView::new(key),
        create,
        alert: alert.map(|alert| prose(&alert)),
        rows,
        is_first: cursor.is_none(),
        next: page.next,
    };
    ui.pages.show(status, "nodes.html", &view)
}

/// A query for all rows each, but for what a step is looking again for: jobs at work are as few as workers.
async fn rows(ui: &UiState, nodes: &[Node], key: Option<&ManagedKey>) -> Result<Vec<NodeRow>, ApiError> {
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    let latest = ui.jobs.latest_of(&ids).await?;
    let mut jobs: HashMap<NodeId, JobFacts> = HashMap::new();
    for facts in job_facts(ui, latest).await? {
        jobs.extend(facts.view.job.node_id.map(|id| (id, facts)));
    }
    let loads = ui.sites.node_loads().await?.into_iter();
    let loads: HashMap<NodeId, u64> = loads.map(|load| (load.node_id, load.environments)).collect();
    let key_line = key.map(ManagedKey::install_command);
    let now = ui.clock.now();
    let row = |node: &Node| {
        let environments = loads.get(&node.id).copied().unwrap_or_default();
        let readiness = present_readiness(node, now);
        let job = jobs.get(&node.id);
        NodeRow::new(node, &readiness, environments, job, key_line.as_deref(), now)
    };
    Ok(nodes.iter().map(row).collect())
}

/// What these jobs of nodes are shown by.
pub(crate) async fn job_facts(ui: &UiState, views: Vec<JobView>) -> Result<Vec<JobFacts>, ApiError> {
    let open: Vec<&JobView> = views.iter().filter(|view| !view.job.status.is_terminal()).collect();
    let pace = Pace::of(ui, &open).await?;
    let now = ui.clock.now();
    let mut facts = Vec::with_capacity(views.len());
    for view in views {
        let events = if may_look_again(&view) {
            ui.jobs.latest_events(view.job.id, EVENTS).await?
        } else {
            Vec::new()
        };
        let left = pace.left(&view, now);
        facts.push(JobFacts { view, events, left });
    }
    Ok(facts)
}

/// Whether a step runs that may have parked before: it keeps the line that it told then.
fn may_look_again(view: &JobView) -> bool {
    let runs_on = |status, detail: Option<&String>| status == StepStatus::Started && detail.is_some();
    view.job.status == JobStatus::Running && view.steps.iter().any(|step| runs_on(step.status, step.detail.as_ref()))
}

/// The list again, saying why the request was refused, with the forms as they were sent. What is not there, and
/// Pressluft's own errors, have a page of their own.
pub(crate) async fn refused_with(
    ui: &UiState,
    operator: &Operator,
    error: UseCaseError,
    create: CreateView,
) -> Result<HttpResponse, ApiError> {
    let (status, alert) = refusal(error)?;
    show(ui, operator, status, None, create, Some(alert)).await
}

/// What a page says of a request that was refused, and with which status.
pub(crate) fn refusal(error: UseCaseError) -> Result<(StatusCode, String), ApiError> {
    let alert = error.to_string();
    let error = ApiError::from(error);
    if matches!(error.code(), ApiErrorCode::NotFound | ApiErrorCode::Internal) {
        return Err(error);
    }
    Ok((actix_web::ResponseError::status_code(&error), alert))
}

/// Who asks.
pub(crate) fn by(operator: &Operator) -> Option<AccountId> {
    Some(operator.session.account_id)
}
