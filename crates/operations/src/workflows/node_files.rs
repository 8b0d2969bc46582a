//! Files on nodes: scripts that are run as root, whoever logs in, and what their ends mean.

use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{ByteSink, ByteSource, Node, RemoteCommand, RemoteOutput, SshError, TransferError};
use sites_domain::StoredObject;

use super::{SiteWork, target_of};

/// How long a look at files, or their removal, may take.
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// How long a transfer may take.
const TRANSFER_LIMIT: Duration = Duration::from_secs(25 * 60);

/// The exit status of a script that found something else than what was to arrive.
const MISMATCH: i32 = 3;

/// The script as root runs it: by itself where root logs in, by sudo where another user does.
pub(crate) fn as_root(script: &str) -> String {
    let quoted = script.replace('\'', r"'\''");
    format!("s='{quoted}'; [ \"$(id -u)\" -ne 0 ] || exec sh -c \"$s\"; exec sudo -n sh -c \"$s\"")
}

/// Prints those of `paths` that are there.
fn present_script(paths: &[&str]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| format!("'{path}'")).collect();
    format!("for f in {}; do [ ! -e \"$f\" ] || echo \"$f\"; done", paths.join(" "))
}

/// Succeeds where the file is there and has these bytes.
fn same_script(path: &str, object: &StoredObject) -> String {
    format!(
        "f='{path}'; [ \"$(stat -c %s \"$f\" 2>&1)\" = '{}' ] && echo '{}' \" $f\" | sha256sum --check --status",
        object.size_bytes, object.sha256
    )
}

/// Takes a file from standard input. It gets its name when its bytes were compared and are on the disk; what a broken-off
/// writing left is removed first.
fn take_script(path: &str, object: &StoredObject, mode: &str, writer: &str) -> String {
    let (folder, _) = path.rsplit_once('/').unwrap_or(("/", path));
    let StoredObject { size_bytes, sha256 } = object;
    format!(
        "set -e; f='{path}'; p=\"$f.{writer}.part\"; mkdir -p '{folder}'; rm -f \"$f\".*.part; umask 077; cat > \"$p\"; \
         if [ \"$(stat -c %s \"$p\")\" != '{size_bytes}' ] || ! echo '{sha256}' \" $p\" | sha256sum --check --status; \
         then rm -f \"$p\"; exit {MISMATCH}; fi; chmod {mode} \"$p\"; sync \"$p\"; mv \"$p\" \"$f\""
    )
}

/// Makes a symlink in one go.
fn link_script(link: &str, to: &str) -> String {
    format!(
        "[ \"$(readlink '{link}')\" = '{to}' ] || {{ rm -f '{link}.new'; ln -s '{to}' '{link}.new' && mv -T '{link}.new' \
         '{link}'; }}"
    )
}

/// What a file is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is there now.
    Whole,
    /// Something else arrived; nothing is there.
    Mismatch,
}

impl SiteWork {
    /// Those of `paths` that are there.
    pub(super) async fn present(
        &self,
        node: &Node,
        paths: &[&str],
        context: &StepContext,
    ) -> Result<Vec<String>, StepError> {
        let output = self.as_root(node, &present_script(paths), context).await?;
        Ok(succeeded(output)?.stdout.lines().map(str::to_owned).collect())
    }

    /// Whether a file is there with these bytes.
    pub(super) async fn has_file(
        &self,
        node: &Node,
        path: &str,
        object: &StoredObject,
        context: &StepContext,
    ) -> Result<bool, StepError> {
        if self.present(node, &[path], context).await?.is_empty() {
            return Ok(false);
        }
        let output = self.as_root(node, &same_script(path, object), context).await?;
        Ok(output.exit_status == Some(0))
    }

    /// Removes files and folders; those that are not there are no error.
    pub(super) async fn remove_files(
        &self,
        node: &Node,
        paths: &[String],
        context: &StepContext,
    ) -> Result<(), StepError> {
        let paths: Vec<_> = paths.iter().map(|path| format!("'{path}' '{path}'.*.part")).collect();
        let output = self
            .as_root(node, &format!("rm -rf -- {}", paths.join(" ")), context)
            .await?;
        succeeded(output).map(|_| ())
    }

    /// Makes `link` a symlink to `to`.
    pub(super) async fn link(&self, node: &Node, link: &str, to: &str, context: &StepContext) -> Result<(), StepError> {
        let output = self.as_root(node, &link_script(link, to), context).await?;
        succeeded(output).map(|_| ())
    }

    /// Sends a file that only root writes.
    pub(super) async fn send_file(
        &self,
        node: &Node,
        path: &str,
        object: &StoredObject,
        mode: &str,
        source: &mut dyn ByteSource,
        context: &StepContext,
    ) -> Result<Sent, StepError> {
        // Another run of the job may still be writing: each has a file of its own.
        let job = context.job_id.map(|id| id.short().to_string()).unwrap_or_default();
        let writer = format!("{job}-{}", context.epoch);
        let script = as_root(&take_script(path, object, mode, &writer));
        let command = RemoteCommand::script(script, TRANSFER_LIMIT);
        let sent = self.transfer.send(node.id, target_of(node)?, &command, source, context);
        let output = sent.await.map_err(transfer_error)?;
        if output.exit_status == Some(MISMATCH) {
            return Ok(Sent::Mismatch);
        }
        succeeded(output).map(|_| Sent::Whole)
    }

    /// Reads a file that only root reads.
    pub(super) async fn read_file(
        &self,
        node: &Node,
        path: &str,
        sink: &mut dyn ByteSink,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let command = RemoteCommand::script(as_root(&format!("cat '{path}'")), TRANSFER_LIMIT);
        let received = self
            .transfer
            .receive(node.id, target_of(node)?, &command, sink, context);
        succeeded(received.await.map_err(transfer_error)?).map(|_| ())
    }

    async fn as_root(&self, node: &Node, script: &str, context: &StepContext) -> Result<RemoteOutput, StepError> {
        let command = RemoteCommand::script(as_root(script), LOOK_LIMIT);
        let output = self.ssh.run(node.id, target_of(node)?, &command, context).await;
        output.map_err(ssh_error)
    }
}

/// What it means for a job that a command could not be run.
fn ssh_error(error: SshError) -> StepError {
    let code = match &error {
        SshError::Stopped(reason) => return StepError::Stopped(*reason),
        SshError::AuthRejected => JobErrorCode::SshAuthRejected,
        SshError::HostKeyMismatch => JobErrorCode::SshHostKeyMismatch,
        SshError::Refused | SshError::Unreachable(_) | SshError::TimedOut(_) | SshError::Other(_) => {
            JobErrorCode::AnsibleHostUnreachable
        }
    };
    StepError::failed(code, error.to_string())
}

fn transfer_error(error: TransferError) -> StepError {
    match error {
        TransferError::Ssh(error) => ssh_error(error),
        TransferError::Local(failure) => failure.into(),
    }
}

/// The output of a command that has to end well.
fn succeeded(output: RemoteOutput) -> Result<RemoteOutput, StepError> {
    if output.exit_status == Some(0) {
        return Ok(output);
    }
    let line: String = output
        .stderr
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    let end = match output.exit_status {
        Some(124) => "did not end within its limit".to_owned(),
        Some(status) => format!("ended with {status}"),
        None => "ended in a way that is not known".to_owned(),
    };
    let failure = Failure::new(
        JobErrorCode::AnsibleHostFailed,
        format!("A command on the machine {end}: {line}"),
    );
    Err(failure.into())
}

#[cfg(test)]
mod tests;
