//! What can be asked of a site, its environments and its backups.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain_kernel::ApiErrorCode;
use http_session::{ApiError, Operator};
use operations::UseCaseError;

use crate::UiState;
use crate::create::{optional, read};
use crate::form::{Sent, fields, idempotency, see};
use crate::nodes::by;
use crate::site::{Answer, Known, show_with};
use crate::site_asks::{ask, ask_to_delete};
use crate::site_forms::{ActionForm, BackupForm, CopyForm, ScheduleForm, days};
use crate::view::create::FieldErrors;
use crate::view::site_form::{Asked, LoginShown};

/// Leads to the site's page, or shows it with why the request was refused.
async fn done<T>(
    ui: &UiState,
    operator: &Operator,
    known: &Known,
    answer: Result<T, UseCaseError>,
) -> Result<HttpResponse, ApiError> {
    match answer {
        Ok(_) => Ok(see(&known.here())),
        Err(error) => show_with(ui, operator, known, Answer::refused(error)?).await,
    }
}

/// What was done; where an environment or a backup of it is not there, which may be gone meanwhile, the site's page that says
/// so.
async fn on_page(
    ui: &UiState,
    operator: &Operator,
    known: &Known,
    work: impl Future<Output = Result<HttpResponse, ApiError>>,
) -> Result<HttpResponse, ApiError> {
    match work.await {
        Err(error) if error.code() == ApiErrorCode::NotFound => {
            let answer = Answer {
                status: StatusCode::NOT_FOUND,
                alert: Some(format!("{} It may have been deleted meanwhile.", error.message())),
            };
            show_with(ui, operator, known, answer).await
        }
        done => done,
    }
}

/// `POST /sites/{id}/delete`
pub(crate) async fn delete(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let form = fields(sent)?;
    let (confirm, by) = (form.confirm.trim(), by(&operator));
    let deleted = match form.abandon {
        Some(_) => ui.sites.abandon_site(known.site.id, confirm, by).await,
        None => ui.sites.delete_site(known.site.id, confirm, by).await,
    };
    match deleted {
        // The site's own page will be gone.
        Ok(accepted) => Ok(see(&format!("/jobs/{}", accepted.job_id))),
        Err(error) => ask_to_delete(&ui, &operator, &known, None, form.typed(), Answer::refused(error)?).await,
    }
}

/// `POST /sites/{id}/reset`
pub(crate) async fn reset(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let answer = ui.sites.reset_site(known.site.id, by(&operator)).await;
    done(&ui, &operator, &known, answer).await
}

/// `POST /sites/{id}/environments`
pub(crate) async fn environments(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<CopyForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let form = fields(sent)?;
        let source = known.environment(&form.source_environment_id)?;
        let mut errors = FieldErrors::default();
        let answer = match form.read(source.id, &mut errors) {
            None => Answer::wrong_field(),
            Some(request) => {
                let place = format!("POST {}/environments", known.here());
                let key = idempotency(&operator, &form.form_key, form.texts(&place));
                let site = known.site.id;
                match ui.sites.create_environment(site, request, key, by(&operator)).await {
                    Ok(_) => return Ok(see(&known.here())),
                    Err(error) => Answer::refused(error)?,
                }
            }
        };
        let CopyForm {
            name,
            slug,
            environment_type,
            promotion_preset,
            ..
        } = &form;
        let asked = Asked::environment(name, slug, environment_type, promotion_preset, &errors);
        ask(&ui, &operator, &known, Some(source), asked, answer).await
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/delete-environment`
pub(crate) async fn delete_environment(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let form = fields(sent)?;
        let environment = known.environment(&form.environment_id)?;
        let (confirm, by) = (form.confirm.trim(), by(&operator));
        let deleted = match form.abandon {
            Some(_) => ui.sites.abandon_environment(environment.id, confirm, by).await,
            None => ui.sites.delete_environment(environment.id, confirm, by).await,
        };
        match deleted {
            Ok(_) => Ok(see(&known.here())),
            Err(error) => {
                let answer = Answer::refused(error)?;
                ask_to_delete(&ui, &operator, &known, Some(environment), form.typed(), answer).await
            }
        }
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/reset-environment`
pub(crate) async fn reset_environment(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let environment = known.environment(&fields(sent)?.environment_id)?;
        let answer = ui.sites.reset_environment(environment.id, by(&operator)).await;
        done(&ui, &operator, &known, answer).await
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/backups`
pub(crate) async fn backups(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<BackupForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let form = fields(sent)?;
        let BackupForm {
            form_key,
            environment_id,
            backup_scope,
            retention_days,
        } = &form;
        let environment = known.environment(environment_id)?;
        let mut errors = FieldErrors::default();
        let scope = errors.take("backup_scope", read(backup_scope));
        let days = errors.take("retention_days", optional(retention_days, days));
        let answer = match scope.zip(days) {
            None => Answer::wrong_field(),
            Some((scope, days)) => {
                let place = format!("POST {}/backups", known.here());
                let key = idempotency(
                    &operator,
                    form_key,
                    [&place, environment_id, backup_scope, retention_days].map(String::as_str),
                );
                let by = by(&operator);
                match ui.sites.create_backup(environment.id, scope, days, key, by).await {
                    Ok(_) => return Ok(see(&known.here())),
                    Err(error) => Answer::refused(error)?,
                }
            }
        };
        let asked = Asked::backup(backup_scope, retention_days, &errors);
        ask(&ui, &operator, &known, Some(environment), asked, answer).await
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/delete-backup`
pub(crate) async fn delete_backup(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let backup = known.backup(&ui, &fields(sent)?.backup_id).await?;
        let answer = ui.sites.expire_backup(backup.id, by(&operator)).await;
        done(&ui, &operator, &known, answer).await
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/restore`
pub(crate) async fn restore(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let form = fields(sent)?;
        let environment = known.environment(&form.environment_id)?;
        let backup = known.backup(&ui, &form.backup_id).await?;
        let answer = ui.sites.restore(environment.id, backup.id, by(&operator)).await;
        done(&ui, &operator, &known, answer).await
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/schedule`
pub(crate) async fn schedule(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ScheduleForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let form = fields(sent)?;
        let environment = known.environment(&form.environment_id)?;
        let mut errors = FieldErrors::default();
        let schedule = match form.off {
            Some(_) => Some(None),
            None => form.read(&mut errors).map(Some),
        };
        let answer = match schedule {
            None => Answer::wrong_field(),
            Some(schedule) => match ui.sites.set_schedule(environment.id, schedule, by(&operator)).await {
                Ok(_) => return Ok(see(&known.here())),
                Err(error) => Answer::refused(error)?,
            },
        };
        let is_set = environment.backup_schedule.is_some();
        let asked = Asked::schedule(is_set, &form.every_hours, &form.backup_scope, &form.keep_days, &errors);
        ask(&ui, &operator, &known, Some(environment), asked, answer).await
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/version`: asks WordPress on its node now; what it says is stored.
pub(crate) async fn version(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let environment = known.environment(&fields(sent)?.environment_id)?;
        let answer = ui.sites.wordpress_version(environment.id).await;
        done(&ui, &operator, &known, answer).await
    };
    on_page(&ui, &operator, &known, work).await
}

/// `POST /sites/{id}/login`: shows the WordPress login in this answer and nowhere else.
pub(crate) async fn login(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let work = async {
        let environment = known.environment(&fields(sent)?.environment_id)?;
        let by = operator.session.account_id;
        let login = match ui.sites.wordpress_login(environment.id, by).await {
            Ok(login) => LoginShown {
                url: login.url,
                user: login.user,
                password: login.password.expose().to_owned(),
            },
            Err(error) => return show_with(&ui, &operator, &known, Answer::refused(error)?).await,
        };
        let asked = Asked::Login { login: Some(login) };
        ask(&ui, &operator, &known, Some(environment), asked, Answer::ok()).await
    };
    on_page(&ui, &operator, &known, work).await
}
