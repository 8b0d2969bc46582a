//! `/nodes` and what can be asked of a node.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{AccountId, NodeId};
use http_session::{ApiError, Operator};
use jobs::{JobView, PageRequest};
use nodes_domain::{Idempotency, Node, NodeName};
use operations::{CreateLocalNode, UseCaseError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::UiState;
use crate::form::{Sent, fields, see};
use crate::view::activity::SHOWN;
use crate::view::node::NodeRow;
use crate::view::provider::LocalProvider;
use crate::view::text::sentence;

/// The list.
const LIST: &str = "/nodes";

/// Rows of a page.
const ROWS: u32 = 20;

/// Which page of the list.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    cursor: Option<String>,
}

/// The form that asks for a node.
#[derive(Deserialize)]
pub(crate) struct CreateForm {
    #[serde(default)]
    acquisition_source: String,
    #[serde(default)]
    name: String,
    /// Made with the form, so that a form that is sent twice makes one node.
    #[serde(default)]
    form_key: String,
}

#[derive(Serialize)]
struct ListView {
    operator: String,
    /// Where a `GET` shows this list: the page may be the answer to a form, at an address that serves no `GET`.
    here: String,
    /// The rows tell everything up to this event.
    after: i64,
    now: String,
    local: LocalProvider,
    create: CreateView,
    alert: Option<String>,
    rows: Vec<NodeRow>,
    is_first: bool,
    next: Option<String>,
}

#[derive(Serialize)]
struct CreateView {
    name: String,
    error: Option<String>,
    form_key: String,
}

impl CreateView {
    fn new(name: &str, error: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            error,
            form_key: Uuid::now_v7().to_string(),
        }
    }
}

#[derive(Serialize)]
struct RowView {
    row: NodeRow,
}

#[derive(Serialize)]
struct DeleteView {
    operator: String,
    row: NodeRow,
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
    show(&ui, &operator, StatusCode::OK, after, CreateView::new("", None), None).await
}

/// The list, with what was wrong with the last request on it.
async fn show(
    ui: &UiState,
    operator: &Operator,
    status: StatusCode,
    cursor: Option<NodeId>,
    create: CreateView,
    alert: Option<String>,
) -> Result<HttpResponse, ApiError> {
    // First: what happens while the rest is read is told by the events after this one.
    let after = ui.jobs.last_seq().await?;
    let request = PageRequest {
        limit: ROWS,
        after: cursor.map(|id| id.to_string()),
    };
    let page = ui.nodes.list(false, &request).await?;
    let rows = rows(ui, &page.items).await?;
    let view = ListView {
        operator: operator.session.email.to_string(),
        here: cursor.map_or_else(|| LIST.to_owned(), |id| format!("{LIST}?cursor={id}")),
        after,
        now: ui.clock.now().to_string(),
        local: LocalProvider::new(ui.providers.seen().await),
        create,
        alert,
        rows,
        is_first: cursor.is_none(),
        next: page.next,
    };
    ui.pages.show(status, "nodes.html", &view)
}

async fn rows(ui: &UiState, nodes: &[Node]) -> Result<Vec<NodeRow>, ApiError> {
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    let latest = ui.jobs.latest_of(&ids).await?.into_iter();
    let mut latest: HashMap<NodeId, JobView> = latest.filter_map(|view| Some((view.job.node_id?, view))).collect();
    let now = ui.clock.now();
    let mut rows = Vec::with_capacity(nodes.len());
    for node in nodes {
        let job = match latest.remove(&node.id) {
            Some(view) => {
                let events = ui.jobs.latest_events(view.job.id, SHOWN).await?;
                Some((view, events))
            }
            None => None,
        };
        rows.push(NodeRow::new(node, job, now));
    }
    Ok(rows)
}

async fn row_of(ui: &UiState, id: NodeId) -> Result<NodeRow, ApiError> {
    let node = ui.nodes.get(id).await?;
    let rows = rows(ui, &[node]).await?;
    rows.into_iter().next().ok_or_else(|| ApiError::not_found("node"))
}

/// `GET /nodes/{id}/row`: one row, for a page that is open.
pub(crate) async fn row(ui: web::Data<UiState>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let row = row_of(&ui, node_id(&id)?).await?;
    ui.pages.show(StatusCode::OK, "row.html", &RowView { row })
}

/// `POST /nodes`
pub(crate) async fn create(
    ui: web::Data<UiState>,
    operator: Operator,
    sent: Sent<CreateForm>,
) -> Result<HttpResponse, ApiError> {
    let form = fields(sent)?;
    if form.acquisition_source != "local" {
        let error = UseCaseError::Invalid("Only local nodes can be created in this version.".to_owned());
        return refused(&ui, &operator, error).await;
    }
    let name = match form.name.trim() {
        "" => None,
        name => match name.parse::<NodeName>() {
            Ok(name) => Some(name),
            Err(error) => {
                let create = CreateView::new(&form.name, Some(sentence(&error.to_string())));
                return show(&ui, &operator, StatusCode::BAD_REQUEST, None, create, None).await;
            }
        },
    };
    let idempotency = idempotency(&operator, &form);
    match ui
        .nodes
        .create_local(CreateLocalNode { name }, idempotency, by(&operator))
        .await
    {
        Ok(_) => Ok(see(LIST)),
        Err(error) => refused(&ui, &operator, error).await,
    }
}

/// Makes the same form, sent twice, one request. With another name it is another request.
fn idempotency(operator: &Operator, form: &CreateForm) -> Option<Idempotency> {
    let form_key: Uuid = form.form_key.parse().ok()?;
    let digest = Sha256::digest(format!("POST /nodes\nlocal\n{}", form.name));
    let request_hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Idempotency {
        account_id: operator.session.account_id,
        key: format!("{form_key}.{request_hash}"),
        request_hash,
    })
}

/// `POST /nodes/{id}/provision`
pub(crate) async fn provision(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    match ui.nodes.provision(node_id(&id)?, by(&operator)).await {
        Ok(_) => Ok(see(LIST)),
        Err(error) => refused(&ui, &operator, error).await,
    }
}

/// `GET /nodes/{id}/delete`: says what will be gone, and asks.
pub(crate) async fn ask_to_delete(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let view = DeleteView {
        row: row_of(&ui, node_id(&id)?).await?,
        operator: operator.session.email.to_string(),
    };
    ui.pages.show(StatusCode::OK, "delete.html", &view)
}

/// `POST /nodes/{id}/delete`
pub(crate) async fn delete(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    match ui.nodes.delete(node_id(&id)?, by(&operator)).await {
        Ok(_) => Ok(see(LIST)),
        Err(error) => refused(&ui, &operator, error).await,
    }
}

/// The list again, saying why the request was refused. What is not there, and Pressluft's own errors, have a page of
/// their own.
pub(crate) async fn refused(ui: &UiState, operator: &Operator, error: UseCaseError) -> Result<HttpResponse, ApiError> {
    let alert = error.to_string();
    let error = ApiError::from(error);
    let status = actix_web::ResponseError::status_code(&error);
    if status == StatusCode::NOT_FOUND || status.is_server_error() {
        return Err(error);
    }
    show(ui, operator, status, None, CreateView::new("", None), Some(alert)).await
}

/// Who asks.
pub(crate) fn by(operator: &Operator) -> Option<AccountId> {
    Some(operator.session.account_id)
}

fn node_id(text: &str) -> Result<NodeId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("node"))
}
