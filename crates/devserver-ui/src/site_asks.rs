//! What the dialogs of a site ask, each as a page of its own.

use actix_web::HttpResponse;
use http_session::{ApiError, Operator};
use serde::Serialize;
use sites_domain::Environment;

use crate::UiState;
use crate::frame::{Frame, Section};
use crate::site::{Answer, Known, card, nodes_of};
use crate::site_jobs::at_work;
use crate::view::environment::{BackupsShown, EnvironmentCard};
use crate::view::job_link::JobLink;
use crate::view::site::SiteFacts;
use crate::view::site_form::{Asked, TypedDeletion};
use crate::view::text::{Piece, prose};

#[derive(Serialize)]
struct AskedView {
    frame: Frame,
    alert: Option<Vec<Piece>>,
    site: SiteFacts,
    /// What is asked about, where it is an environment or of one.
    environment: Option<EnvironmentCard>,
    asked: Asked,
    /// The job that keeps this from being done now.
    at_work: Option<JobLink>,
}

/// A dialog, as a page of its own.
pub(crate) async fn ask(
    ui: &UiState,
    operator: &Operator,
    known: &Known,
    environment: Option<&Environment>,
    asked: Asked,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let what = match &asked {
        Asked::Environment { .. } => "form=environment".to_owned(),
        Asked::Backup { .. } => "form=backup".to_owned(),
        Asked::Schedule { .. } => "form=schedule".to_owned(),
        Asked::Restore { backup } => format!("confirm=restore&backup_id={}", backup.id()),
        Asked::DeleteBackup { backup } => format!("confirm=delete-backup&backup_id={}", backup.id()),
        Asked::DeleteEnvironment { .. } => "confirm=delete-environment".to_owned(),
        Asked::Delete { .. } => "confirm=delete".to_owned(),
        Asked::Login { .. } => "confirm=login".to_owned(),
    };
    let of = environment.map_or_else(String::new, |known| format!("&environment_id={}", known.id));
    let here = format!("{}?{what}{of}", known.here());
    let frame = Frame::new(ui, operator, Section::Sites, here).await?;
    let at_work = if known.is_at_rest(environment) {
        None
    } else {
        at_work(ui, known.site.id).await?
    };
    let environment = match environment {
        Some(environment) => {
            let nodes = nodes_of(ui, std::slice::from_ref(environment)).await?;
            Some(card(known, environment, &nodes, BackupsShown::none(), ui))
        }
        None => None,
    };
    let view = AskedView {
        frame,
        at_work,
        alert: answer.alert.map(|alert| prose(&alert)),
        site: SiteFacts::new(&known.site, ui.clock.now()),
        environment,
        asked,
    };
    ui.pages.show(answer.status, "site_asks.html", &view)
}

/// Asks whether an environment, or else the whole site, is to be removed.
pub(crate) async fn ask_to_delete(
    ui: &UiState,
    operator: &Operator,
    known: &Known,
    environment: Option<&Environment>,
    typed: TypedDeletion,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let all = environment.map_or(known.environments.as_slice(), std::slice::from_ref);
    let is_lost = ui.sites.has_lost_node(all).await?;
    let is_resting = known.is_at_rest(environment);
    let asked = match environment {
        Some(_) => Asked::DeleteEnvironment {
            is_lost,
            is_resting,
            typed,
        },
        None => Asked::Delete {
            is_lost,
            is_resting,
            environments: all.iter().map(|known| known.name.as_str().to_owned()).collect(),
            typed,
        },
    };
    ask(ui, operator, known, environment, asked, answer).await
}
