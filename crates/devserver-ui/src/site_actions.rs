//! What can be asked of a site, its environments and its backups.

use actix_web::{HttpResponse, web};
use domain_kernel::EnvironmentId;
use http_session::{ApiError, Operator};
use operations::{CreateEnv, UseCaseError};
use serde::Deserialize;
use sites_domain::BackupSchedule;

use crate::UiState;
use crate::create::{optional, read};
use crate::form::{Sent, fields, idempotency, see, slug_of};
use crate::nodes::by;
use crate::site::{Answer, Known, ask, ask_to_delete, show_with};
use crate::view::create::FieldErrors;
use crate::view::site_form::{Asked, LoginShown};

/// The form of a copy.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CopyForm {
    form_key: String,
    name: String,
    slug: String,
    #[serde(rename = "type")]
    environment_type: String,
    source_environment_id: String,
    promotion_preset: String,
}

/// The form of a backup.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct BackupForm {
    form_key: String,
    environment_id: String,
    backup_scope: String,
    retention_days: String,
}

/// The form of a schedule.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScheduleForm {
    environment_id: String,
    every_hours: String,
    backup_scope: String,
    keep_days: String,
    /// Whether no backups are taken by themselves any more; the other fields do not count then.
    off: Option<String>,
}

/// What else is asked of an environment or a backup.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ActionForm {
    environment_id: String,
    backup_id: String,
    /// The slug of what is to be deleted.
    confirm: String,
    /// Whether the node is gone for good.
    abandon: Option<String>,
}

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
        Err(error) => ask_to_delete(&ui, &operator, &known, None, Answer::refused(error)?).await,
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
}

impl CopyForm {
    fn read(&self, source: EnvironmentId, errors: &mut FieldErrors) -> Option<CreateEnv> {
        let name = errors.take("name", read(&self.name));
        let slug = match self.slug.trim() {
            "" => slug_of(&self.name),
            typed => typed.to_owned(),
        };
        let slug = errors.take("slug", read(&slug));
        let environment_type = errors.take("type", read(&self.environment_type));
        let promotion_preset = errors.take("promotion_preset", optional(&self.promotion_preset, read));
        Some(CreateEnv {
            name: name?,
            slug: slug?,
            environment_type: environment_type?,
            source_environment_id: source,
            promotion_preset: promotion_preset?,
        })
    }

    fn texts<'a>(&'a self, place: &'a str) -> [&'a str; 6] {
        [
            place,
            &self.name,
            &self.slug,
            &self.environment_type,
            &self.source_environment_id,
            &self.promotion_preset,
        ]
    }
}

/// `POST /sites/{id}/delete-environment`
pub(crate) async fn delete_environment(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let form = fields(sent)?;
    let environment = known.environment(&form.environment_id)?;
    let (confirm, by) = (form.confirm.trim(), by(&operator));
    let deleted = match form.abandon {
        Some(_) => ui.sites.abandon_environment(environment.id, confirm, by).await,
        None => ui.sites.delete_environment(environment.id, confirm, by).await,
    };
    match deleted {
        Ok(_) => Ok(see(&known.here())),
        Err(error) => ask_to_delete(&ui, &operator, &known, Some(environment), Answer::refused(error)?).await,
    }
}

/// `POST /sites/{id}/reset-environment`
pub(crate) async fn reset_environment(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let environment = known.environment(&fields(sent)?.environment_id)?;
    let answer = ui.sites.reset_environment(environment.id, by(&operator)).await;
    done(&ui, &operator, &known, answer).await
}

/// `POST /sites/{id}/backups`
pub(crate) async fn backups(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<BackupForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
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
}

/// `POST /sites/{id}/delete-backup`
pub(crate) async fn delete_backup(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let backup = known.backup(&ui, &fields(sent)?.backup_id).await?;
    let answer = ui.sites.expire_backup(backup.id, by(&operator)).await;
    done(&ui, &operator, &known, answer).await
}

/// `POST /sites/{id}/restore`
pub(crate) async fn restore(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let form = fields(sent)?;
    let environment = known.environment(&form.environment_id)?;
    let backup = known.backup(&ui, &form.backup_id).await?;
    let answer = ui.sites.restore(environment.id, backup.id, by(&operator)).await;
    done(&ui, &operator, &known, answer).await
}

/// `POST /sites/{id}/schedule`
pub(crate) async fn schedule(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ScheduleForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
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
}

impl ScheduleForm {
    fn read(&self, errors: &mut FieldErrors) -> Option<BackupSchedule> {
        let hours = self.every_hours.trim().parse().ok();
        let hours = hours.filter(|hours| (1..=720).contains(hours));
        let every_hours = errors.take("every_hours", hours.ok_or_else(|| "expected 1 to 720 hours".to_owned()));
        let backup_scope = errors.take("backup_scope", read(&self.backup_scope));
        let keep_days = errors.take("keep_days", days(self.keep_days.trim()));
        Some(BackupSchedule {
            every_hours: every_hours?,
            keep_days: keep_days?,
            backup_scope: backup_scope?,
        })
    }
}

/// Days that a backup is kept.
fn days(typed: &str) -> Result<u32, String> {
    let days = typed.parse().ok().filter(|days| (1..=3650).contains(days));
    days.ok_or_else(|| "expected 1 to 3650 days".to_owned())
}

/// `POST /sites/{id}/version`: asks WordPress on its node now; what it says is stored.
pub(crate) async fn version(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let environment = known.environment(&fields(sent)?.environment_id)?;
    let answer = ui.sites.wordpress_version(environment.id).await;
    done(&ui, &operator, &known, answer).await
}

/// `POST /sites/{id}/login`: shows the WordPress login in this answer and nowhere else.
pub(crate) async fn login(
    ui: web::Data<UiState>,
    operator: Operator,
    id: web::Path<String>,
    sent: Sent<ActionForm>,
) -> Result<HttpResponse, ApiError> {
    let known = Known::of(&ui, &id).await?;
    let environment = known.environment(&fields(sent)?.environment_id)?;
    let login = ui
        .sites
        .wordpress_login(environment.id, operator.session.account_id)
        .await?;
    let login = LoginShown {
        url: login.url,
        user: login.user,
        password: login.password.expose().to_owned(),
    };
    let asked = Asked::Login { login: Some(login) };
    ask(&ui, &operator, &known, Some(environment), asked, Answer::ok()).await
}
