//! `/nodes`: the list, and the two forms that ask for nodes.

use std::collections::HashMap;
use std::str::FromStr;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{AccountId, ApiErrorCode, NodeId};
use http_session::{ApiError, Operator};
use jobs::{JobStatus, JobView, PageRequest, StepStatus};
use nodes_domain::{AcquisitionSource, ManagedKey, Node, NodeFilter, NodeStatus};
use operations::{UseCaseError, present_readiness};
use serde::{Deserialize, Serialize};

use crate::UiState;
use crate::filter::{List, page_after};
use crate::frame::{Frame, Section};
use crate::pace::Pace;
use crate::view::create::{CreateView, KeyView};
use crate::view::filter::NodeFilterView;
use crate::view::node::{NodeRow, is_listed};
use crate::view::node_job::JobFacts;
use crate::view::provider::SourceProvider;
use crate::view::text::{Piece, prose};

/// The list.
pub(crate) const LIST: &str = "/nodes";

const NODES: List = List {
    path: LIST,
    things: "nodes",
};

/// Rows of a page.
const ROWS: u32 = 20;

/// How many of a job's newest events may tell what it waits for.
const EVENTS: u32 = 200;

/// Which nodes, and which page of them. An empty field is no filter.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    q: Option<String>,
    status: Option<String>,
    attention: Option<String>,
    cursor: Option<String>,
}

/// A part of the list.
#[derive(Default)]
struct Part {
    filter: NodeFilter,
    cursor: Option<NodeId>,
}

impl ListQuery {
    fn read(&self) -> Result<Part, ApiError> {
        let status: Option<ListedStatus> = NODES.chosen(self.status.as_deref(), "status of a node")?;
        let filter = NodeFilter {
            status: status.map(|ListedStatus(status)| status),
            search: NODES.search(self.q.as_deref())?,
            needs_attention: NODES.flag(self.attention.as_deref(), "choice of what needs attention")?,
            ..NodeFilter::default()
        };
        Ok(Part {
            filter,
            cursor: NODES.chosen(self.cursor.as_deref(), "page of the list")?,
        })
    }
}

/// A status of nodes that are listed.
struct ListedStatus(NodeStatus);

impl FromStr for ListedStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let status = text.parse()?;
        if is_listed(status) {
            Ok(Self(status))
        } else {
            Err(format!("nodes of this status are not listed: {text}"))
        }
    }
}

#[derive(Serialize)]
struct ListView {
    frame: Frame,
    local: SourceProvider,
    remote: SourceProvider,
    key: KeyView,
    create: CreateView,
    alert: Option<Vec<Piece>>,
    filter: NodeFilterView,
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
    let part = query.map_err(|_| NODES.unreadable())?.read()?;
    show_part(&ui, &operator, StatusCode::OK, &part, CreateView::empty(), None).await
}

/// The list, with what was wrong with the last request on it.
pub(crate) async fn show(
    ui: &UiState,
    operator: &Operator,
    status: StatusCode,
    create: CreateView,
    alert: Option<String>,
) -> Result<HttpResponse, ApiError> {
    show_part(ui, operator, status, &Part::default(), create, alert).await
}

async fn show_part(
    ui: &UiState,
    operator: &Operator,
    status: StatusCode,
    part: &Part,
    create: CreateView,
    alert: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let Part { filter, cursor } = part;
    let place = address(filter);
    let frame = Frame::new(ui, operator, Section::Nodes, page_after(&place, *cursor)).await?;
    let request = PageRequest {
        limit: ROWS,
        after: cursor.map(|id| id.to_string()),
    };
    let page = ui.nodes.list(filter, &request).await?;
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
        filter: NodeFilterView::new(filter, place),
        rows,
        is_first: cursor.is_none(),
        next: page.next,
    };
    ui.pages.show(status, "nodes.html", &view)
}

/// Where the nodes of a filter are listed.
fn address(filter: &NodeFilter) -> String {
    NODES.address(&[
        ("q", filter.search.as_ref().map(|search| search.as_str().to_owned())),
        ("status", filter.status.map(|status| status.to_string())),
        ("attention", filter.needs_attention.then(|| "true".to_owned())),
    ])
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
    show(ui, operator, status, create, Some(alert)).await
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
