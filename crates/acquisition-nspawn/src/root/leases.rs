//! Host-wide state: which machine has which address, and the lock that everything host-wide is done under.
//!
//! Several data directories may run on one host, so the leases lie outside of all of them and survive a reboot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jobs::{StepContext, StepError};
use serde::{Deserialize, Serialize};

use super::host::Host;
use crate::address::{AddressRange, Link, first_free, routed_networks};
use crate::config::NspawnConfig;
use crate::failure::{Code, io_failed};
use crate::files::{Lock, make_dir, read_if_there, write_atomic};
use crate::record::MachineFolder;

/// One machine's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    link: Link,
    /// The data directory that the machine belongs to.
    data_dir: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct LeaseTable {
    leases: BTreeMap<String, Lease>,
}

/// The host-wide state, locked: nobody else on this host changes addresses or shared mounts meanwhile.
pub(crate) struct HostState {
    table: LeaseTable,
    path: PathBuf,
    code: Code,
    _lock: Lock,
}

impl HostState {
    /// Waits for the lock and reads the leases. `code` is what trouble with them ends in.
    pub(crate) async fn lock(ctx: &StepContext, config: &NspawnConfig, code: Code) -> Result<Self, StepError> {
        let folder = &config.state_dir;
        make_dir(folder, 0o700).map_err(|error| io_failed(code, folder, &error))?;
        let lock = Lock::file(ctx, code, &folder.join("lock")).await?;
        let path = folder.join("addresses.json");
        let table = read(&path, code)?;
        Ok(Self {
            table,
            path,
            code,
            _lock: lock,
        })
    }

    /// The machine's link: the one it has, else the lowest free one, recorded before it is used.
    pub(crate) async fn lease(
        &mut self,
        host: &Host,
        ctx: &StepContext,
        config: &NspawnConfig,
        instance: &str,
    ) -> Result<Link, StepError> {
        if let Some(owner) = self.other_owner(config, instance) {
            return Err(StepError::failed(
                Code::LocalInstanceConflict,
                format!("{instance} is a machine of the data directory {}", owner.display()),
            ));
        }
        let link = match self.table.leases.get(instance) {
            Some(lease) if lease.data_dir == config.data_dir => return Ok(lease.link),
            // The data directory was moved here.
            Some(lease) => lease.link,
            None => self.free_link(host, ctx, config.range).await?,
        };
        self.table.leases.insert(
            instance.to_owned(),
            Lease {
                link,
                data_dir: config.data_dir.clone(),
            },
        );
        self.store()?;
        Ok(link)
    }

    /// The other data directory that the machine of this name belongs to: this one is a copy of it.
    pub(crate) fn other_owner(&self, config: &NspawnConfig, instance: &str) -> Option<&Path> {
        let owner = &self.table.leases.get(instance)?.data_dir;
        let elsewhere = *owner != config.data_dir && MachineFolder::new(owner, instance).path().exists();
        elsewhere.then_some(owner.as_path())
    }

    async fn free_link(&self, host: &Host, ctx: &StepContext, range: AddressRange) -> Result<Link, StepError> {
        let listing = host
            .expect(ctx, self.code, &["ip", "-j", "-4", "route", "show", "table", "all"])
            .await?;
        let occupied = routed_networks(&listing, range).map_err(|error| {
            StepError::failed(self.code, format!("the routes of this host cannot be read: {error}"))
        })?;
        let leased: Vec<_> = self.table.leases.values().map(|lease| lease.link).collect();
        first_free(range, &leased, &occupied).ok_or_else(|| {
            StepError::failed(
                Code::LocalConfigInvalid,
                format!("the range {range} for local nodes has no free address: choose another or a larger one"),
            )
        })
    }

    /// Gives the machine's address back. Says whether no machine of any data directory has one any more.
    pub(crate) fn give_back(&mut self, instance: &str) -> Result<bool, StepError> {
        if self.table.leases.remove(instance).is_some() {
            self.store()?;
        }
        Ok(self.table.leases.is_empty())
    }

    fn store(&self) -> Result<(), StepError> {
        let text = serde_json::to_vec_pretty(&self.table)
            .map_err(|error| StepError::failed(Code::Internal, format!("{}: {error}", self.path.display())))?;
        write_atomic(&self.path, &text, 0o600).map_err(|error| io_failed(self.code, &self.path, &error))
    }
}

/// The address that a machine has, without the lock: for looking only.
pub(crate) fn peek(config: &NspawnConfig, instance: &str) -> Result<Option<Link>, StepError> {
    let table = read(&config.state_dir.join("addresses.json"), Code::LocalAcquisitionFailed)?;
    Ok(table.leases.get(instance).map(|lease| lease.link))
}

fn read(path: &Path, code: Code) -> Result<LeaseTable, StepError> {
    match read_if_there(path).map_err(|error| io_failed(code, path, &error))? {
        None => Ok(LeaseTable::default()),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| StepError::failed(code, format!("{} cannot be read: {error}", path.display()))),
    }
}
