//! `/api/environments/{id}/backups`, `/api/backups`, the schedule of backups, and restores.

use actix_web::{HttpRequest, HttpResponse, web};
use domain_kernel::{BackupId, EnvironmentId};
use http_session::{ApiError, Operator};
use serde::{Deserialize, Serialize};
use sites_domain::{BackupSchedule, BackupScope};
use utoipa::ToSchema;

use super::view::{BackupBody, EnvironmentBody, ScheduleBody, SiteJobBody};
use super::{PageQuery, accepted};
use crate::ApiState;
use crate::extract::{IdempotencyKey, JsonBody, NoBody, PathId, Query, field};
use crate::idempotency::{CreateHeaders, idempotency};
use crate::page::{Listed, next_cursor, page_request};
use crate::schema::BackupScopeText;

struct Backups;

impl Listed for Backups {
    const MARK: &'static str = "b1_";
    type Id = BackupId;
}

/// Backups, newest first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"items": [], "next_cursor": null}))]
pub(crate) struct BackupList {
    items: Vec<BackupBody>,
    /// What to ask for next; null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A request for a backup.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"backup_scope": "full", "retention_days": 30}))]
pub(crate) struct CreateBackup {
    /// What it is to hold.
    #[schema(value_type = BackupScopeText)]
    backup_scope: BackupScope,
    /// Days that it is kept; until it is deleted where there is none.
    #[schema(minimum = 1, maximum = 3650)]
    retention_days: Option<u32>,
}

/// A request for a restore.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"backup_id": "01970000-0000-7000-8000-0000000000ba"}))]
pub(crate) struct Restore {
    /// A completed backup of this environment.
    #[schema(format = "uuid")]
    backup_id: String,
}

/// A schedule of backups, or none.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"schedule": {"every_hours": 24, "keep_days": 14, "backup_scope": "full"}}))]
pub(crate) struct SetSchedule {
    /// Null ends it.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required = true)]
    schedule: Option<ScheduleBody>,
}

/// The backups of an environment, newest first.
#[utoipa::path(
    get, path = "/api/environments/{id}/backups", operation_id = "list_backups", tag = "backups",
    params(("id" = String, Path, format = "uuid", description = "The environment's id"), PageQuery),
    responses((status = 200, description = "A page of backups.", body = BackupList))
)]
pub(crate) async fn list(
    state: web::Data<ApiState>,
    PathId(id): PathId<EnvironmentId>,
    Query(query): Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let request = page_request::<Backups>(query.limit, query.cursor.as_deref())?;
    let page = state.sites.backups(id, &request).await?;
    Ok(HttpResponse::Ok().json(BackupList {
        next_cursor: next_cursor::<Backups, _>(&page),
        items: page.items.into_iter().map(BackupBody::from).collect(),
    }))
}

/// Asks for a backup of an active environment.
#[utoipa::path(
    post, path = "/api/environments/{id}/backups", operation_id = "create_backup", tag = "backups",
    request_body = CreateBackup,
    params(("id" = String, Path, format = "uuid", description = "The environment's id"), CreateHeaders),
    responses((
        status = 202, description = "Accepted.", body = SiteJobBody,
        headers(("Idempotency-Replayed" = bool, description = "`true` where an earlier request with the same key was accepted"))
    ))
)]
pub(crate) async fn create(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<EnvironmentId>,
    IdempotencyKey(key): IdempotencyKey,
    request: HttpRequest,
    body: JsonBody<CreateBackup>,
) -> Result<HttpResponse, ApiError> {
    let by = operator.session.account_id;
    let idempotency = idempotency(by, key, &request, &body.raw);
    let CreateBackup {
        backup_scope,
        retention_days,
    } = body.value;
    let created = state
        .sites
        .create_backup(id, backup_scope, retention_days, idempotency, Some(by))
        .await?;
    Ok(accepted(created))
}

/// One backup.
#[utoipa::path(
    get, path = "/api/backups/{id}", operation_id = "backup", tag = "backups",
    params(("id" = String, Path, format = "uuid", description = "The backup's id")),
    responses((status = 200, description = "The backup.", body = BackupBody))
)]
pub(crate) async fn show(state: web::Data<ApiState>, PathId(id): PathId<BackupId>) -> Result<HttpResponse, ApiError> {
    let backup = state.sites.backup(id).await?;
    Ok(HttpResponse::Ok().json(BackupBody::from(backup)))
}

/// Gives a backup up: it is `expired` at once, and what is stored of it is removed soon after.
#[utoipa::path(
    delete, path = "/api/backups/{id}", operation_id = "delete_backup", tag = "backups",
    params(("id" = String, Path, format = "uuid", description = "The backup's id")),
    responses((status = 200, description = "Given up.", body = BackupBody))
)]
pub(crate) async fn delete(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<BackupId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let backup = state.sites.expire_backup(id, Some(operator.session.account_id)).await?;
    Ok(HttpResponse::Ok().json(BackupBody::from(backup)))
}

/// Sets when backups of an environment are taken by themselves, or that none are.
#[utoipa::path(
    put, path = "/api/environments/{id}/backup-schedule", operation_id = "set_backup_schedule", tag = "backups",
    request_body = SetSchedule,
    params(("id" = String, Path, format = "uuid", description = "The environment's id")),
    responses((status = 200, description = "Set.", body = EnvironmentBody))
)]
pub(crate) async fn set_schedule(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<EnvironmentId>,
    body: JsonBody<SetSchedule>,
) -> Result<HttpResponse, ApiError> {
    let schedule = body.value.schedule.map(BackupSchedule::from);
    let by = Some(operator.session.account_id);
    let environment = state.sites.set_schedule(id, schedule, by).await?;
    Ok(HttpResponse::Ok().json(EnvironmentBody::from(environment)))
}

/// Asks for an environment to be brought back to what a backup of it holds. What it is now is kept first, as a backup of its
/// own.
#[utoipa::path(
    post, path = "/api/environments/{id}/restore", operation_id = "restore", tag = "backups", request_body = Restore,
    params(("id" = String, Path, format = "uuid", description = "The environment's id")),
    responses((status = 202, description = "Accepted.", body = SiteJobBody))
)]
pub(crate) async fn restore(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<EnvironmentId>,
    body: JsonBody<Restore>,
) -> Result<HttpResponse, ApiError> {
    let backup_id = field("backup_id", &body.value.backup_id)?;
    let by = Some(operator.session.account_id);
    Ok(accepted(state.sites.restore(id, backup_id, by).await?))
}
