//! The provider of remote nodes, method by method.

use std::sync::Arc;

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{
    AcquireRequest, Acquired, AcquisitionSource, Capability, HostKey, Instance, ManagedKey, ManagedKeys, NodeProvider,
    Observation, ProviderId, ReleaseReport, RemoteMachine, SshAccess,
};

use crate::leave::{left_in_place, take_key_away};
use crate::login::{Door, named, settle_in};
use crate::scan::Shown;
use crate::{KeyScan, SshConfig};

/// Takes hosts of the operator's as nodes.
pub struct SshProvider {
    limits: SshConfig,
    ssh: Arc<dyn SshAccess>,
    keys: Arc<dyn ManagedKeys>,
    scan: KeyScan,
}

impl SshProvider {
    /// Works within the limits of `config`: logs in by `ssh` with the key of `keys`, and looks at hosts by `scan`.
    pub fn new(config: SshConfig, ssh: Arc<dyn SshAccess>, keys: Arc<dyn ManagedKeys>, scan: KeyScan) -> Self {
        Self {
            limits: config,
            ssh,
            keys,
            scan,
        }
    }
}

#[async_trait]
impl NodeProvider for SshProvider {
    fn id(&self) -> ProviderId {
        ProviderId::new("ssh")
    }

    fn source(&self) -> AcquisitionSource {
        AcquisitionSource::Remote
    }

    async fn capability(&self, context: &StepContext) -> Result<Capability, StepError> {
        let missing = self.scan.missing_program(context).await?;
        Ok(missing.map_or(Capability::Available, Capability::Unavailable))
    }

    async fn acquire(&self, request: &AcquireRequest, context: &StepContext) -> Result<Acquired, StepError> {
        let machine = remote(&request.instance)?;
        let host = &machine.host;
        if let Some(address) = host.public_ip {
            self.scan.refuse(&host.hostname, address)?;
        }
        context
            .detail(&format!(
                "asks {} port {} for its host key",
                host.hostname, host.ssh_port
            ))
            .await;
        let pinned = machine.host_key.as_ref().and_then(HostKey::fingerprint);
        let wanted = pinned.as_ref().or(host.host_key_fingerprint.as_ref());
        let shown = self.scan.look(&host.hostname, host.ssh_port, wanted, context).await?;
        let host_key = chosen(machine, &shown)?;
        let place = format!("{} ({}) port {}", host.hostname, shown.address, host.ssh_port);
        if machine.host_key.is_none() {
            let line = match &host.host_key_fingerprint {
                Some(_) => format!("{place} shows the host key that was given: {}.", named(&host_key)),
                None => format!(
                    "First contact with {place}: its host key {} is pinned from now on. Compare it with what \
                     `ssh-keygen -lf` prints for the host's own key file.",
                    named(&host_key)
                ),
            };
            context.log(&line).await;
        }
        context.detail(&format!("{place}, host key {}", named(&host_key))).await;
        Ok(Acquired {
            hostname: host.hostname.to_string(),
            public_ip: Some(host.public_ip.unwrap_or(shown.address)),
            ssh_port: host.ssh_port,
            ssh_user: host.ssh_user.to_string(),
            host_key,
        })
    }

    async fn inject_key(&self, instance: &Instance, public_key: &str, context: &StepContext) -> Result<(), StepError> {
        context.check()?;
        let machine = remote(instance)?;
        let Some(host_key) = &machine.host_key else {
            let detail = format!("No host key of {} is pinned yet.", machine.host.hostname);
            return Err(StepError::failed(JobErrorCode::SshHostKeyMismatch, detail));
        };
        let key = ManagedKey {
            public_key: public_key.to_owned(),
            ..self.keys.key().await?
        };
        let door = Door {
            instance,
            machine,
            key: &key,
        };
        settle_in(self.ssh.as_ref(), &door, host_key, self.limits.key_wait, context).await
    }

    async fn observe(&self, instance: &Instance, context: &StepContext) -> Result<Observation, StepError> {
        let host = &remote(instance)?.host;
        match self.scan.answering(&host.hostname, host.ssh_port, context).await {
            Ok(address) => Ok(Observation::Running(vec![address.ip()])),
            // Whether it exists only its owner knows.
            Err(StepError::Failed(failure)) => Ok(Observation::Unknown(failure.detail)),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, instance: &Instance, context: &StepContext) -> Result<ReleaseReport, StepError> {
        context.check()?;
        let machine = remote(instance)?;
        let hostname = machine.host.hostname.as_str();
        let mut left = Vec::new();
        match &machine.host_key {
            None => {
                let line = format!("{hostname} was never logged in to: nothing was put there, and nothing is removed.");
                context.log(&line).await;
                left.push(format!("the machine {hostname}, as it was: it was never logged in to"));
            }
            Some(host_key) => {
                let key = self.keys.key().await?;
                let door = Door {
                    instance,
                    machine,
                    key: &key,
                };
                let limit = self.limits.release_limit;
                left.extend(take_key_away(self.ssh.as_ref(), &door, host_key, limit, context).await?);
                left.extend(left_in_place(hostname));
            }
        }
        self.ssh.forget(instance.node_id).await?;
        Ok(ReleaseReport { left_in_place: left })
    }
}

fn remote(instance: &Instance) -> Result<&RemoteMachine, StepError> {
    let missing = || {
        let detail = format!("The node {} names no remote host.", instance.node_id);
        StepError::failed(JobErrorCode::LocalConfigInvalid, detail)
    };
    instance.remote.as_ref().ok_or_else(missing)
}

/// The key to pin: the one that is pinned, else the one that the operator gave the fingerprint of, else the first.
fn chosen(machine: &RemoteMachine, shown: &Shown) -> Result<HostKey, StepError> {
    let keys = &shown.keys;
    let (found, expected) = if let Some(pinned) = &machine.host_key {
        (keys.iter().find(|key| *key == pinned), named(pinned))
    } else if let Some(given) = &machine.host.host_key_fingerprint {
        let given_key = keys.iter().find(|key| key.fingerprint().as_ref() == Some(given));
        (given_key, given.to_string())
    } else {
        (keys.first(), String::new())
    };
    found.cloned().ok_or_else(|| {
        let seen: Vec<_> = keys.iter().map(named).collect();
        let detail = format!(
            "Expected {expected}; {} shows {}.",
            machine.host.hostname,
            seen.join(", ")
        );
        StepError::failed(JobErrorCode::SshHostKeyMismatch, detail)
    })
}
