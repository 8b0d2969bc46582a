//! `/api/ssh-key`.

use actix_web::{HttpResponse, web};
use http_session::ApiError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ApiState;

/// The public half of the key that Pressluft logs in to machines with.
#[derive(Serialize, ToSchema)]
#[schema(as = SshKey, example = json!({
    "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE pressluft",
    "fingerprint": "SHA256:EXAMPLE",
    "install_command": "k='ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE pressluft'; ..."
}))]
pub(crate) struct SshKeyBody {
    /// One OpenSSH line.
    public_key: String,
    /// `SHA256:...`
    fingerprint: String,
    /// One line of shell that adds the key to the login user's authorized_keys; a second run changes nothing.
    install_command: String,
}

/// Pressluft's public key, and the line that installs it.
#[utoipa::path(
    get, path = "/api/ssh-key", operation_id = "ssh_key", tag = "nodes",
    responses((status = 200, description = "The key.", body = SshKeyBody))
)]
pub(crate) async fn show(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let key = state.nodes.ssh_key().await?;
    Ok(HttpResponse::Ok().json(SshKeyBody {
        install_command: key.install_command(),
        public_key: key.public_key,
        fingerprint: key.fingerprint,
    }))
}
