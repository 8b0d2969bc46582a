//! Starting the machine, and bringing back one whose state Multipass does not know.

use domain_kernel::JobErrorCode;
use jobs::StepError;

use crate::acquire::Acquisition;
use crate::class::Class;
use crate::trouble::Trouble;

/// How often a machine is started.
const STARTS: u32 = 3;

impl Acquisition<'_> {
    /// Starts the machine and waits for its SSH, three times at most.
    pub(crate) async fn start(&mut self) -> Result<(), StepError> {
        if self.starts >= STARTS {
            return Err(match self.start_failed.take() {
                Some(trouble) => trouble.into_step(),
                None => StepError::failed(
                    JobErrorCode::LocalAcquisitionTimeout,
                    format!("`{}` was started {STARTS} times and does not run.", self.name),
                ),
            });
        }
        self.refuse_primary().await?;
        self.starts += 1;
        self.ctx.detail(&format!("starting {}", self.name)).await;
        let started = self.cli.start(self.ctx, self.name).await;
        self.ctx.point("acquire.machine_started").await;
        match started {
            Ok(()) => {
                self.answered();
                Ok(())
            }
            Err(trouble) => {
                if trouble.class() == Some(Class::DaemonUnreachable) {
                    self.starts -= 1;
                }
                self.after_start(trouble).await
            }
        }
    }

    /// A start or restart failed: whether the list is worth another look.
    pub(crate) async fn after_start(&mut self, trouble: Trouble) -> Result<(), StepError> {
        let class = match &trouble {
            Trouble::NoEnd { .. } => Class::ClientTimeout,
            Trouble::Failed { class, .. } => *class,
            _ => return Err(trouble.into_step()),
        };
        match class {
            Class::DaemonUnreachable => self.wait_for_daemon(trouble).await,
            Class::Busy | Class::BeingPrepared => {
                self.starts = self.starts.saturating_sub(1);
                self.settle("it is still busy").await
            }
            Class::SshTimeout
            | Class::CloudInitTimeout
            | Class::ClientTimeout
            | Class::DiedDuringStart
            | Class::AlreadyExists
            | Class::InstanceMissing
            | Class::InstanceDeleted
            | Class::UnknownState
            | Class::NotRunning
            | Class::SshFailure
            | Class::Other => {
                self.ctx
                    .log(&format!("Looks at the machine again: {}.", trouble.reason()))
                    .await;
                self.start_failed = Some(trouble);
                self.ctx.sleep(self.cli.config.poll).await
            }
            _ => Err(trouble.into_step()),
        }
    }

    /// Multipass does not know what the machine does: stopped by force and started, once.
    pub(crate) async fn recover(&mut self, state: &str) -> Result<(), StepError> {
        let name = self.name;
        if self.recovered {
            return Err(StepError::failed(
                JobErrorCode::LocalInstanceUnusable,
                format!(
                    "`{name}` is in the state `{state}` after it was stopped by force and started. `multipass info {name}` \
                     may say why."
                ),
            ));
        }
        self.refuse_primary().await?;
        self.ctx
            .log(&format!(
                "The machine is in the state `{state}`: stops it by force and starts it."
            ))
            .await;
        self.ctx.detail(&format!("recovering {name}")).await;
        let mut stopped = self.cli.stop(self.ctx, name, true).await;
        if stopped
            .as_ref()
            .is_err_and(|trouble| trouble.class() == Some(Class::RefusedArguments))
        {
            stopped = self.cli.stop(self.ctx, name, false).await;
        }
        match stopped {
            Ok(()) => {}
            Err(Trouble::Step(error)) => return Err(error),
            Err(trouble) if trouble.class() == Some(Class::DaemonUnreachable) => {
                return self.wait_for_daemon(trouble).await;
            }
            Err(trouble) => {
                self.ctx
                    .log(&format!("Starts it all the same: {}.", trouble.reason()))
                    .await
            }
        }
        self.recovered = true;
        let starts = self.starts;
        self.start().await?;
        // A daemon that was away when the start was asked for has done nothing of it.
        self.recovered = self.starts > starts || self.busy_since.is_some();
        Ok(())
    }
}
