//! `/sites`: the list, and asking for a site.

use std::collections::HashMap;

use accounts_domain::Email;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{ApiErrorCode, EnvironmentId, NodeId, SiteId, Timestamp};
use http_session::{ApiError, Operator};
use jobs::{JobStatus, JobView, PageRequest};
use nodes_domain::NodeBrief;
use operations::{CreateSite, UseCaseError};
use serde::{Deserialize, Serialize};
use sites_domain::{BackupCut, Environment, Site, SiteFilter};

use crate::UiState;
use crate::create::{optional, read};
use crate::filter::{List, page_after};
use crate::form::{Sent, fields, idempotency, see, slug_of};
use crate::frame::{Frame, Section};
use crate::nodes::by;
use crate::pace::Pace;
use crate::view::create::FieldErrors;
use crate::view::environment::NodeLink;
use crate::view::filter::SiteFilterView;
use crate::view::job_line::JobLine;
use crate::view::site::{RowParts, SiteRow};
use crate::view::site_form::{CreateSiteView, TypedSite};
use crate::view::text::{Piece, prose};

/// The list.
pub(crate) const LIST: &str = "/sites";

/// Rows of a page.
const ROWS: u32 = 20;

/// The newest nodes that sites can be chosen by; the page of any node leads to its own sites.
const CHOICES: u32 = 100;

const SITES: List = List {
    path: LIST,
    things: "sites",
};

/// Which sites, and which page of them. An empty field is no filter.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    q: Option<String>,
    status: Option<String>,
    node_id: Option<String>,
    unsaved: Option<String>,
    cursor: Option<String>,
}

/// A part of the list.
#[derive(Default)]
struct Part {
    filter: SiteFilter,
    cursor: Option<SiteId>,
}

impl ListQuery {
    fn read(&self, now: Timestamp) -> Result<Part, ApiError> {
        let is_unsaved = SITES.flag(self.unsaved.as_deref(), "choice of what is not saved")?;
        let filter = SiteFilter {
            search: SITES.search(self.q.as_deref())?,
            status: SITES.chosen(self.status.as_deref(), "status of a site")?,
            node_id: SITES.chosen(self.node_id.as_deref(), "id of a node")?,
            unsaved: is_unsaved.then(|| BackupCut::at(now)),
        };
        Ok(Part {
            filter,
            cursor: SITES.chosen(self.cursor.as_deref(), "page of the list")?,
        })
    }
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
    filter: SiteFilterView,
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
    let part = query.map_err(|_| SITES.unreadable())?.read(ui.clock.now())?;
    show(&ui, &operator, &part, None).await
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
        return show(&ui, &operator, &Part::default(), Some(refused)).await;
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
            show(&ui, &operator, &Part::default(), Some(refused)).await
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
    part: &Part,
    refused: Option<Refused>,
) -> Result<HttpResponse, ApiError> {
    let Part { filter, cursor } = part;
    let place = address(filter);
    let frame = Frame::new(ui, operator, Section::Sites, page_after(&place, *cursor)).await?;
    let request = PageRequest {
        limit: ROWS,
        after: cursor.map(|id| id.to_string()),
    };
    let page = ui.sites.sites(filter, &request).await?;
    let primaries: Vec<EnvironmentId> = page.items.iter().map(|site| site.primary_environment_id).collect();
    let environments = ui.sites.environments_by_ids(&primaries).await?;
    let homes: Vec<NodeId> = environments.iter().map(|environment| environment.node_id).collect();
    let nodes = ui.nodes.briefs(&homes).await?;
    let choices = ui.nodes.names(&Vec::from_iter(filter.node_id), CHOICES).await?;
    let ready = ready(&nodes);
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
        filter: SiteFilterView::new(filter, place, &choices),
        rows: rows(ui, &page.items, environments, &nodes).await?,
        is_first: cursor.is_none(),
        next: page.next,
    };
    ui.pages.show(status, "sites.html", &view)
}

/// Where the sites of a filter are listed.
fn address(filter: &SiteFilter) -> String {
    SITES.address(&[
        ("q", filter.search.as_ref().map(|search| search.as_str().to_owned())),
        ("status", filter.status.map(|status| status.to_string())),
        ("node_id", filter.node_id.map(|id| id.to_string())),
        ("unsaved", filter.unsaved.map(|_| "true".to_owned())),
    ])
}

/// The nodes that a site can be put on, by name.
fn ready(nodes: &[NodeBrief]) -> Vec<(String, String)> {
    let ready = nodes.iter().filter(|node| node.is_ready);
    let mut ready: Vec<_> = ready
        .map(|node| (node.id.to_string(), node.name.as_str().to_owned()))
        .collect();
    ready.sort_by_key(|(id, name)| (name.to_lowercase(), id.clone()));
    ready
}

/// A query for all rows each.
async fn rows(
    ui: &UiState,
    sites: &[Site],
    environments: Vec<Environment>,
    nodes: &[NodeBrief],
) -> Result<Vec<SiteRow>, ApiError> {
    let ids: Vec<SiteId> = sites.iter().map(|site| site.id).collect();
    let jobs = ui.jobs.of_interest(&ids).await?;
    let pace = Pace::of(ui, &jobs.iter().collect::<Vec<_>>()).await?;
    let jobs: HashMap<Option<SiteId>, &JobView> = jobs.iter().map(|view| (view.job.site_id, view)).collect();
    let ids: Vec<EnvironmentId> = environments.iter().map(|environment| environment.id).collect();
    let backups: HashMap<_, _> = ui.sites.newest_backups(&ids).await?.into_iter().collect();
    let nodes: HashMap<NodeId, &NodeBrief> = nodes.iter().map(|node| (node.id, node)).collect();
    let link = |id: NodeId| {
        nodes
            .get(&id)
            .map_or_else(|| NodeLink::gone(id), |node| NodeLink::of(node))
    };
    let mut environments: HashMap<EnvironmentId, Environment> =
        environments.into_iter().map(|known| (known.id, known)).collect();
    let now = ui.clock.now();
    let row = |site: &Site| {
        // One that is removed while the page is made is none.
        let environment = environments.remove(&site.primary_environment_id);
        let job = jobs.get(&Some(site.id));
        let of_interest = job.filter(|view| view.job.status != JobStatus::Succeeded);
        let parts = RowParts {
            node: environment.as_ref().map(|known| link(known.node_id)),
            newest_backup: backups.get(&site.primary_environment_id).copied(),
            was_asked: environment
                .as_ref()
                .is_some_and(|known| ui.sites.was_version_asked(known)),
            job: of_interest.map(|view| JobLine::new(view, pace.left(view, now), now)),
            environment,
        };
        SiteRow::new(site, parts, now)
    };
    Ok(sites.iter().map(row).collect())
}

/// The job of a site that matters most: the one at work, else one that waits, else the newest.
pub(crate) async fn newest_job(ui: &UiState, site: SiteId) -> Result<Option<JobView>, ApiError> {
    Ok(ui.jobs.of_interest(&[site]).await?.pop())
}
