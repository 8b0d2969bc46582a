//! `/sites`: the list, and asking for a site.

use std::collections::HashMap;

use accounts_domain::Email;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{ApiErrorCode, NodeId, SiteId};
use http_session::{ApiError, Operator};
use jobs::{JobFilter, JobStatus, JobView, PageRequest};
use nodes_domain::{Node, NodeStatus};
use operations::{CreateSite, UseCaseError, present_readiness};
use serde::{Deserialize, Serialize};
use sites_domain::Site;

use crate::UiState;
use crate::create::{optional, read};
use crate::form::{Sent, fields, idempotency, see, slug_of};
use crate::frame::{Frame, Section};
use crate::nodes::by;
use crate::pace::Pace;
use crate::view::create::FieldErrors;
use crate::view::environment::NodeLink;
use crate::view::job_line::JobLine;
use crate::view::site::{RowParts, SiteRow};
use crate::view::site_form::{CreateSiteView, TypedSite};
use crate::view::text::{Piece, prose};

/// The list.
pub(crate) const LIST: &str = "/sites";

/// Rows of a page.
const ROWS: u32 = 20;

/// So many of a site's newest jobs are looked through for one that is not over.
const JOBS: u32 = 5;

/// Which page of the list.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    cursor: Option<String>,
}

/// The form of a new site.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CreateForm {
    form_key: String,
    name: String,
    slug: String,
    node_id: String,
    admin_email: String,
}

#[derive(Serialize)]
struct ListView {
    frame: Frame,
    alert: Option<Vec<Piece>>,
    create: CreateSiteView,
    /// Whether there is a ready node, or something was typed that has to stay.
    has_form: bool,
    has_node: bool,
    rows: Vec<SiteRow>,
    is_first: bool,
    next: Option<String>,
}

/// A form as it was sent, with what was wrong with it.
struct Refused {
    form: CreateForm,
    errors: FieldErrors,
    status: StatusCode,
    alert: Option<String>,
}

impl CreateForm {
    /// Reads every field before any is missed, in the order of the form.
    fn read(&self, errors: &mut FieldErrors) -> Option<CreateSite> {
        let name = errors.take("name", read(&self.name));
        let slug = errors.take("slug", read(&self.slug()));
        // One of the values that the form has; a browser sends no other.
        let node_id = errors.take("node_id", optional(&self.node_id, read));
        let email = read::<Email>(self.admin_email.trim());
        let admin_email = errors.take("admin_email", email);
        Some(CreateSite {
            name: name?,
            slug: slug?,
            node_id: node_id?,
            admin_email: admin_email?.to_string(),
        })
    }

    /// The slug that was typed, or else that of the name.
    fn slug(&self) -> String {
        match self.slug.trim() {
            "" => slug_of(&self.name),
            typed => typed.to_owned(),
        }
    }
}

/// `GET /sites`
pub(crate) async fn list(
    ui: web::Data<UiState>,
    operator: Operator,
    query: Result<web::Query<ListQuery>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let cursor = query.map_or(None, |query| query.into_inner().cursor);
    let after = cursor.map(|cursor| cursor.parse::<SiteId>()).transpose();
    let after = after.map_err(|_| ApiError::bad_request("There is no such page of the list. Go to the first one."))?;
    show(&ui, &operator, after, None).await
}

/// `POST /sites`
pub(crate) async fn create(
    ui: web::Data<UiState>,
    operator: Operator,
    sent: Sent<CreateForm>,
) -> Result<HttpResponse, ApiError> {
    let form = fields(sent)?;
    let mut errors = FieldErrors::default();
    let Some(request) = form.read(&mut errors) else {
        let refused = Refused {
            form,
            errors,
            status: StatusCode::BAD_REQUEST,
            alert: None,
        };
        return show(&ui, &operator, None, Some(refused)).await;
    };
    let texts = ["POST /sites", &form.name, &form.slug, &form.node_id, &form.admin_email];
    let key = idempotency(&operator, &form.form_key, texts);
    match ui.sites.create_site(request, key, by(&operator)).await {
        Ok(created) => Ok(see(&format!("{LIST}/{}", created.site_id))),
        Err(error) => {
            // A node that was chosen may be gone since; the site itself cannot be missing.
            let is_node = matches!(error, UseCaseError::NotFound(_));
            let (status, alert) = if is_node {
                (
                    StatusCode::CONFLICT,
                    "The node is not there any more. Choose another one.".to_owned(),
                )
            } else {
                refusal(error)?
            };
            let refused = Refused {
                form,
                errors,
                status,
                alert: Some(alert),
            };
            show(&ui, &operator, None, Some(refused)).await
        }
    }
}

/// What a page says of a refused request, with its status. What is not there, and Pressluft's own errors, have a page of
/// their own.
pub(crate) fn refusal(error: UseCaseError) -> Result<(StatusCode, String), ApiError> {
    let mut sentences = vec![error.to_string()];
    if let UseCaseError::NodeNotReady { reasons, .. } = &error {
        sentences.extend(reasons.iter().map(|reason| reason.message.clone()));
    }
    let error = ApiError::from(error);
    if matches!(error.code(), ApiErrorCode::NotFound | ApiErrorCode::Internal) {
        return Err(error);
    }
    Ok((actix_web::ResponseError::status_code(&error), sentences.join(" ")))
}

async fn show(
    ui: &UiState,
    operator: &Operator,
    after: Option<SiteId>,
    refused: Option<Refused>,
) -> Result<HttpResponse, ApiError> {
    let here = after.map_or_else(|| LIST.to_owned(), |id| format!("{LIST}?cursor={id}"));
    let frame = Frame::new(ui, operator, Section::Sites, here).await?;
    let request = PageRequest {
        limit: ROWS,
        after: after.map(|id| id.to_string()),
    };
    let page = ui.sites.sites(&request).await?;
    let nodes = live_nodes(ui).await?;
    let now = ui.clock.now();
    let is_ready = |node: &&Node| node.status == NodeStatus::Active && present_readiness(node, now).is_ready;
    let ready = nodes.iter().filter(is_ready);
    let mut ready: Vec<_> = ready
        .map(|node| (node.id.to_string(), node.name.as_str().to_owned()))
        .collect();
    ready.sort_by_key(|(id, name)| (name.to_lowercase(), id.clone()));
    let has_node = !ready.is_empty();
    let (status, alert, form, errors) = match refused {
        Some(refused) => (refused.status, refused.alert, Some(refused.form), refused.errors),
        None => (StatusCode::OK, None, None, FieldErrors::default()),
    };
    let has_form = has_node || form.is_some();
    let form = form.unwrap_or_else(|| CreateForm {
        admin_email: operator.session.email.to_string(),
        ..CreateForm::default()
    });
    let typed = TypedSite {
        name: &form.name,
        slug: &form.slug,
        node_id: &form.node_id,
        admin_email: &form.admin_email,
    };
    let view = ListView {
        frame,
        alert: alert.map(|alert| prose(&alert)),
        create: CreateSiteView::new(&typed, &errors, ready),
        has_form,
        has_node,
        rows: rows(ui, &page.items, &nodes).await?,
        is_first: after.is_none(),
        next: page.next,
    };
    ui.pages.show(status, "sites.html", &view)
}

async fn rows(ui: &UiState, sites: &[Site], nodes: &[Node]) -> Result<Vec<SiteRow>, ApiError> {
    let known: HashMap<NodeId, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let mut newest = Vec::with_capacity(sites.len());
    for site in sites {
        newest.push(newest_job(ui, site.id).await?);
    }
    let views: Vec<&JobView> = newest.iter().flatten().collect();
    let pace = Pace::of(ui, &views).await?;
    let now = ui.clock.now();
    let mut rows = Vec::with_capacity(sites.len());
    for (site, job) in sites.iter().zip(&newest) {
        let id = site.primary_environment_id;
        // One that is removed while the page is made is none.
        let environment = present(ui.sites.environment(id).await)?;
        let newest_backup = ui.sites.newest_backup(id).await?;
        let node = environment.as_ref().map(|known| known.node_id);
        let node = node.map(|id| {
            known
                .get(&id)
                .map_or_else(|| NodeLink::gone(id), |node| NodeLink::new(node))
        });
        let is_of_interest = |view: &&JobView| view.job.status != JobStatus::Succeeded;
        let job = job.as_ref().filter(is_of_interest);
        let parts = RowParts {
            environment,
            node,
            newest_backup,
            job: job.map(|view| JobLine::new(view, pace.left(view, now), now)),
        };
        rows.push(SiteRow::new(site, parts, now));
    }
    Ok(rows)
}

/// What was found; nothing where it is not there.
fn present<T>(found: Result<T, UseCaseError>) -> Result<Option<T>, UseCaseError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(UseCaseError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The job of a site that matters most: the one at work, else one that waits, else the newest.
pub(crate) async fn newest_job(ui: &UiState, site: SiteId) -> Result<Option<JobView>, ApiError> {
    let filter = JobFilter {
        site_id: Some(site),
        ..JobFilter::default()
    };
    let page = PageRequest {
        limit: JOBS,
        after: None,
    };
    let mut found = ui.jobs.list(&filter, &page).await?.items;
    let of_status = |status| found.iter().rposition(|view| view.job.status == status);
    let at = of_status(JobStatus::Running).or_else(|| of_status(JobStatus::Queued));
    let at = at.unwrap_or(0);
    Ok((at < found.len()).then(|| found.swap_remove(at)))
}

/// Every node that is not deleted.
async fn live_nodes(ui: &UiState) -> Result<Vec<Node>, ApiError> {
    let mut nodes = Vec::new();
    let mut page = PageRequest {
        limit: 100,
        after: None,
    };
    loop {
        let found = ui.nodes.list(false, &page).await?;
        nodes.extend(found.items);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(nodes),
        }
    }
}
