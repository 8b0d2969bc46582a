//! `/api/providers`.

use actix_web::{HttpResponse, web};
use http_session::ApiError;
use nodes_domain::{AcquisitionSource, Capability, ProviderId};
use operations::ProviderStatus;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ApiState;
use crate::schema::AcquisitionSourceText;

/// A provider that makes new nodes.
#[derive(Serialize, ToSchema)]
#[schema(as = Provider, example = json!({
    "id": "multipass",
    "source": "local",
    "available": false,
    "reason": "`multipass` is not on the PATH.",
    "remedy": "sudo snap install multipass"
}))]
pub(crate) struct ProviderBody {
    /// Its id.
    #[schema(value_type = String)]
    id: ProviderId,
    #[schema(value_type = AcquisitionSourceText)]
    source: AcquisitionSource,
    /// Whether it can work on this host.
    available: bool,
    /// What is missing.
    #[schema(required = true)]
    reason: Option<String>,
    /// The exact next command or setting.
    #[schema(required = true)]
    remedy: Option<String>,
}

impl From<ProviderStatus> for ProviderBody {
    fn from(status: ProviderStatus) -> Self {
        let (available, reason, remedy) = match status.capability {
            Capability::Available => (true, None, None),
            Capability::Unavailable(why) => (false, Some(why.reason), Some(why.remedy)),
        };
        Self {
            id: status.id,
            source: status.source,
            available,
            reason,
            remedy,
        }
    }
}

/// The providers that make new nodes, and what each can do on this host.
#[utoipa::path(
    get, path = "/api/providers", operation_id = "list_providers", tag = "nodes",
    responses((status = 200, description = "The providers.", body = Vec<ProviderBody>))
)]
pub(crate) async fn list(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let statuses = state.nodes.providers().await?;
    let providers: Vec<ProviderBody> = statuses.into_iter().map(ProviderBody::from).collect();
    Ok(HttpResponse::Ok().json(providers))
}
