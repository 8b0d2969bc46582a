//! `/nodes/{id}`: one node, and what can be asked of it.

use std::collections::{BTreeSet, HashMap};

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{NodeId, SiteId, Timestamp};
use http_session::{ApiError, Operator};
use jobs::{JobFilter, JobView, PageRequest};
use nodes_domain::{AcquisitionSource, Fingerprint, Node, Readiness};
use operations::{UseCaseError, present_readiness};
use serde::{Deserialize, Serialize};

use crate::UiState;
use crate::form::{Sent, fields, see};
use crate::frame::{Frame, Section};
use crate::nodes::{LIST, by, job_facts, refusal};
use crate::pace::Pace;
use crate::view::job_line::JobLine;
use crate::view::node::NodeRow;
use crate::view::node_page::{EnvironmentOnNode, EvidenceView, JobOnNode, SiteLink};
use crate::view::text::{Piece, prose};

/// Jobs that the page lists.
const JOBS: u32 = 10;

/// What the page is asked to ask.
#[derive(Deserialize)]
pub(crate) struct PageQuery {
    confirm: Option<String>,
}

/// The form that pins another host key.
#[derive(Deserialize)]
pub(crate) struct PinForm {
    #[serde(default)]
    fingerprint: String,
}

#[derive(Serialize)]
struct PageView {
    frame: Frame,
    node: NodeRow,
    evidence: EvidenceView,
    /// Whether what was just seen is shown in the place of what is stored.
    is_unkept: bool,
    environments: Vec<EnvironmentOnNode>,
    /// The sites that these are of.
    sites: Vec<SiteLink>,
    /// Jobs on the node, its newest one left out.
    jobs: Vec<JobOnNode>,
    alert: Option<Vec<Piece>>,
    /// Whether the request did not fit what goes on: it may have to wait for the job at work.
    is_conflict: bool,
    /// What was typed for a fingerprint and was refused.
    fingerprint: String,
}

#[derive(Serialize)]
struct AskView {
    frame: Frame,
    node: NodeRow,
    sites: Vec<SiteLink>,
}

/// What the page says beside what is stored.
#[derive(Default)]
struct Said {
    status: StatusCode,
    alert: Option<String>,
    fingerprint: String,
    /// What a look saw that was not stored.
    seen: Option<Readiness>,
}

/// `GET /nodes/{id}`, and what `?confirm=delete` asks
pub(crate) async fn show(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    query: Result<web::Query<PageQuery>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let id = node_id(&id)?;
    let confirm = query.map_or(None, |query| query.into_inner().confirm);
    match confirm.as_deref() {
        Some("delete") => ask_to_delete(&ui, &operator, id).await,
        _ => page(&ui, &operator, id, Said::default()).await,
    }
}

/// The page of a node, with what was wrong with the last request on it.
async fn page(ui: &UiState, operator: &Operator, id: NodeId, said: Said) -> Result<HttpResponse, ApiError> {
    let frame = Frame::new(ui, operator, Section::Nodes, place(id)).await?;
    let node = ui.nodes.get(id).await?;
    let now = ui.clock.now();
    let environments = environments(ui, id).await?;
    let is_unkept = said.seen.is_some();
    // What was seen just now goes for what is stored.
    let node = match said.seen {
        Some(seen) => Node {
            readiness: Some(seen),
            ..node
        },
        None => node,
    };
    let view = PageView {
        frame,
        evidence: EvidenceView::new(node.readiness.as_ref(), now),
        node: row(ui, &node, environments.len() as u64, now).await?,
        is_unkept,
        sites: SiteLink::of(&environments),
        environments,
        jobs: jobs(ui, id, now).await?,
        is_conflict: said.status == StatusCode::CONFLICT,
        alert: said.alert.map(|alert| prose(&alert)),
        fingerprint: said.fingerprint,
    };
    ui.pages.show(said.status, "node.html", &view)
}

async fn row(ui: &UiState, node: &Node, environments: u64, now: Timestamp) -> Result<NodeRow, ApiError> {
    let latest = ui.jobs.latest_of(&[node.id]).await?;
    let job = job_facts(ui, latest).await?.pop();
    // Jobs of remote nodes tell the line that installs Pressluft's key. Where there is no key, no job has told it.
    let key = match node.source {
        AcquisitionSource::Remote => ui.nodes.ssh_key().await.ok(),
        AcquisitionSource::Local => None,
    };
    let key_line = key.map(|key| key.install_command());
    let readiness = present_readiness(node, now);
    Ok(NodeRow::new(
        node,
        &readiness,
        environments,
        job.as_ref(),
        key_line.as_deref(),
        now,
    ))
}

async fn environments(ui: &UiState, id: NodeId) -> Result<Vec<EnvironmentOnNode>, ApiError> {
    let environments = ui.sites.environments_on(id).await?;
    let names = site_names(ui, environments.iter().map(|environment| environment.site_id)).await?;
    let on_node = environments.iter().map(|environment| {
        let site_name = names.get(&environment.site_id);
        EnvironmentOnNode::new(environment, site_name.map(String::as_str))
    });
    Ok(on_node.collect())
}

/// The names of these sites, as far as they are there.
async fn site_names(ui: &UiState, ids: impl Iterator<Item = SiteId>) -> Result<HashMap<SiteId, String>, ApiError> {
    let ids: Vec<SiteId> = ids.collect::<BTreeSet<_>>().into_iter().collect();
    let names = ui.sites.names(&ids, 0).await?.into_iter();
    Ok(names.map(|(id, name)| (id, name.as_str().to_owned())).collect())
}

/// The newest jobs on the node, those of sites on it among them, without the one that the page begins with.
async fn jobs(ui: &UiState, id: NodeId, now: Timestamp) -> Result<Vec<JobOnNode>, ApiError> {
    let filter = JobFilter {
        node_id: Some(id),
        ..JobFilter::default()
    };
    let request = PageRequest {
        limit: JOBS,
        after: None,
    };
    let mut views = ui.jobs.list(&filter, &request).await?.items;
    if let Some(own) = views.iter().position(|view| view.job.site_id.is_none()) {
        views.remove(own);
    }
    let names = site_names(ui, views.iter().filter_map(|view| view.job.site_id)).await?;
    let open: Vec<&JobView> = views.iter().filter(|view| !view.job.status.is_terminal()).collect();
    let pace = Pace::of(ui, &open).await?;
    let lines = views.iter().map(|view| {
        let site = view.job.site_id.and_then(|id| Some(SiteLink::new(id, names.get(&id)?)));
        JobOnNode::new(view.job.id, JobLine::new(view, pace.left(view, now), now), site)
    });
    Ok(lines.collect())
}

/// Says what will be gone, and asks.
async fn ask_to_delete(ui: &UiState, operator: &Operator, id: NodeId) -> Result<HttpResponse, ApiError> {
    let here = format!("{}?confirm=delete", place(id));
    let frame = Frame::new(ui, operator, Section::Nodes, here).await?;
    let node = ui.nodes.get(id).await?;
    let environments = environments(ui, id).await?;
    let view = AskView {
        frame,
        node: row(ui, &node, environments.len() as u64, ui.clock.now()).await?,
        sites: SiteLink::of(&environments),
    };
    ui.pages.show(StatusCode::OK, "node_asks.html", &view)
}

/// `POST /nodes/{id}/provision`
pub(crate) async fn provision(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = node_id(&id)?;
    match ui.nodes.provision(id, by(&operator)).await {
        Ok(_) => Ok(see(&place(id))),
        Err(error) => refused(&ui, &operator, id, error, String::new()).await,
    }
}

/// `POST /nodes/{id}/check`: looks at the machine now.
pub(crate) async fn check(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = node_id(&id)?;
    let seen = match ui.nodes.check_readiness(id).await {
        Ok(seen) => seen,
        Err(error) => return refused(&ui, &operator, id, error, String::new()).await,
    };
    let stored = ui.nodes.get(id).await?.readiness;
    if stored.is_some_and(|stored| stored.checked_at == seen.checked_at) {
        return Ok(see(&place(id)));
    }
    // Only what is seen of a node at rest is kept.
    let said = Said {
        seen: Some(seen),
        ..Said::default()
    };
    page(&ui, &operator, id, said).await
}

/// `POST /nodes/{id}/delete`
pub(crate) async fn delete(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = node_id(&id)?;
    match ui.nodes.delete(id, by(&operator)).await {
        Ok(_) => Ok(see(&place(id))),
        Err(error) => refused(&ui, &operator, id, error, String::new()).await,
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
    let typed = fields(sent)?.fingerprint;
    let pinned = match typed.trim().parse::<Fingerprint>() {
        Ok(fingerprint) => ui.nodes.pin_host_key(id, fingerprint, by(&operator)).await,
        Err(error) => Err(UseCaseError::Invalid(format!("`fingerprint`: {error}."))),
    };
    match pinned {
        Ok(_) => Ok(see(&place(id))),
        Err(error) => refused(&ui, &operator, id, error, typed).await,
    }
}

/// The node again, saying why the request was refused.
async fn refused(
    ui: &UiState,
    operator: &Operator,
    id: NodeId,
    error: UseCaseError,
    fingerprint: String,
) -> Result<HttpResponse, ApiError> {
    let (status, alert) = refusal(error)?;
    let said = Said {
        status,
        alert: Some(alert),
        fingerprint,
        seen: None,
    };
    page(ui, operator, id, said).await
}

/// Where a node is shown.
fn place(id: NodeId) -> String {
    format!("{LIST}/{id}")
}

fn node_id(text: &str) -> Result<NodeId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("node"))
}
