//! `/jobs/{id}`: one job, and what can be asked of it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::JobId;
use http_session::{ApiError, Operator};
use jobs::{EventFilter, JobView};
use nodes_domain::{AcquisitionSource, Node};
use operations::UseCaseError;
use serde::{Deserialize, Serialize};
use sites_domain::{Environment, Site};

use crate::UiState;
use crate::form::{encoded, see};
use crate::frame::{Frame, Section};
use crate::jobs::LIST;
use crate::nodes::{by, refusal};
use crate::pace::Pace;
use crate::view::activity::{Activity, SEARCHED, SHOWN};
use crate::view::course::Course;
use crate::view::job::{JobRow, when_cancelled};
use crate::view::job_line::JobLine;
use crate::view::job_list::Subject;
use crate::view::job_text::{JobText, event_line};
use crate::view::text::{Piece, prose};
use crate::view::timeline::Timeline;
use crate::view::turn::TurnView;

/// Statuses, steps and tasks that a timeline is drawn from: the newest.
const COURSE: u32 = 5000;

/// Events that are read at a time for the job's text.
const AT_ONCE: u32 = 2000;

/// The longest text that is looked for in a log, in characters.
const MAX_QUERY: usize = 200;

/// What the page is asked for.
#[derive(Deserialize)]
pub(crate) struct PageQuery {
    confirm: Option<String>,
    #[serde(rename = "as")]
    form: Option<String>,
    q: Option<String>,
}

#[derive(Serialize)]
struct PageView {
    frame: Frame,
    alert: Option<Vec<Piece>>,
    line: JobLine,
    job: JobRow,
    turn: Option<TurnView>,
    subjects: Subjects,
    asked_by: Option<String>,
    timeline: Timeline,
    log: Activity,
    may_cancel: bool,
    may_retry: bool,
}

#[derive(Serialize)]
struct AskView {
    frame: Frame,
    line: JobLine,
    subjects: Subjects,
    what_happens: Vec<Piece>,
    may_cancel: bool,
}

/// What a job works on.
#[derive(Serialize)]
struct Subjects {
    node: Option<Subject>,
    site: Option<Subject>,
    environment: Option<String>,
}

/// A job with what it works on, as far as that is there.
struct Found {
    view: JobView,
    node: Option<Node>,
    site: Option<Site>,
    environment: Option<Environment>,
}

/// `GET /jobs/{id}`, what `?confirm=` asks, and the job as text
pub(crate) async fn show(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    query: Result<web::Query<PageQuery>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let id = job_id(&id)?;
    let query = query.map_err(|_| ApiError::bad_request("The address of this page could not be read."))?;
    match (query.confirm.as_deref(), query.form.as_deref()) {
        (None, None) => {
            let q: String = query.q.iter().flat_map(|q| q.trim().chars()).take(MAX_QUERY).collect();
            page(&ui, &operator, id, StatusCode::OK, &q, None).await
        }
        (Some("cancel"), None) => ask_to_cancel(&ui, &operator, id).await,
        (None, Some("text")) => text(&ui, id).await,
        _ => Err(ApiError::not_found("page")),
    }
}

/// `POST /jobs/{id}/cancel`
pub(crate) async fn cancel(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = job_id(&id)?;
    match ui.jobs.cancel(id, by(&operator)).await {
        Ok(()) => Ok(see(&address(id))),
        Err(error) => refused(&ui, &operator, id, error).await,
    }
}

/// `POST /jobs/{id}/retry`: leads to the job that does the work again.
pub(crate) async fn retry(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = job_id(&id)?;
    match ui.jobs.retry(id, by(&operator)).await {
        Ok(retried) => Ok(see(&address(retried.job_id))),
        Err(error) => refused(&ui, &operator, id, error).await,
    }
}

/// The job's page, saying why the request was refused.
async fn refused(ui: &UiState, operator: &Operator, id: JobId, error: UseCaseError) -> Result<HttpResponse, ApiError> {
    let (status, alert) = refusal(error)?;
    page(ui, operator, id, status, "", Some(alert)).await
}

async fn page(
    ui: &UiState,
    operator: &Operator,
    id: JobId,
    status: StatusCode,
    q: &str,
    alert: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let here = match q {
        "" => address(id),
        q => format!("{}?q={}", address(id), encoded(q)),
    };
    let frame = Frame::new(ui, operator, Section::Jobs, here).await?.following(id);
    let found = find(ui, id).await?;
    let job = &found.view.job;
    let events = ui.jobs.course(id, COURSE).await?;
    let newest = if q.is_empty() { SHOWN } else { SEARCHED };
    let log = ui.jobs.latest_events(id, newest).await?;
    let asked_by = match job.requested_by {
        Some(account) => ui.accounts.email(account).await?,
        None => None,
    };
    let may_retry = ui.jobs.may_retry(job).await?;
    let pace = Pace::of(ui, &[&found.view]).await?;
    let key_line = key_line(ui, found.node.as_ref()).await;
    let now = ui.clock.now();
    let turn = ui.jobs.turn(job, now).await?;
    let course = Course::of(job, &found.view.steps, &events, now);
    let view = PageView {
        frame,
        alert: alert.map(|alert| prose(&alert)),
        line: JobLine::new(&found.view, pace.left(&found.view, now), now),
        job: JobRow::new(&found.view, &events, &course, key_line.as_deref(), now),
        turn: turn.map(|turn| TurnView::new(job, &turn, now)),
        subjects: found.subjects(),
        asked_by: asked_by.map(|email| email.to_string()),
        timeline: Timeline::new(job.kind, &course),
        log: Activity::new(&log, q),
        may_cancel: may_cancel(&found.view),
        may_retry,
    };
    ui.pages.show(status, "job_page.html", &view)
}

async fn ask_to_cancel(ui: &UiState, operator: &Operator, id: JobId) -> Result<HttpResponse, ApiError> {
    let here = format!("{}?confirm=cancel", address(id));
    let frame = Frame::new(ui, operator, Section::Jobs, here).await?.following(id);
    let found = find(ui, id).await?;
    let view = AskView {
        frame,
        line: JobLine::new(&found.view, None, ui.clock.now()),
        what_happens: prose(when_cancelled(found.view.job.kind)),
        may_cancel: may_cancel(&found.view),
        subjects: found.subjects(),
    };
    ui.pages.show(StatusCode::OK, "job_asks.html", &view)
}

/// The whole job as plain text.
async fn text(ui: &UiState, id: JobId) -> Result<HttpResponse, ApiError> {
    let found = find(ui, id).await?;
    let asked_by = match found.view.job.requested_by {
        Some(account) => ui.accounts.email(account).await?,
        None => None,
    };
    let mut text = JobText {
        view: &found.view,
        node: found.node.as_ref().map(|node| node.name.as_str()),
        site: found.site.as_ref().map(|site| site.name.as_str()),
        environment: found.environment.as_ref().map(|environment| environment.slug.as_str()),
        asked_by: asked_by.as_ref().map(ToString::to_string),
    }
    .to_string();
    let mut after = 0;
    loop {
        let filter = EventFilter {
            after,
            job_id: Some(id),
            limit: AT_ONCE,
        };
        let events = ui.jobs.events(&filter).await?;
        let Some(last) = events.last() else {
            break;
        };
        after = last.seq;
        text.extend(events.iter().filter_map(event_line));
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text))
}

async fn find(ui: &UiState, id: JobId) -> Result<Found, ApiError> {
    let view = ui.jobs.get(id).await?;
    let job = &view.job;
    Ok(Found {
        node: match job.node_id {
            Some(id) => if_there(ui.nodes.get(id).await)?,
            None => None,
        },
        site: match job.site_id {
            Some(id) => if_there(ui.sites.site(id).await)?,
            None => None,
        },
        environment: match job.environment_id {
            Some(id) => if_there(ui.sites.environment(id).await)?,
            None => None,
        },
        view,
    })
}

/// What a job worked on may be gone by now.
fn if_there<T>(found: Result<T, UseCaseError>) -> Result<Option<T>, ApiError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(UseCaseError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Found {
    fn subjects(&self) -> Subjects {
        let job = &self.view.job;
        Subjects {
            node: job
                .node_id
                .map(|id| Subject::node(id, self.node.as_ref().map(|node| &node.name))),
            site: job
                .site_id
                .map(|id| Subject::site(id, self.site.as_ref().map(|site| &site.name))),
            environment: self
                .environment
                .as_ref()
                .map(|environment| environment.slug.as_str().to_owned()),
        }
    }
}

/// The line that installs Pressluft's key, which jobs of remote nodes tell. Where there is no key, no job has told it.
async fn key_line(ui: &UiState, node: Option<&Node>) -> Option<String> {
    node.filter(|node| node.source == AcquisitionSource::Remote)?;
    ui.nodes.ssh_key().await.ok().map(|key| key.install_command())
}

fn may_cancel(view: &JobView) -> bool {
    !view.job.status.is_terminal() && !view.job.cancel_requested
}

fn address(id: JobId) -> String {
    format!("{LIST}/{id}")
}

fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("job"))
}
