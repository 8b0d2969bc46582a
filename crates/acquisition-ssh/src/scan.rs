//! Which host keys a host shows, without a login, by `ssh-keyscan`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, Timestamp};
use jobs::{LogStream, StepContext, StepError};
use nodes_domain::{Fingerprint, HostKey, HostKeyScan, Hostname, OwnHost, Unavailable, refused_address};
use process_exec::{CommandRunner, CommandSpec, ExecError};

use crate::SshConfig;
use crate::keyscan::{KINDS, keys_in};
use crate::reach::{addresses, first_open, unreachable};

/// The most that `ssh-keyscan` may wait for one kind of key.
const KIND_LIMIT: Duration = Duration::from_secs(4);

/// How long a program may take to say that it is there.
const PROGRAM_LIMIT: Duration = Duration::from_secs(5);

/// What a host showed.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The address that answered.
    pub(crate) address: IpAddr,
    /// Its host keys, the preferred one first; never empty.
    pub(crate) keys: Vec<HostKey>,
}

/// Looks at hosts. Cheap to clone.
#[derive(Clone)]
pub struct KeyScan {
    limits: SshConfig,
    runner: Arc<dyn CommandRunner>,
    own: Arc<dyn OwnHost>,
    refused: fn(&dyn OwnHost, IpAddr) -> Option<&'static str>,
}

impl KeyScan {
    /// Looks within the limits of `config`, by programs that `runner` starts; never at `own`.
    pub fn new(config: SshConfig, runner: Arc<dyn CommandRunner>, own: Arc<dyn OwnHost>) -> Self {
        Self {
            limits: config,
            runner,
            own,
            refused: refused_address,
        }
    }

    /// The same for hosts at any address, this host's own included: the servers of tests are there.
    #[cfg(test)]
    pub(crate) fn of_any_address(self) -> Self {
        Self {
            refused: |_, _| None,
            ..self
        }
    }

    /// Fails where an address is none for a node.
    pub(crate) fn refuse(&self, hostname: &Hostname, address: IpAddr) -> Result<(), StepError> {
        match (self.refused)(self.own.as_ref(), address) {
            None => Ok(()),
            Some(reason) => Err(refused(&format!(
                "`{hostname}` means {address}, and that cannot be a node: {reason}."
            ))),
        }
    }

    /// The addresses that a name means, none of them this host's.
    async fn resolved(
        &self,
        hostname: &Hostname,
        port: u16,
        context: &StepContext,
    ) -> Result<Vec<SocketAddr>, StepError> {
        if hostname.is_localhost() || self.own.has_name(hostname) {
            let detail = format!("`{hostname}` is a name of the control plane's own host, which cannot be a node.");
            return Err(refused(&detail));
        }
        let found = addresses(hostname, port, self.limits.scan_limit, context).await?;
        for address in &found {
            self.refuse(hostname, address.ip())?;
        }
        Ok(found)
    }

    /// The address of a host that accepts a connection now.
    pub(crate) async fn answering(
        &self,
        hostname: &Hostname,
        port: u16,
        context: &StepContext,
    ) -> Result<SocketAddr, StepError> {
        let found = self.resolved(hostname, port, context).await?;
        first_open(&found, self.limits.connect_limit, context).await
    }

    /// What a host shows, until the wanted key was among it, or any where none is wanted.
    pub(crate) async fn look(
        &self,
        hostname: &Hostname,
        port: u16,
        wanted: Option<&Fingerprint>,
        context: &StepContext,
    ) -> Result<Shown, StepError> {
        let end = context.now().plus(self.limits.scan_limit);
        let late = || {
            let seconds = self.limits.scan_limit.as_secs_f32();
            unreachable(format!(
                "`{hostname}` port {port} timed out: no answer within {seconds} s."
            ))
        };
        let bounded = context.within(self.limits.scan_limit);
        let address = match self.answering(hostname, port, &bounded).await {
            // The nearer end was this scan's.
            Err(StepError::DeadlineExceeded) => return context.check().and_then(|()| Err(late())),
            other => other?,
        };
        let mut keys = Vec::new();
        for kind in KINDS {
            keys.extend(self.keys(address, kind, end, context).await?);
            let is_enough = |key: &HostKey| wanted.is_none_or(|wanted| key.fingerprint().as_ref() == Some(wanted));
            if keys.iter().any(is_enough) {
                break;
            }
        }
        if keys.is_empty() {
            return Err(unreachable(format!(
                "{} port {port} accepts connections but is no SSH server: it shows no host key of the kinds {}.",
                address.ip(),
                KINDS.join(", ")
            )));
        }
        Ok(Shown {
            address: address.ip(),
            keys,
        })
    }

    async fn keys(
        &self,
        address: SocketAddr,
        kind: &str,
        end: Timestamp,
        context: &StepContext,
    ) -> Result<Vec<HostKey>, StepError> {
        context.check()?;
        let left = end.since(context.now());
        let seconds = KIND_LIMIT.min(left / 2).as_secs().max(1);
        let command = CommandSpec::new("ssh-keyscan")
            .args(["-T", &seconds.to_string(), "-p", &address.port().to_string()])
            .args(["-t", kind, &address.ip().to_string()]);
        let output = match self.runner.run(command, &context.limits.until(end)).await {
            Ok(output) => output,
            Err(ExecError::TimedOut { output, .. }) => {
                context.check()?;
                output
            }
            Err(ExecError::Stopped { reason, .. }) => return Err(StepError::Stopped(reason)),
            Err(error @ (ExecError::NotFound { .. } | ExecError::System { .. } | ExecError::Unkillable { .. })) => {
                return Err(StepError::failed(
                    JobErrorCode::LocalProviderUnavailable,
                    format!("{error}."),
                ));
            }
        };
        for line in output.stderr_text().lines().filter(|line| !line.trim().is_empty()) {
            context.output(LogStream::Stderr, line.trim_end()).await;
        }
        Ok(keys_in(&output.stdout))
    }

    /// The first program of SSH that this host lacks.
    pub(crate) async fn missing_program(&self, context: &StepContext) -> Result<Option<Unavailable>, StepError> {
        // `ssh-keyscan` has no option that only tells its version; without a host it ends at once.
        let programs = [CommandSpec::new("ssh").arg("-V"), CommandSpec::new("ssh-keyscan")];
        for program in programs {
            context.check()?;
            match self.runner.run(program, &context.within(PROGRAM_LIMIT).limits).await {
                Ok(_) => {}
                Err(ExecError::Stopped { reason, .. }) => return Err(StepError::Stopped(reason)),
                Err(error) => {
                    context.check()?;
                    return Ok(Some(Unavailable {
                        code: JobErrorCode::LocalProviderUnavailable,
                        reason: error.to_string(),
                        remedy: "sudo apt-get install openssh-client".to_owned(),
                    }));
                }
            }
        }
        Ok(None)
    }
}

fn refused(detail: &str) -> StepError {
    StepError::failed(JobErrorCode::RemoteAddressRefused, detail)
}

#[async_trait]
impl HostKeyScan for KeyScan {
    async fn scan(
        &self,
        hostname: &Hostname,
        ssh_port: u16,
        wanted: Option<&Fingerprint>,
        context: &StepContext,
    ) -> Result<Vec<HostKey>, StepError> {
        Ok(self.look(hostname, ssh_port, wanted, context).await?.keys)
    }
}
