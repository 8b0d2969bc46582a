//! `/jobs`: the list, filtered.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::JobId;
use http_session::{ApiError, Operator};
use jobs::{JobFilter, PageRequest};
use serde::{Deserialize, Serialize};

use crate::UiState;
use crate::filter::{List, page_after};
use crate::frame::{Frame, Section};
use crate::pace::Pace;
use crate::view::job_list::{FilterView, JobListRow, Names};

/// The list.
pub(crate) const LIST: &str = "/jobs";

const JOBS: List = List {
    path: LIST,
    things: "jobs",
};

/// Rows of a page.
const ROWS: u32 = 30;

/// The newest nodes and sites that can be chosen; the page of any node or site leads to its own jobs.
const CHOICES: u32 = 100;

/// Which jobs, and which page of them. An empty field is no filter.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    status: Option<String>,
    kind: Option<String>,
    node_id: Option<String>,
    site_id: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct ListView {
    frame: Frame,
    filter: FilterView,
    rows: Vec<JobListRow>,
    is_first: bool,
    next: Option<String>,
}

/// `GET /jobs`
pub(crate) async fn list(
    ui: web::Data<UiState>,
    operator: Operator,
    query: Result<web::Query<ListQuery>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let query = query.map_err(|_| JOBS.unreadable())?;
    let filter = JobFilter {
        status: JOBS.chosen(query.status.as_deref(), "status of a job")?,
        kind: JOBS.chosen(query.kind.as_deref(), "kind of job")?,
        node_id: JOBS.chosen(query.node_id.as_deref(), "id of a node")?,
        site_id: JOBS.chosen(query.site_id.as_deref(), "id of a site")?,
        ..JobFilter::default()
    };
    let cursor: Option<JobId> = JOBS.chosen(query.cursor.as_deref(), "page of the list")?;
    let here = page_after(&address(&filter), cursor);
    let frame = Frame::new(&ui, &operator, Section::Jobs, here).await?;
    let request = PageRequest {
        limit: ROWS,
        after: cursor.map(|id| id.to_string()),
    };
    let page = ui.jobs.list(&filter, &request).await?;
    let names = names(&ui, &filter, &page.items).await?;
    let pace = Pace::of(&ui, &page.items.iter().collect::<Vec<_>>()).await?;
    let now = ui.clock.now();
    let rows = page.items.iter();
    let view = ListView {
        frame,
        rows: rows
            .map(|view| JobListRow::new(view, pace.left(view, now), &names, now))
            .collect(),
        filter: FilterView::new(&filter, address(&filter), &names),
        is_first: cursor.is_none(),
        next: page.next,
    };
    ui.pages.show(StatusCode::OK, "jobs.html", &view)
}

/// The names of what these jobs work on and of what can be chosen, each kind of them in one look.
async fn names(ui: &UiState, filter: &JobFilter, views: &[jobs::JobView]) -> Result<Names, ApiError> {
    let of_jobs = views.iter().filter_map(|view| view.job.node_id);
    let nodes: Vec<_> = of_jobs.chain(filter.node_id).collect();
    let of_jobs = views.iter().filter_map(|view| view.job.site_id);
    let sites: Vec<_> = of_jobs.chain(filter.site_id).collect();
    Ok(Names {
        nodes: ui.nodes.names(&nodes, CHOICES).await?,
        sites: ui.sites.names(&sites, CHOICES).await?,
    })
}

/// Where the jobs of a filter are listed.
fn address(filter: &JobFilter) -> String {
    JOBS.address(&[
        ("status", filter.status.map(|status| status.to_string())),
        ("kind", filter.kind.map(|kind| kind.to_string())),
        ("node_id", filter.node_id.map(|id| id.to_string())),
        ("site_id", filter.site_id.map(|id| id.to_string())),
    ])
}
