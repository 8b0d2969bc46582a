//! The first login: it waits for the operator, makes sure that the machine is another one than this, that the user may
//! use sudo, and that the key's line is where it belongs.

use std::fs;
use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{LogStream, StepContext, StepError};
use nodes_domain::{
    HostKey, Instance, ManagedKey, NodeTarget, ReasonCode, RemoteCommand, RemoteMachine, RemoteOutput, SshAccess,
    SshError,
};

use crate::reach::unreachable;
use crate::scripts::{FIND_OPTIONS, LOOK, value};

/// How long each script may take on the host.
const SCRIPT_LIMIT: Duration = Duration::from_secs(20);

/// The pauses between two looks whether the key was installed: few logins, because hosts ban who fails often. sshd counts
/// 5 s against each failure (`PerSourcePenalties`) and refuses connections from 15 s on, so that a shorter pause would
/// become a host that does not answer.
const PAUSES: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(30));

/// A remote node's machine as far as the provider needs it.
pub(crate) struct Door<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) machine: &'a RemoteMachine,
    pub(crate) key: &'a ManagedKey,
}

impl Door<'_> {
    pub(crate) fn place(&self) -> String {
        format!("{}@{}", self.machine.host.ssh_user, self.machine.host.hostname)
    }

    pub(crate) fn target(&self, host_key: &HostKey) -> NodeTarget {
        let host = &self.machine.host;
        NodeTarget {
            hostname: host.hostname.to_string(),
            public_ip: host.public_ip,
            ssh_port: host.ssh_port,
            ssh_user: host.ssh_user.to_string(),
            ssh_private_key_path: self.key.private_key_path.clone(),
            host_key: host_key.clone(),
        }
    }
}

/// A key's fingerprint for people.
pub(crate) fn named(key: &HostKey) -> String {
    let kind = key.as_str().split(' ').next().unwrap_or_default();
    match key.fingerprint() {
        Some(fingerprint) => format!("{kind} {fingerprint}"),
        None => kind.to_owned(),
    }
}

/// Logs in and makes the host ready for everything after: parks while it does not take the key.
pub(crate) async fn settle_in(
    ssh: &dyn SshAccess,
    door: &Door<'_>,
    host_key: &HostKey,
    key_wait: Duration,
    context: &StepContext,
) -> Result<(), StepError> {
    let target = door.target(host_key);
    let node_id = door.instance.node_id;
    let look = RemoteCommand::script(LOOK, SCRIPT_LIMIT).over_new_login();
    let seen = match ssh.run(node_id, &target, &look, context).await {
        Ok(output) => output,
        Err(SshError::AuthRejected) => return Err(await_key(door, key_wait, context)),
        Err(error) => return Err(no_login(door, host_key, &error, context)),
    };
    told(&seen, context).await;
    let host = door.machine.host.hostname.as_str();
    if is_this_host(&seen.stdout) {
        let detail = format!("`{host}` leads back to the control plane's own host, which cannot be a node.");
        return Err(StepError::failed(JobErrorCode::RemoteAddressRefused, detail));
    }
    match value(&seen.stdout, "sudo") {
        Some("yes") => {}
        Some("no") => return Err(no_sudo(door)),
        _ => {
            let detail = format!("{} logs in, but its shell does not run commands.", door.place());
            return Err(StepError::failed(JobErrorCode::SshKeyInjectionFailed, detail));
        }
    }
    if is_restricted(ssh, door, &target, host_key, context).await? {
        let line = format!(
            "authorized_keys of {} holds Pressluft's key behind options: it is left as it is, and no line is added.",
            door.place()
        );
        context.log(&line).await;
        return Ok(());
    }
    let install = RemoteCommand::script(door.key.install_command(), SCRIPT_LIMIT);
    let installed = ssh.run(node_id, &target, &install, context).await;
    let installed = installed.map_err(|error| no_login(door, host_key, &error, context))?;
    if installed.exit_status != Some(0) {
        told(&installed, context).await;
        let detail = format!(
            "{} could not write its authorized_keys: the log says why.",
            door.place()
        );
        return Err(StepError::failed(JobErrorCode::SshKeyInjectionFailed, detail));
    }
    Ok(())
}

/// Whether the operator let the key in behind options of sshd's.
async fn is_restricted(
    ssh: &dyn SshAccess,
    door: &Door<'_>,
    target: &NodeTarget,
    host_key: &HostKey,
    context: &StepContext,
) -> Result<bool, StepError> {
    let mut find = RemoteCommand::script(FIND_OPTIONS, SCRIPT_LIMIT);
    let mut words = door.key.public_key.split_ascii_whitespace();
    let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    find.stdin = format!("{kind} {data}\n").into_bytes();
    let found = ssh.run(door.instance.node_id, target, &find, context).await;
    let found = found.map_err(|error| no_login(door, host_key, &error, context))?;
    Ok(value(&found.stdout, "line") == Some("restricted"))
}

/// What a host said besides the answers goes to the log.
pub(crate) async fn told(output: &RemoteOutput, context: &StepContext) {
    for line in output.stderr.lines().filter(|line| !line.trim().is_empty()) {
        context.output(LogStream::Stderr, line.trim_end()).await;
    }
}

fn await_key(door: &Door<'_>, key_wait: Duration, context: &StepContext) -> StepError {
    let (now, end) = (context.now(), context.begun_at.plus(key_wait));
    let (place, user) = (door.place(), &door.machine.host.ssh_user);
    let line = door.key.install_command();
    if now >= end {
        let detail = format!(
            "{place} does not take the key. Where its line is there, sshd does not trust the file: neither it nor the \
             folders above may be writable for others (`chmod go-w ~ ~/.ssh ~/.ssh/authorized_keys`). Where it is not, \
             run on it, as {user}: {line}"
        );
        return StepError::failed(JobErrorCode::SshAuthRejected, detail);
    }
    StepError::Parked {
        run_after: now.plus(pause(now.since(context.begun_at))).min(end),
        detail: format!("{place} does not take the key yet. Run on it, as {user}: {line}"),
    }
}

/// The longer the operator takes, the less often is looked.
fn pause(waited: Duration) -> Duration {
    (waited / 4).clamp(PAUSES.0, PAUSES.1)
}

fn no_login(door: &Door<'_>, host_key: &HostKey, error: &SshError, context: &StepContext) -> StepError {
    let host = &door.machine.host;
    let place = format!("{} port {}", host.hostname, host.ssh_port);
    match error {
        SshError::Stopped(reason) => StepError::Stopped(*reason),
        SshError::HostKeyMismatch => StepError::failed(
            JobErrorCode::SshHostKeyMismatch,
            format!("{place} does not show the pinned host key, {}.", named(host_key)),
        ),
        SshError::AuthRejected => StepError::failed(
            JobErrorCode::SshAuthRejected,
            format!("{} took the key a moment ago and rejects it now.", door.place()),
        ),
        SshError::Refused => unreachable(format!(
            "{place} refused the connection: nothing listens there, or a firewall rejects it."
        )),
        SshError::Unreachable(_) | SshError::TimedOut(_) | SshError::Other(_) if context.time_left().is_zero() => {
            StepError::DeadlineExceeded
        }
        SshError::Unreachable(_) | SshError::TimedOut(_) => unreachable(format!("{place}: {error}.")),
        SshError::Other(_) => StepError::failed(JobErrorCode::SshKeyInjectionFailed, format!("{place}: {error}.")),
    }
}

fn no_sudo(door: &Door<'_>) -> StepError {
    let reason = ReasonCode::SudoUnavailable;
    let user = &door.machine.host.ssh_user;
    let detail = format!(
        "{reason}: {} For example, as root on {}: echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/{user}",
        reason.guidance(),
        door.machine.host.hostname
    );
    StepError::failed(JobErrorCode::NodeNotReady, detail)
}

/// Whether the ids that a machine told are this host's. Some containers share the id of the boot, and copies of one disk
/// share the id of the machine, so it takes both.
fn is_this_host(told: &str) -> bool {
    let own_machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let own_boot = process_exec::boot_id().unwrap_or_default();
    let same = |name: &str, own: &str| !own.is_empty() && value(told, name) == Some(own);
    same("machine-id", own_machine.trim()) && same("boot-id", &own_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_become_rarer_the_longer_the_operator_takes() {
        let seconds = |waited: u64| pause(Duration::from_secs(waited)).as_secs();
        assert_eq!([0, 12, 60, 120, 600].map(seconds), [6, 6, 15, 30, 30]);
    }

    #[test]
    fn only_both_ids_together_mean_this_host() {
        let machine = fs::read_to_string("/etc/machine-id").unwrap();
        let (machine, boot) = (machine.trim(), process_exec::boot_id().unwrap());
        let told = |machine: &str, boot: &str| format!("machine-id={machine}\nboot-id={boot}\nsudo=yes\n");
        assert!(is_this_host(&told(machine, &boot)));
        assert!(!is_this_host(&told("other", &boot)));
        assert!(!is_this_host(&told(machine, "other")));
        assert!(!is_this_host(&told("", "")));
        assert!(!is_this_host(""));
    }
}
