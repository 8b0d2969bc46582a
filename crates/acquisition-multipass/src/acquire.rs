//! From whatever there is of a machine to one that runs and answers: look at the list, do what its state asks for, look
//! again. Nothing is remembered between two calls, so a call can be repeated after the process died at any point.
//!
//! | in the list | what is done |
//! |---|---|
//! | no machine | `launch`; where one failed and left nothing: by its class, see below |
//! | Running | waits for an address that answers SSH, 120 s; one that has no address is restarted once |
//! | Starting, Restarting, Stopped, Suspended, Delayed Shutdown | `start`, three times at most |
//! | Suspending | polls |
//! | Deleted | `LOCAL_INSTANCE_CONFLICT`: it is the operator's to recover or to purge |
//! | Unknown, anything else | `stop --force` and `start`, once; then `LOCAL_INSTANCE_UNUSABLE` |
//!
//! | known failure | left behind | what follows here | code in the end |
//! |---|---|---|---|
//! | cloud-init timeout | the machine, Running | adopted; the key is put in by `exec` | - |
//! | SSH-up timeout | the machine, Unknown | `stop --force` and `start`, once | `LOCAL_INSTANCE_UNUSABLE` |
//! | exit 5, client ended at its deadline | the daemon goes on | polls the list | `LOCAL_ACQUISITION_TIMEOUT` |
//! | client ended during the download | nothing | polls the list | `LOCAL_ACQUISITION_TIMEOUT` |
//! | Running without an address, or `N/A` | the machine | polls, restarts it once, polls | `LOCAL_ADDRESS_MISSING` |
//! | no address answers SSH | the machine | polls | `LOCAL_ACQUISITION_TIMEOUT` |
//! | address changed | the machine | read anew by every acquire | - |
//! | daemon not up yet | - | waits, 2 s to 15 s, for 120 s | `LOCAL_PROVIDER_NOT_RESPONDING` |
//! | Unknown after the host's restart | the machine | `stop --force` and `start`, once | `LOCAL_INSTANCE_UNUSABLE` |
//! | the machine vanished | - | a new one is made, and the log says so | - |
//! | socket denied, not authenticated | - | - | `LOCAL_PROVIDER_DENIED` |
//! | already exists | a machine | looks at the list and adopts | - |
//! | being prepared | another launch | polls the list | `LOCAL_ACQUISITION_TIMEOUT` |
//! | `exec` hangs | - | ended at its limit, two more tries | `LOCAL_ACQUISITION_TIMEOUT`, `SSH_KEY_INJECTION_FAILED` |
//! | image corrupt | nothing | launched once more | `LOCAL_IMAGE_UNAVAILABLE` |
//! | download failed | nothing | - | `LOCAL_ACQUISITION_FAILED` |
//! | KVM; invalid values; disk; image not found | nothing | - | `LOCAL_PROVIDER_UNAVAILABLE`; `LOCAL_CONFIG_INVALID`; `HOST_DISK_FULL`; `LOCAL_IMAGE_UNAVAILABLE` |

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use domain_kernel::{JobErrorCode, Timestamp};
use jobs::{StepContext, StepError};
use nodes_domain::Acquired;

use crate::cli::Cli;
use crate::host_key;
use crate::list::{Listed, State};
use crate::names::{PRIMARY, check_name};
use crate::patience::Patience;
use crate::probe::AddressProbe;
use crate::trouble::Trouble;

/// One call of `acquire`: what it has tried so far.
pub(crate) struct Acquisition<'a> {
    pub(crate) cli: &'a Cli,
    probe: &'a dyn AddressProbe,
    pub(crate) ctx: &'a StepContext,
    pub(crate) name: &'a str,
    pub(crate) key: &'a str,
    name_checked: bool,
    pub(crate) seen: bool,
    pub(crate) launches: u32,
    /// The last launch's failure and its time, until the machine is seen.
    pub(crate) launch_failed: Option<(Trouble, Timestamp)>,
    pub(crate) starts: u32,
    pub(crate) start_failed: Option<Trouble>,
    pub(crate) recovered: bool,
    restarted: bool,
    /// Since when it runs and does not answer.
    silent_since: Option<Timestamp>,
    /// Since when it is suspending or busy.
    pub(crate) busy_since: Option<Timestamp>,
    patience: Patience,
}

impl<'a> Acquisition<'a> {
    pub(crate) fn new(
        cli: &'a Cli,
        probe: &'a dyn AddressProbe,
        ctx: &'a StepContext,
        name: &'a str,
        key: &'a str,
    ) -> Self {
        Self {
            cli,
            probe,
            ctx,
            name,
            key,
            name_checked: false,
            seen: false,
            launches: 0,
            launch_failed: None,
            starts: 0,
            start_failed: None,
            recovered: false,
            restarted: false,
            silent_since: None,
            busy_since: None,
            patience: Patience::default(),
        }
    }

    /// Brings the machine up, and learns its address and host key.
    pub(crate) async fn run(mut self) -> Result<Acquired, StepError> {
        let address = loop {
            let found = self.cli.look_patiently(self.ctx, self.name).await;
            if let Some(address) = self.advance(found.map_err(Trouble::into_step)?).await? {
                break address;
            }
        };
        self.ctx.point("acquire.address_known").await;
        let host_key = host_key::read(self.cli, self.ctx, self.name).await?;
        self.ctx.point("acquire.host_key_read").await;
        self.ctx.detail(&format!("{} runs at {address}", self.name)).await;
        let config = &self.cli.config;
        Ok(Acquired {
            hostname: address.to_string(),
            public_ip: Some(IpAddr::V4(address)),
            ssh_port: config.ssh_port,
            ssh_user: config.ssh_user.clone(),
            host_key,
        })
    }

    /// Does what the machine's state asks for; its address where nothing is left to do.
    async fn advance(&mut self, found: Option<Listed>) -> Result<Option<Ipv4Addr>, StepError> {
        let Some(machine) = found else {
            self.make().await?;
            return Ok(None);
        };
        self.seen = true;
        if let Some((trouble, _)) = self.launch_failed.take() {
            let reason = trouble.reason();
            self.ctx
                .log(&format!("Goes on with the machine that is there, although {reason}."))
                .await;
        }
        // Waits are for what it does now: one that ran a while ago, or was busy then, has all its time again.
        match machine.state {
            State::Running => self.busy_since = None,
            _ => self.silent_since = None,
        }
        match machine.state {
            State::Running => return self.answering(&machine.addresses).await,
            State::Starting | State::Restarting | State::Stopped | State::Suspended | State::DelayedShutdown => {
                self.start().await?;
            }
            State::Suspending => self.settle("it is still suspending").await?,
            State::Deleted => return Err(self.conflict()),
            State::Other(state) => self.recover(&state).await?,
        }
        Ok(None)
    }

    fn conflict(&self) -> StepError {
        let name = self.name;
        StepError::failed(
            JobErrorCode::LocalInstanceConflict,
            format!(
                "`{name}` was deleted and not purged. `multipass recover {name}` brings it back, `multipass delete --purge \
                 {name}` removes it."
            ),
        )
    }

    /// Waits before something that changes the machine is tried again, for as long as a daemon is waited for in all.
    pub(crate) async fn wait_for_daemon(&mut self, trouble: Trouble) -> Result<(), StepError> {
        let paused = self.patience.pause(self.cli, self.ctx, trouble).await;
        paused.map_err(Trouble::into_step)
    }

    /// The daemon did what it was asked for: whatever it waits for next has all its time.
    pub(crate) fn answered(&mut self) {
        self.patience = Patience::default();
        self.busy_since = None;
    }

    /// Waits a little for a machine that is in between two states.
    pub(crate) async fn settle(&mut self, what: &str) -> Result<(), StepError> {
        let now = self.ctx.now();
        let limit = self.cli.config.settle_limit;
        if now.since(*self.busy_since.get_or_insert(now)) >= limit {
            let detail = format!("`{}` did not settle within {limit:?}: {what}.", self.name);
            return Err(StepError::failed(JobErrorCode::LocalAcquisitionTimeout, detail));
        }
        self.ctx.sleep(self.cli.config.poll).await
    }

    /// The first address that answers SSH. `None` after a pause, where none does yet.
    async fn answering(&mut self, addresses: &[Ipv4Addr]) -> Result<Option<Ipv4Addr>, StepError> {
        let config = &self.cli.config;
        for address in addresses {
            let place = SocketAddr::from((*address, config.ssh_port));
            let limited = self.ctx.within(config.ssh_connect_limit);
            let answers = self.probe.answers(place, &limited).await?;
            self.ctx.check()?;
            if answers {
                return Ok(Some(*address));
            }
        }
        let now = self.ctx.now();
        if now.since(*self.silent_since.get_or_insert(now)) < config.address_limit {
            self.ctx.sleep(config.poll).await?;
            return Ok(None);
        }
        if !addresses.is_empty() {
            let detail = format!(
                "`{}` runs, and none of its addresses ({}) answers on port {} within {:?}.",
                self.name,
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                config.ssh_port,
                config.address_limit
            );
            return Err(StepError::failed(JobErrorCode::LocalAcquisitionTimeout, detail));
        }
        if self.restarted {
            let detail = format!(
                "`{}` runs and has no address, {:?} after it was restarted for that.",
                self.name, config.address_limit
            );
            return Err(StepError::failed(JobErrorCode::LocalAddressMissing, detail));
        }
        self.restarted = true;
        self.silent_since = None;
        self.ctx.log("The machine runs without an address; restarts it.").await;
        self.ctx.detail(&format!("restarting {}", self.name)).await;
        match self.cli.restart(self.ctx, self.name).await {
            Ok(()) => Ok(None),
            Err(trouble) => self.after_start(trouble).await.map(|()| None),
        }
    }

    /// `start` and `launch` make a machine of the primary name and mount the user's home folder into it.
    pub(crate) async fn refuse_primary(&mut self) -> Result<(), StepError> {
        if self.name_checked {
            return Ok(());
        }
        let primary = match self.cli.primary_name(self.ctx).await {
            Ok(primary) => primary,
            Err(Trouble::Step(error)) => return Err(error),
            Err(trouble) => {
                let reason = trouble.reason();
                self.ctx
                    .log(&format!("Takes `{PRIMARY}` for the primary machine's name: {reason}."))
                    .await;
                PRIMARY.to_owned()
            }
        };
        check_name(self.name, &primary)?;
        self.name_checked = true;
        Ok(())
    }
}
