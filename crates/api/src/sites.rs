//! `/api/sites`, and what the handlers of environments and backups share with it.

pub(crate) mod backups;
pub(crate) mod environments;
pub(crate) mod view;

use actix_web::{HttpRequest, HttpResponse, web};
use domain_kernel::{NodeId, SiteId};
use http_session::{ApiError, Operator};
use serde::{Deserialize, Serialize};
use sites_domain::{BackupCut, CreatedInSite, SiteFilter, SiteStatus};
use utoipa::{IntoParams, ToSchema};

use crate::ApiState;
use crate::extract::{IdempotencyKey, JsonBody, NoBody, PathId, Query, field};
use crate::idempotency::{CreateHeaders, idempotency};
use crate::page::{Listed, next_cursor, page_request};
use crate::schema::SiteStatusText;
use view::{SiteBody, SiteJobBody};

struct Sites;

impl Listed for Sites {
    const MARK: &'static str = "s1_";
    type Id = SiteId;
}

/// A page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which sites are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SitesQuery {
    /// Of this status.
    #[param(value_type = Option<SiteStatusText>)]
    status: Option<SiteStatus>,
    /// Whose name or slug has this part; `a` to `z` stand for `A` to `Z` too.
    #[param(min_length = 1, max_length = 100)]
    q: Option<String>,
    /// With an environment on this node.
    #[param(value_type = Option<String>, format = "uuid")]
    node_id: Option<NodeId>,
    /// Whether only sites are listed that are older than a day and whose active production environment has no backup of the
    /// last 7 days of all that it consists of.
    #[param(default = false)]
    unsaved: Option<bool>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Sites, newest first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"items": [], "next_cursor": null}))]
pub(crate) struct SiteList {
    items: Vec<SiteBody>,
    /// What to ask for next; null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A request for a site.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Corner shop", "slug": "corner-shop"}))]
pub(crate) struct CreateSite {
    /// Its name for people, and the title of its WordPress.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Its name for programs: lower-case letters, digits and single hyphens between them; unique among sites.
    #[schema(min_length = 1, max_length = 63)]
    slug: String,
    /// The node that it is to live on; where none is named, the ready node with the fewest environments.
    #[schema(value_type = Option<String>, format = "uuid")]
    node_id: Option<String>,
}

/// What destroys something has to name it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"confirm": "corner-shop"}))]
pub(crate) struct Confirmation {
    /// The slug of what is to be deleted.
    confirm: String,
    /// Whether its node is gone for good: nothing on it is touched then. Refused unless the node is unreachable or failed.
    #[serde(default)]
    abandon: bool,
}

/// The answer to a request that a job was accepted for.
pub(super) fn accepted(created: CreatedInSite) -> HttpResponse {
    let mut response = HttpResponse::Accepted();
    if created.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    response.json(SiteJobBody::from(created))
}

/// Sites, newest first.
#[utoipa::path(
    get, path = "/api/sites", operation_id = "list_sites", tag = "sites", params(SitesQuery),
    responses((status = 200, description = "A page of sites.", body = SiteList))
)]
pub(crate) async fn list(
    state: web::Data<ApiState>,
    Query(query): Query<SitesQuery>,
) -> Result<HttpResponse, ApiError> {
    let request = page_request::<Sites>(query.limit, query.cursor.as_deref())?;
    let is_unsaved = query.unsaved.unwrap_or(false);
    let filter = SiteFilter {
        search: query.q.as_deref().map(|text| field("q", text)).transpose()?,
        status: query.status,
        node_id: query.node_id,
        unsaved: is_unsaved.then(|| BackupCut::at(state.clock.now())),
    };
    let page = state.sites.sites(&filter, &request).await?;
    Ok(HttpResponse::Ok().json(SiteList {
        next_cursor: next_cursor::<Sites, _>(&page),
        items: page.items.into_iter().map(SiteBody::from).collect(),
    }))
}

/// Asks for a site. It and its production environment are accepted at once; a job makes them.
#[utoipa::path(
    post, path = "/api/sites", operation_id = "create_site", tag = "sites", request_body = CreateSite,
    params(CreateHeaders),
    responses((
        status = 202, description = "Accepted.", body = SiteJobBody,
        headers(("Idempotency-Replayed" = bool, description = "`true` where an earlier request with the same key was accepted"))
    ))
)]
pub(crate) async fn create(
    state: web::Data<ApiState>,
    operator: Operator,
    IdempotencyKey(key): IdempotencyKey,
    request: HttpRequest,
    body: JsonBody<CreateSite>,
) -> Result<HttpResponse, ApiError> {
    let by = operator.session.account_id;
    let idempotency = idempotency(by, key, &request, &body.raw);
    let wanted = operations::CreateSite {
        name: field("name", &body.value.name)?,
        slug: field("slug", &body.value.slug)?,
        node_id: body
            .value
            .node_id
            .as_deref()
            .map(|text| field::<NodeId>("node_id", text))
            .transpose()?,
        admin_email: operator.session.email.as_str().to_owned(),
    };
    Ok(accepted(state.sites.create_site(wanted, idempotency, Some(by)).await?))
}

/// One site.
#[utoipa::path(
    get, path = "/api/sites/{id}", operation_id = "site", tag = "sites",
    params(("id" = String, Path, format = "uuid", description = "The site's id")),
    responses((status = 200, description = "The site.", body = SiteBody))
)]
pub(crate) async fn show(state: web::Data<ApiState>, PathId(id): PathId<SiteId>) -> Result<HttpResponse, ApiError> {
    let site = state.sites.site(id).await?;
    Ok(HttpResponse::Ok().json(SiteBody::from(site)))
}

/// Asks for a site to be removed, with all its environments and all their backups.
#[utoipa::path(
    delete, path = "/api/sites/{id}", operation_id = "delete_site", tag = "sites", request_body = Confirmation,
    params(("id" = String, Path, format = "uuid", description = "The site's id")),
    responses((status = 202, description = "Accepted.", body = SiteJobBody))
)]
pub(crate) async fn delete(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<SiteId>,
    body: JsonBody<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    let by = Some(operator.session.account_id);
    let Confirmation { confirm, abandon } = &body.value;
    let created = if *abandon {
        state.sites.abandon_site(id, confirm, by).await?
    } else {
        state.sites.delete_site(id, confirm, by).await?
    };
    Ok(accepted(created))
}

/// Looks whether a failed site works, within 10 seconds, and makes it active where it does.
#[utoipa::path(
    post, path = "/api/sites/{id}/reset", operation_id = "reset_site", tag = "sites",
    params(("id" = String, Path, format = "uuid", description = "The site's id")),
    responses((status = 200, description = "It works.", body = SiteBody))
)]
pub(crate) async fn reset(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<SiteId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let site = state.sites.reset_site(id, Some(operator.session.account_id)).await?;
    Ok(HttpResponse::Ok().json(SiteBody::from(site)))
}
