//! `/nodes` and what can be asked of a node.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{AccountId, ApiErrorCode, NodeId};
use http_session::{ApiError, Operator};
use jobs::{JobView, PageRequest};
use nodes_domain::{AcquisitionSource, Fingerprint, Node};
use operations::UseCaseError;
use serde::{Deserialize, Serialize};

use crate::UiState;
use crate::form::{Sent, fields, see};
use crate::view::activity::SHOWN;
use crate::view::create::{CreateView, KeyView};
use crate::view::node::NodeRow;
use crate::view::provider::SourceProvider;
use crate::view::text::{Piece, prose};

/// The list.
pub(crate) const LIST: &str = "/nodes";

/// Rows of a page.
const ROWS: u32 = 20;

/// Which page of the list.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    cursor: Option<String>,
}

#[derive(Serialize)]
struct ListView {
    operator: String,
    /// Where a `GET` shows this list: the page may be the answer to a form, at an address that serves no `GET`.
    here: String,
    /// The rows tell everything up to this event.
    after: i64,
    now: String,
    local: SourceProvider,
    remote: SourceProvider,
    key: KeyView,
    create: CreateView,
    alert: Option<Vec<Piece>>,
    rows: Vec<NodeRow>,
    is_first: bool,
    next: Option<String>,
}

/// The form that pins another host key.
#[derive(Deserialize)]
pub(crate) struct PinForm {
    #[serde(default)]
    fingerprint: String,
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
    // First: what happens while the rest is read is told by the events after this one.
    let after = ui.jobs.last_seq().await?;
    let request = PageRequest {
        limit: ROWS,
        after: cursor.map(|id| id.to_string()),
    };
    let page = ui.nodes.list(false, &request).await?;
    let rows = rows(ui, &page.items).await?;
    let seen = ui.providers.seen().await;
    let view = ListView {
        operator: operator.session.email.to_string(),
        here: cursor.map_or_else(|| LIST.to_owned(), |id| format!("{LIST}?cursor={id}")),
        after,
        now: ui.clock.now().to_string(),
        local: SourceProvider::new(AcquisitionSource::Local, &seen),
        remote: SourceProvider::new(AcquisitionSource::Remote, &seen),
        key: KeyView::new(ui.nodes.ssh_key().await),
        create,
        alert: alert.map(|alert| prose(&alert)),
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
    let key_line = key_line(ui, nodes).await;
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
        rows.push(NodeRow::new(node, job, key_line.as_deref(), now));
    }
    Ok(rows)
}

/// The line that installs Pressluft's key, which jobs of remote nodes tell. Where there is no key, no job has told it.
async fn key_line(ui: &UiState, nodes: &[Node]) -> Option<String> {
    let is_told = nodes.iter().any(|node| node.source == AcquisitionSource::Remote);
    let key = if is_told { ui.nodes.ssh_key().await.ok() } else { None };
    key.map(|key| key.install_command())
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

/// `POST /nodes/{id}/host-key`
pub(crate) async fn pin_host_key(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<PinForm>,
) -> Result<HttpResponse, ApiError> {
    let id = node_id(&id)?;
    let fingerprint: Fingerprint = match fields(sent)?.fingerprint.trim().parse() {
        Ok(fingerprint) => fingerprint,
        Err(error) => {
            let error = UseCaseError::Invalid(format!("`fingerprint`: {error}."));
            return refused(&ui, &operator, error).await;
        }
    };
    match ui.nodes.pin_host_key(id, fingerprint, by(&operator)).await {
        Ok(_) => Ok(see(LIST)),
        Err(error) => refused(&ui, &operator, error).await,
    }
}

/// The list again, saying why the request was refused. What is not there, and Pressluft's own errors, have a page of
/// their own.
pub(crate) async fn refused(ui: &UiState, operator: &Operator, error: UseCaseError) -> Result<HttpResponse, ApiError> {
    refused_with(ui, operator, error, CreateView::empty()).await
}

/// The same, with the forms as they were sent.
pub(crate) async fn refused_with(
    ui: &UiState,
    operator: &Operator,
    error: UseCaseError,
    create: CreateView,
) -> Result<HttpResponse, ApiError> {
    let alert = error.to_string();
    let error = ApiError::from(error);
    if matches!(error.code(), ApiErrorCode::NotFound | ApiErrorCode::Internal) {
        return Err(error);
    }
    let status = actix_web::ResponseError::status_code(&error);
    show(ui, operator, status, None, create, Some(alert)).await
}

/// Who asks.
pub(crate) fn by(operator: &Operator) -> Option<AccountId> {
    Some(operator.session.account_id)
}

fn node_id(text: &str) -> Result<NodeId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("node"))
}
