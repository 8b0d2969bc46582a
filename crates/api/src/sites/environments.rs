//! `/api/sites/{id}/environments` and `/api/environments`.

use actix_web::{HttpRequest, HttpResponse, web};
use domain_kernel::{EnvironmentId, SiteId};
use http_session::{ApiError, Operator};
use serde::{Deserialize, Serialize};
use sites_domain::{EnvironmentType, PromotionPreset};
use utoipa::ToSchema;

use super::view::{EnvironmentBody, SiteJobBody};
use super::{Confirmation, accepted};
use crate::ApiState;
use crate::extract::{IdempotencyKey, JsonBody, NoBody, PathId, field};
use crate::idempotency::{CreateHeaders, idempotency};
use crate::schema::{CopyTypeText, PromotionPresetText};

/// The environments of a site, the production environment first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"items": [], "next_cursor": null}))]
pub(crate) struct EnvironmentList {
    items: Vec<EnvironmentBody>,
    /// Always null: a site's environments come on one page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A request for an environment: a copy of another one of the site.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Try-out",
    "slug": "try-out",
    "type": "staging",
    "source_environment_id": "01970000-0000-7000-8000-0000000000ab",
    "promotion_preset": "content-protect"
}))]
pub(crate) struct CreateEnvironment {
    /// Its name for people.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Its name for programs: lower-case letters, digits and single hyphens between them; unique in the site.
    #[schema(min_length = 1, max_length = 63)]
    slug: String,
    /// What it is for: `staging` or `clone`.
    #[serde(rename = "type")]
    #[schema(value_type = CopyTypeText)]
    environment_type: String,
    /// What it is a copy of: an active environment of the site.
    #[schema(format = "uuid")]
    source_environment_id: String,
    /// What a later promotion of it leaves alone.
    #[schema(value_type = Option<PromotionPresetText>)]
    promotion_preset: Option<PromotionPreset>,
}

/// The WordPress login of an environment.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "url": "http://0000000000ab.192-0-2-7.sslip.io/wp-login.php",
    "user": "admin",
    "password": "as it was made"
}))]
pub(crate) struct WordPressLoginBody {
    /// Where to log in.
    url: String,
    /// The administrator that was made with the site.
    user: String,
    /// The password that it was made with; WordPress does not tell of a change.
    password: String,
}

/// The version of an environment's WordPress.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"wordpress_version": "6.8.1"}))]
pub(crate) struct WordPressVersionBody {
    wordpress_version: String,
}

/// The environments of a site.
#[utoipa::path(
    get, path = "/api/sites/{id}/environments", operation_id = "list_environments", tag = "sites",
    params(("id" = String, Path, format = "uuid", description = "The site's id")),
    responses((status = 200, description = "Its environments.", body = EnvironmentList))
)]
pub(crate) async fn list(state: web::Data<ApiState>, PathId(id): PathId<SiteId>) -> Result<HttpResponse, ApiError> {
    let environments = state.sites.environments(id).await?;
    Ok(HttpResponse::Ok().json(EnvironmentList {
        items: environments.into_iter().map(EnvironmentBody::from).collect(),
        next_cursor: None,
    }))
}

/// Asks for an environment as a copy of another. The source goes on serving and is not written to.
#[utoipa::path(
    post, path = "/api/sites/{id}/environments", operation_id = "create_environment", tag = "sites",
    request_body = CreateEnvironment,
    params(("id" = String, Path, format = "uuid", description = "The site's id"), CreateHeaders),
    responses((
        status = 202, description = "Accepted.", body = SiteJobBody,
        headers(("Idempotency-Replayed" = bool, description = "`true` where an earlier request with the same key was accepted"))
    ))
)]
pub(crate) async fn create(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<SiteId>,
    IdempotencyKey(key): IdempotencyKey,
    request: HttpRequest,
    body: JsonBody<CreateEnvironment>,
) -> Result<HttpResponse, ApiError> {
    let by = operator.session.account_id;
    let idempotency = idempotency(by, key, &request, &body.raw);
    let wanted = operations::CreateEnv {
        name: field("name", &body.value.name)?,
        slug: field("slug", &body.value.slug)?,
        environment_type: field::<EnvironmentType>("type", &body.value.environment_type)?,
        source_environment_id: field("source_environment_id", &body.value.source_environment_id)?,
        promotion_preset: body.value.promotion_preset,
    };
    let created = state
        .sites
        .create_environment(id, wanted, idempotency, Some(by))
        .await?;
    Ok(accepted(created))
}

/// One environment.
#[utoipa::path(
    get, path = "/api/environments/{id}", operation_id = "environment", tag = "sites",
    params(("id" = String, Path, format = "uuid", description = "The environment's id")),
    responses((status = 200, description = "The environment.", body = EnvironmentBody))
)]
pub(crate) async fn show(
    state: web::Data<ApiState>,
    PathId(id): PathId<EnvironmentId>,
) -> Result<HttpResponse, ApiError> {
    let environment = state.sites.environment(id).await?;
    Ok(HttpResponse::Ok().json(EnvironmentBody::from(environment)))
}

/// Asks for an environment to be removed, with its backups. The production environment goes with its site alone.
#[utoipa::path(
    delete, path = "/api/environments/{id}", operation_id = "delete_environment", tag = "sites",
    request_body = Confirmation,
    params(("id" = String, Path, format = "uuid", description = "The environment's id")),
    responses((status = 202, description = "Accepted.", body = SiteJobBody))
)]
pub(crate) async fn delete(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<EnvironmentId>,
    body: JsonBody<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    let by = Some(operator.session.account_id);
    let Confirmation { confirm, abandon } = &body.value;
    let created = if *abandon {
        state.sites.abandon_environment(id, confirm, by).await?
    } else {
        state.sites.delete_environment(id, confirm, by).await?
    };
    Ok(accepted(created))
}

/// Looks whether a failed environment works, within 10 seconds, and makes it active where it does.
#[utoipa::path(
    post, path = "/api/environments/{id}/reset", operation_id = "reset_environment", tag = "sites",
    params(("id" = String, Path, format = "uuid", description = "The environment's id")),
    responses((status = 200, description = "It works.", body = EnvironmentBody))
)]
pub(crate) async fn reset(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<EnvironmentId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let by = Some(operator.session.account_id);
    let environment = state.sites.reset_environment(id, by).await?;
    Ok(HttpResponse::Ok().json(EnvironmentBody::from(environment)))
}

/// Asks an environment's WordPress for its version, over SSH, within 10 seconds.
#[utoipa::path(
    get, path = "/api/environments/{id}/wordpress-version", operation_id = "wordpress_version", tag = "sites",
    params(("id" = String, Path, format = "uuid", description = "The environment's id")),
    responses((status = 200, description = "The version.", body = WordPressVersionBody))
)]
pub(crate) async fn wordpress_version(
    state: web::Data<ApiState>,
    PathId(id): PathId<EnvironmentId>,
) -> Result<HttpResponse, ApiError> {
    let wordpress_version = state.sites.wordpress_version(id).await?;
    Ok(HttpResponse::Ok().json(WordPressVersionBody { wordpress_version }))
}

/// Shows the WordPress login that an environment was made with. The audit log says who asked.
#[utoipa::path(
    post, path = "/api/environments/{id}/wordpress-login", operation_id = "wordpress_login", tag = "sites",
    params(("id" = String, Path, format = "uuid", description = "The environment's id")),
    responses((status = 200, description = "The login.", body = WordPressLoginBody))
)]
pub(crate) async fn wordpress_login(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<EnvironmentId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let login = state.sites.wordpress_login(id, operator.session.account_id).await?;
    let body = WordPressLoginBody {
        url: login.url,
        user: login.user,
        password: login.password.expose().to_owned(),
    };
    Ok(HttpResponse::Ok().json(body))
}
