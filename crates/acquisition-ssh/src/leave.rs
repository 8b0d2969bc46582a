//! The last login: the key's line goes, everything else stays, and what stays is told. A host that is gone or closed to
//! Pressluft holds nobody up: nothing of it was Pressluft's but that line.

use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{HostKey, RemoteCommand, RemoteOutput, SshAccess, SshError};

use crate::login::{Door, named, told};
use crate::scripts::{REMOVE_LINE, removal_line, value};

/// How long the script may take on the host.
const SCRIPT_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two tries to log in.
const PAUSE: Duration = Duration::from_secs(2);

/// Takes the key's line away. Returns what became of it where it may still be there, for the operator.
pub(crate) async fn take_key_away(
    ssh: &dyn SshAccess,
    door: &Door<'_>,
    host_key: &HostKey,
    limit: Duration,
    context: &StepContext,
) -> Result<Option<String>, StepError> {
    let target = door.target(host_key);
    let mut remove = RemoteCommand::script(REMOVE_LINE, SCRIPT_LIMIT).over_new_login();
    remove.stdin = format!("{}\n", door.key.public_key.trim()).into_bytes();
    let end = context.now().plus(limit);
    loop {
        context.check()?;
        let bounded = context.within(end.since(context.now()));
        let error = match ssh.run(door.instance.node_id, &target, &remove, &bounded).await {
            Ok(output) => return removed(door, &output, context).await,
            Err(error) => error,
        };
        let why = match error {
            SshError::Stopped(reason) => return Err(StepError::Stopped(reason)),
            SshError::AuthRejected => {
                format!("{} rejects the key already, so nobody could look", door.place())
            }
            SshError::HostKeyMismatch => format!(
                "{} does not show the pinned host key ({}) and was not logged in to",
                door.machine.host.hostname,
                named(host_key)
            ),
            SshError::Refused | SshError::Unreachable(_) | SshError::TimedOut(_) | SshError::Other(_) => {
                context.check()?;
                if context.now().plus(PAUSE) < end {
                    context.sleep(PAUSE).await?;
                    continue;
                }
                if let SshError::Other(_) = error {
                    return Err(not_removed(door, &error.to_string()));
                }
                format!("{} could not be reached ({error})", door.machine.host.hostname)
            }
        };
        return Ok(Some(line_left(door, &why)));
    }
}

async fn removed(door: &Door<'_>, output: &RemoteOutput, context: &StepContext) -> Result<Option<String>, StepError> {
    told(output, context).await;
    let place = door.place();
    let said = match value(&output.stdout, "line").filter(|_| output.exit_status == Some(0)) {
        Some("gone") => format!("Pressluft's line is gone from authorized_keys of {place}."),
        Some("absent") => format!("Pressluft's line is not in authorized_keys of {place}."),
        _ => return Err(not_removed(door, "the log says why")),
    };
    context.log(&said).await;
    let other = value(&output.stdout, "key") == Some("left");
    Ok(other
        .then(|| format!("another line with Pressluft's key in authorized_keys of {place}, which somebody else wrote")))
}

fn line_left(door: &Door<'_>, why: &str) -> String {
    format!(
        "Pressluft's line in authorized_keys, where it is there: {why}. To remove it run on {}, as {}: `{}`",
        door.machine.host.hostname,
        door.machine.host.ssh_user,
        removal_line(&door.key.public_key)
    )
}

fn not_removed(door: &Door<'_>, why: &str) -> StepError {
    StepError::failed(
        JobErrorCode::NodeReleaseFailed,
        format!("Left: {}", line_left(door, why)),
    )
}

/// What stays on a host that was a node.
pub(crate) fn left_in_place(hostname: &str) -> Vec<String> {
    vec![
        format!("the machine {hostname} itself"),
        "what provisioning installed on it (nginx, PHP, MariaDB, Redis, tools) and its settings of the firewall and fail2ban"
            .to_owned(),
        "the files and databases of its sites".to_owned(),
    ]
}
