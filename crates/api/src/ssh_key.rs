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
        install_command: install_command(&key.public_key),
        public_key: key.public_key,
        fingerprint: key.fingerprint,
    }))
}

/// Appends the key where its exact line is missing, after the line end that the last line may lack.
fn install_command(public_key: &str) -> String {
    let key = public_key.trim().replace('\'', r"'\''");
    format!(
        "k='{key}'; f=~/.ssh/authorized_keys; umask 077; mkdir -p ~/.ssh && touch \"$f\" && {{ grep -qxF \"$k\" \"$f\" \
         || {{ [ -z \"$(tail -c 1 \"$f\")\" ] || echo; printf '%s\\n' \"$k\"; }} >> \"$f\"; }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[allow(
        clippy::disallowed_methods,
        reason = "the command is for a shell: only one can say that it works"
    )]
    fn run(command: &str, home: &Path) {
        let status = std::process::Command::new("sh")
            .arg("-ec")
            .arg(command)
            .env("HOME", home)
            .status()
            .unwrap();
        assert!(status.success());
    }

    #[test]
    fn the_install_command_appends_the_key_once_and_keeps_what_is_there() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE it's pressluft";
        let command = install_command(key);
        assert!(!command.contains('\n'));
        for (before, after) in [
            (None, format!("{key}\n")),
            (Some("ssh-rsa AAAA other\n"), format!("ssh-rsa AAAA other\n{key}\n")),
            (Some("ssh-rsa AAAA other"), format!("ssh-rsa AAAA other\n{key}\n")),
        ] {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join(".ssh/authorized_keys");
            if let Some(before) = before {
                fs::create_dir(home.path().join(".ssh")).unwrap();
                fs::write(&file, before).unwrap();
            }
            run(&command, home.path());
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
            run(&command, home.path());
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
        }
    }
}
