//! The machine's host key, read through Multipass's own channel before the first login.

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::HostKey;

use crate::class::Class;
use crate::classify::plain;
use crate::cli::Cli;
use crate::patience::Patience;
use crate::trouble::Trouble;

/// How often it is tried.
const TRIES: u32 = 3;

/// The kind that is pinned.
const KIND: &str = "ssh-ed25519 ";

/// Reads the host key.
pub(crate) async fn read(cli: &Cli, ctx: &StepContext, name: &str) -> Result<HostKey, StepError> {
    let mut patience = Patience::default();
    let mut tries = 1;
    loop {
        let trouble = match cli.exec(ctx, name, &["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).await {
            Ok(output) => match parse(&output.stdout) {
                Some(key) => return Ok(key),
                None => Trouble::Broken(format!("`{name}` did not show its host key")),
            },
            Err(trouble) => trouble,
        };
        if trouble.class() == Some(Class::DaemonUnreachable) {
            patience.pause(cli, ctx, trouble).await.map_err(Trouble::into_step)?;
            continue;
        }
        let again =
            matches!(trouble, Trouble::NoEnd { .. } | Trouble::Broken(_)) || trouble.class() == Some(Class::SshFailure);
        if !again || tries == TRIES {
            return Err(match trouble.class() {
                // It ran a moment ago: the next attempt looks at it anew.
                Some(Class::UnknownState) => trouble.into_step_as(JobErrorCode::LocalAcquisitionFailed),
                _ => trouble.into_step(),
            });
        }
        tries += 1;
        ctx.log(&format!("Reads the host key again: {}.", trouble.reason()))
            .await;
        ctx.sleep(cli.config.poll).await?;
    }
}

/// Finds the key, wherever a spinner has left it on its line.
fn parse(stdout: &[u8]) -> Option<HostKey> {
    let text = plain(stdout);
    let mut keys = text.match_indices(KIND);
    keys.find_map(|(at, _)| text[at..].lines().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_behind_a_spinner_and_nothing_else_is_taken_for_one() {
        let data = "A".repeat(68);
        let key = format!("ssh-ed25519 {data}");
        for stdout in [
            format!("{key} root@n1\n"),
            format!("\x1b[2K\x1b[0A\x1b[0E|\x08/\x08 Starting n1\r\x1b[2K{key} root@n1\r\n"),
            key.clone(),
        ] {
            assert_eq!(parse(stdout.as_bytes()).unwrap().as_str(), key, "{stdout:?}");
        }
        for stdout in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 ",
            "ssh-ed25519 \n",
            "ssh-rsa AAAA",
            "\u{fffd}\x1b[",
        ] {
            assert_eq!(parse(stdout.as_bytes()), None, "{stdout:?}");
        }
    }
}
