//! `/sites/{id}`: one site with its environments and backups.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::{BackupId, EnvironmentId, NodeId};
use http_session::{ApiError, Operator};
use jobs::PageRequest;
use operations::UseCaseError;
use serde::{Deserialize, Serialize};
use sites_domain::{Backup, Environment, EnvironmentStatus, Site, SiteStatus};

use crate::UiState;
use crate::frame::{Frame, Section};
use crate::pace::Pace;
use crate::site_asks::{ask, ask_to_delete};
use crate::site_jobs::{at_work, failed_by, of_backups};
use crate::sites::{LIST, newest_job};
use crate::view::backup::BackupRow;
use crate::view::create::FieldErrors;
use crate::view::environment::{BackupsShown, EnvironmentCard, NodeLink, is_resting};
use crate::view::job_line::JobLine;
use crate::view::job_link::JobLink;
use crate::view::site::SiteFacts;
use crate::view::site_form::{Asked, TypedDeletion};
use crate::view::text::{Piece, prose};

/// Backups of an environment that are shown at once.
const BACKUPS: u32 = 10;

/// What is wanted of a site's page.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    /// The dialog that asks whether to do something.
    confirm: Option<String>,
    /// The dialog with a form for something new.
    form: Option<String>,
    environment_id: String,
    backup_id: String,
    /// Of the environment that is named: backups older than this one.
    older: Option<String>,
}

#[derive(Serialize)]
struct SiteView {
    frame: Frame,
    alert: Option<Vec<Piece>>,
    /// The job that a refused request may have to wait for.
    at_work: Option<JobLink>,
    site: SiteFacts,
    job: Option<JobLine>,
    may_retry: bool,
    environments: Vec<EnvironmentCard>,
    /// Whether a checksum is shown, which is then explained.
    has_checksum: bool,
}

/// A site with its environments.
pub(crate) struct Known {
    pub(crate) site: Site,
    pub(crate) environments: Vec<Environment>,
}

/// Older backups of an environment than this one.
struct Older {
    environment: EnvironmentId,
    than: BackupId,
}

/// What a page answers with beside what it shows.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) alert: Option<String>,
}

impl Answer {
    pub(crate) fn ok() -> Self {
        Self {
            status: StatusCode::OK,
            alert: None,
        }
    }

    /// Something is wrong with a field, which says it itself.
    pub(crate) fn wrong_field() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            alert: None,
        }
    }

    /// A refused request. What is not there, and Pressluft's own errors, have a page of their own.
    pub(crate) fn refused(error: UseCaseError) -> Result<Self, ApiError> {
        let (status, alert) = crate::sites::refusal(error)?;
        Ok(Self {
            status,
            alert: Some(alert),
        })
    }
}

impl Known {
    /// The site of a path.
    pub(crate) async fn of(ui: &UiState, id: &str) -> Result<Self, ApiError> {
        let id = id.parse().map_err(|_| ApiError::not_found("site"))?;
        let site = ui.sites.site(id).await?;
        let environments = ui.sites.environments(id).await?;
        Ok(Self { site, environments })
    }

    /// An environment of this site.
    pub(crate) fn environment(&self, id: &str) -> Result<&Environment, ApiError> {
        let id: Option<EnvironmentId> = id.parse().ok();
        let found = self.environments.iter().find(|known| Some(known.id) == id);
        found.ok_or_else(|| ApiError::not_found("environment"))
    }

    /// A backup of an environment of this site.
    pub(crate) async fn backup(&self, ui: &UiState, id: &str) -> Result<Backup, ApiError> {
        let id = id.parse().map_err(|_| ApiError::not_found("backup"))?;
        let backup = ui.sites.backup(id).await?;
        if backup.site_id == self.site.id {
            Ok(backup)
        } else {
            Err(ApiError::not_found("backup"))
        }
    }

    pub(crate) fn here(&self) -> String {
        format!("{LIST}/{}", self.site.id)
    }

    /// Whether nothing changes the site and this environment, or else any of its environments.
    pub(crate) fn is_at_rest(&self, environment: Option<&Environment>) -> bool {
        let all = environment.map_or(self.environments.as_slice(), std::slice::from_ref);
        SiteStatus::RESTING.contains(&self.site.status) && all.iter().all(|of| is_resting(&self.site, of))
    }

    fn row(&self, environment: &Environment, backup: &Backup, ui: &UiState) -> BackupRow {
        let is_restoring = environment.status == EnvironmentStatus::Restoring;
        BackupRow::new(
            backup,
            is_resting(&self.site, environment),
            is_restoring,
            ui.clock.now(),
        )
    }
}

/// `GET /sites/{id}`, and what `?confirm=` and `?form=` ask.
pub(crate) async fn show(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    query: Result<web::Query<Wanted>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let wanted = query.map_or_else(|_| Wanted::default(), web::Query::into_inner);
    let known = Known::of(&ui, &id).await?;
    let environment = wanted.environment_id.as_str();
    let none = FieldErrors::default();
    match (wanted.form.as_deref(), wanted.confirm.as_deref()) {
        (None, None) => {
            let older = match &wanted.older {
                None => None,
                Some(than) => Some(Older {
                    environment: known.environment(environment)?.id,
                    than: than.parse().map_err(|_| ApiError::not_found("page of the list"))?,
                }),
            };
            page(&ui, &operator, &known, older, Answer::ok()).await
        }
        (Some("environment"), None) => {
            let source = known.environment(environment)?;
            let asked = Asked::environment("", "", "staging", "", &none);
            ask(&ui, &operator, &known, Some(source), asked, Answer::ok()).await
        }
        (Some("backup"), None) => {
            let of = known.environment(environment)?;
            let asked = Asked::backup("full", "30", &none);
            ask(&ui, &operator, &known, Some(of), asked, Answer::ok()).await
        }
        (Some("schedule"), None) => {
            let of = known.environment(environment)?;
            let asked = match &of.backup_schedule {
                Some(set) => Asked::schedule(
                    true,
                    &set.every_hours.to_string(),
                    set.backup_scope.as_str(),
                    &set.keep_days.to_string(),
                    &none,
                ),
                None => Asked::schedule(false, "24", "full", "14", &none),
            };
            ask(&ui, &operator, &known, Some(of), asked, Answer::ok()).await
        }
        (None, Some(what @ ("restore" | "delete-backup"))) => {
            let backup = known.backup(&ui, &wanted.backup_id).await?;
            let of = known.environment(&backup.environment_id.to_string())?;
            let job = of_backups(&ui, known.site.id, [&backup]).await?.remove(&backup.id);
            let row = known.row(of, &backup, &ui).made_by(job);
            let asked = if what == "restore" {
                Asked::Restore { backup: row }
            } else {
                Asked::DeleteBackup { backup: row }
            };
            ask(&ui, &operator, &known, Some(of), asked, Answer::ok()).await
        }
        (None, Some("delete-environment")) => {
            let of = known.environment(environment)?;
            ask_to_delete(&ui, &operator, &known, Some(of), TypedDeletion::default(), Answer::ok()).await
        }
        (None, Some("delete")) => {
            ask_to_delete(&ui, &operator, &known, None, TypedDeletion::default(), Answer::ok()).await
        }
        (None, Some("login")) => {
            let of = known.environment(environment)?;
            ask(
                &ui,
                &operator,
                &known,
                Some(of),
                Asked::Login { login: None },
                Answer::ok(),
            )
            .await
        }
        _ => Err(ApiError::not_found("page")),
    }
}

/// The site's page, with what was wrong with the last request on it.
pub(crate) async fn show_with(
    ui: &UiState,
    operator: &Operator,
    known: &Known,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    page(ui, operator, known, None, answer).await
}

async fn page(
    ui: &UiState,
    operator: &Operator,
    known: &Known,
    older: Option<Older>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let here = match &older {
        None => known.here(),
        Some(Older { environment, than }) => {
            format!("{}?environment_id={environment}&older={than}", known.here())
        }
    };
    let frame = Frame::new(ui, operator, Section::Sites, here).await?;
    let nodes = nodes_of(ui, &known.environments).await?;
    let now = ui.clock.now();
    let mut pages = Vec::with_capacity(known.environments.len());
    for environment in &known.environments {
        let older = older.as_ref().filter(|older| older.environment == environment.id);
        let request = PageRequest {
            limit: BACKUPS,
            after: older.map(|older| older.than.to_string()),
        };
        let found = ui.sites.backups(environment.id, &request).await?;
        pages.push((environment, older.is_none(), found));
    }
    let shown = || pages.iter().flat_map(|(_, _, found)| &found.items);
    let has_checksum = shown().any(|backup| backup.checksum.is_some());
    let mut made_by = of_backups(ui, known.site.id, shown()).await?;
    let job = newest_job(ui, known.site.id).await?;
    let mut failed = failed_by(ui, known.site.id, &known.environments, job.as_ref()).await?;
    let environments = pages.into_iter().map(|(environment, is_first, found)| {
        let rows = found.items.iter().map(|backup| {
            let job = made_by.remove(&backup.id);
            known.row(environment, backup, ui).made_by(job)
        });
        let backups = BackupsShown {
            rows: rows.collect(),
            is_first,
            next: found.next,
        };
        card(known, environment, &nodes, backups, ui).failed_by(failed.remove(&environment.id))
    });
    let environments = environments.collect();
    let may_retry = match &job {
        Some(view) => ui.jobs.may_retry(&view.job).await?,
        None => false,
    };
    let job = match &job {
        Some(view) => {
            let pace = Pace::of(ui, &[view]).await?;
            Some(JobLine::new(view, pace.left(view, now), now))
        }
        None => None,
    };
    let view = SiteView {
        frame,
        at_work: match &answer.alert {
            Some(_) if !known.is_at_rest(None) => at_work(ui, known.site.id).await?,
            _ => None,
        },
        alert: answer.alert.map(|alert| prose(&alert)),
        site: SiteFacts::new(&known.site, now),
        job,
        may_retry,
        environments,
        has_checksum,
    };
    ui.pages.show(answer.status, "site.html", &view)
}

pub(crate) fn card(
    known: &Known,
    environment: &Environment,
    nodes: &HashMap<NodeId, NodeLink>,
    backups: BackupsShown,
    ui: &UiState,
) -> EnvironmentCard {
    let node = nodes.get(&environment.node_id).cloned();
    let node = node.unwrap_or_else(|| NodeLink::gone(environment.node_id));
    EnvironmentCard::new(
        environment,
        &known.site,
        &known.environments,
        node,
        backups,
        ui.sites.was_version_asked(environment),
        ui.clock.now(),
    )
}

pub(crate) async fn nodes_of(
    ui: &UiState,
    environments: &[Environment],
) -> Result<HashMap<NodeId, NodeLink>, ApiError> {
    let mut nodes = HashMap::new();
    for id in environments.iter().map(|environment| environment.node_id) {
        if nodes.contains_key(&id) {
            continue;
        }
        match ui.nodes.get(id).await {
            Ok(node) => drop(nodes.insert(id, NodeLink::new(&node))),
            Err(UseCaseError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(nodes)
}
