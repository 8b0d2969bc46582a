//! Pressluft's key into the login user's authorized_keys, by one `exec`.
//!
//! An exit code alone proves nothing, because Multipass's own failures share the remote command's codes. Done means
//! exit 0 and a word on standard output that only the script's end prints; everything else is `SSH_KEY_INJECTION_FAILED`,
//! but for a daemon that does not answer, refuses this user, or is not installed, which have codes of their own.

use domain_kernel::JobErrorCode;
use jobs::{LogStream, StepContext, StepError};

use crate::class::Class;
use crate::cli::Cli;
use crate::patience::Patience;
use crate::trouble::Trouble;

/// How often it is tried where `exec` hangs.
const TRIES: u32 = 3;

/// What the script prints at its end. It is put together there, so that an echo of the script is not taken for it.
const SENTINEL: &str = "pressluft-key-in-place";

/// Appends the line `$1` where it is missing. ASCII on one line: older clients mangle anything else. It never ends with
/// status 4, which older clients take for a wish to be run again.
const SCRIPT: &str = "umask 077; f=$HOME/.ssh/authorized_keys; \
    { mkdir -p \"$HOME/.ssh\" && chmod 700 \"$HOME/.ssh\" && { [ -e \"$f\" ] || : >\"$f\"; } && chmod 600 \"$f\" && \
    { grep -qxF -e \"$1\" \"$f\" || \
    { { [ ! -s \"$f\" ] || [ -z \"$(tail -c 1 \"$f\")\" ] || echo >>\"$f\"; } && printf '%s\\n' \"$1\" >>\"$f\"; }; } && \
    grep -qxF -e \"$1\" \"$f\" && printf '%s-%s\\n' pressluft-key in-place; } || exit 70";

/// The key as the one line that goes into the file: a second one would be a second key.
pub(crate) fn line(public_key: &str) -> Result<&str, StepError> {
    let key = public_key.trim_end();
    let printable = key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if key.is_empty() || !printable {
        return Err(failed("The key is not one line of printable ASCII."));
    }
    Ok(key)
}

/// Puts a public key in.
pub(crate) async fn inject(cli: &Cli, ctx: &StepContext, name: &str, public_key: &str) -> Result<(), StepError> {
    let key = line(public_key)?;
    let mut patience = Patience::default();
    let mut tries = 1;
    loop {
        let trouble = match cli.exec(ctx, name, &["sh", "-c", SCRIPT, "sh", key]).await {
            Ok(output) if has(&output.stdout, SENTINEL) => return Ok(()),
            Ok(output) => {
                cli.tell(ctx, LogStream::Stdout, &output.stdout).await;
                return Err(failed(&format!(
                    "`multipass exec` for `{name}` ended well and did not say that the key is in place."
                )));
            }
            Err(trouble) => trouble,
        };
        match trouble.class() {
            Some(Class::DaemonUnreachable) => {
                patience.pause(cli, ctx, trouble).await.map_err(Trouble::into_step)?;
            }
            Some(Class::SocketDenied | Class::NotAuthenticated) => return Err(trouble.into_step()),
            _ if matches!(trouble, Trouble::NotInstalled(_)) => return Err(trouble.into_step()),
            _ if matches!(trouble, Trouble::NoEnd { .. }) && tries < TRIES => {
                tries += 1;
                ctx.log(&format!("Puts the key in again: {}.", trouble.reason())).await;
            }
            _ => return Err(trouble.into_step_as(JobErrorCode::SshKeyInjectionFailed)),
        }
    }
}

fn failed(detail: &str) -> StepError {
    StepError::failed(JobErrorCode::SshKeyInjectionFailed, detail)
}

fn has(stdout: &[u8], word: &str) -> bool {
    stdout.windows(word.len()).any(|window| window == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_ascii_line_without_its_own_sentinel_or_an_exit_of_four() {
        assert!(
            SCRIPT.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()),
            "{SCRIPT}"
        );
        assert!(!SCRIPT.contains(SENTINEL));
        assert!(SCRIPT.ends_with("|| exit 70"));
        assert!(has(b"\x1b[2K/\x08 Starting\rpressluft-key-in-place\n", SENTINEL));
        assert!(!has(b"pressluft-key", SENTINEL));
    }
}
