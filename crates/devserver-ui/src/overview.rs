//! `/`: what needs attention, counts, and the last day of jobs.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use http_session::{ApiError, Operator};
use jobs::JobView;
use serde::Serialize;

use crate::UiState;
use crate::frame::{Frame, Section};
use crate::pace::Pace;
use crate::view::overview::OverviewView;

#[derive(Serialize)]
struct View {
    frame: Frame,
    overview: OverviewView,
}

/// `GET /`
pub(crate) async fn show(ui: web::Data<UiState>, operator: Operator) -> Result<HttpResponse, ApiError> {
    let frame = Frame::new(&ui, &operator, Section::Overview, "/").await?;
    let seen = ui.overview.look().await?;
    let running: Vec<&JobView> = seen.running_jobs.items.iter().map(|job| &job.view).collect();
    let pace = Pace::of(&ui, &running).await?;
    let overview = OverviewView::new(seen, &pace, ui.clock.now());
    ui.pages
        .show(StatusCode::OK, "overview.html", &View { frame, overview })
}
