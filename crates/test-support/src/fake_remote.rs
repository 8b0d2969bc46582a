//! Hosts of an operator's as they look from outside, and the control plane's own host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{Fingerprint, HostKey, HostKeyScan, Hostname, OwnHost};

use crate::fake_provider::{lock, pause};

/// Host keys that are shown without a login; a host that none were said of does not answer.
#[derive(Default)]
pub struct FakeHostKeys(Mutex<BTreeMap<(String, u16), Vec<HostKey>>>);

impl FakeHostKeys {
    /// From now on a host shows these.
    pub fn show(&self, hostname: &str, ssh_port: u16, keys: impl IntoIterator<Item = HostKey>) {
        lock(&self.0).insert((hostname.to_owned(), ssh_port), keys.into_iter().collect());
    }
}

#[async_trait]
impl HostKeyScan for FakeHostKeys {
    async fn scan(
        &self,
        hostname: &Hostname,
        ssh_port: u16,
        _wanted: Option<&Fingerprint>,
        context: &StepContext,
    ) -> Result<Vec<HostKey>, StepError> {
        pause(context).await?;
        let shown = lock(&self.0).get(&(hostname.to_string(), ssh_port)).cloned();
        shown.ok_or_else(|| StepError::failed(JobErrorCode::RemoteHostUnreachable, "the connection was refused"))
    }
}

/// A control plane's host at 198.51.100.1, called `control.example.test`.
pub struct FakeOwnHost;

impl OwnHost for FakeOwnHost {
    fn has_address(&self, address: IpAddr) -> bool {
        address == IpAddr::from([198, 51, 100, 1])
    }

    fn has_name(&self, name: &Hostname) -> bool {
        name.canonical() == "control.example.test"
    }
}
