//! Starts `ssh` as the master of a connection.

use std::path::Path;
use std::time::Duration;

use jobs::StepContext;
use nodes_domain::SshError;
use process_exec::{CommandRunner, CommandSpec, ExecError, MARK, Output};

use crate::classify::{classify, short};

/// How long a login may take in all, authentication included, which `ConnectTimeout` does not bound.
const LOGIN_LIMIT: Duration = Duration::from_secs(12);

/// How long a master stays without a command, in seconds.
const IDLE: u32 = 60;

/// Logs in to the machine that `config` calls `name`, and leaves a master behind that listens on `socket`.
///
/// Until the login `ssh` is a recorded child like any other. With it `ssh` goes into the background (`-f`), without
/// the mark by which its runner would end it: from then on its socket is what it is found by (see `reap`).
pub(crate) async fn start(
    runner: &dyn CommandRunner,
    config: &Path,
    name: &str,
    socket: &Path,
    context: &StepContext,
) -> Result<(), SshError> {
    let limits = context.within(LOGIN_LIMIT);
    let command = CommandSpec::new("env")
        .args(["-u", MARK, "ssh", "-F"])
        .arg(config)
        .args(["-f", "-N", "-M", "-S"])
        .arg(socket)
        .args(["-o", "StrictHostKeyChecking=yes", "-o"])
        .arg(format!("ControlPersist={IDLE}"))
        .arg(name);
    let allowed = limits.time_left();
    match runner.run(command, &limits.limits).await {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => Err(failure(&output)),
        Err(ExecError::Stopped { reason, .. }) => Err(SshError::Stopped(reason)),
        Err(ExecError::TimedOut { .. }) => Err(SshError::TimedOut(allowed)),
        Err(error @ (ExecError::NotFound { .. } | ExecError::System { .. } | ExecError::Unkillable { .. })) => {
            Err(SshError::Other(error.to_string()))
        }
    }
}

fn failure(output: &Output) -> SshError {
    let stderr = output.stderr_text();
    match classify(&stderr) {
        SshError::Other(text) if text.is_empty() => SshError::Other(format!("it ended with {:?}", output.ended)),
        SshError::Other(text) => SshError::Other(short(&text)),
        named => named,
    }
}
