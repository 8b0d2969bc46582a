//! Making the machine, and what a failed launch means: the machine may be there all the same, so the list decides.

use domain_kernel::{JobErrorCode, Timestamp};
use jobs::StepError;

use crate::acquire::Acquisition;
use crate::class::Class;
use crate::cloud_init;
use crate::trouble::Trouble;

/// How often a machine is launched: again where the image was corrupt or the machine vanished.
const LAUNCHES: u32 = 3;

impl Acquisition<'_> {
    /// Launches the machine, or decides what the launch before means now that it left nothing.
    pub(crate) async fn make(&mut self) -> Result<(), StepError> {
        if let Some((trouble, since)) = self.launch_failed.take() {
            return self.after_launch(trouble, since).await;
        }
        if self.seen {
            self.seen = false;
            self.ctx.log("The machine has vanished; a new one is made.").await;
        }
        if self.launches >= LAUNCHES {
            let detail = format!("`{}` was launched {LAUNCHES} times and is not there.", self.name);
            return Err(StepError::failed(JobErrorCode::LocalAcquisitionFailed, detail));
        }
        self.refuse_primary().await?;
        self.launches += 1;
        self.ctx.detail(&format!("launching {}", self.name)).await;
        let user_data = cloud_init::user_data(self.key);
        match self.cli.launch(self.ctx, self.name, &user_data).await {
            Ok(()) => self.answered(),
            Err(Trouble::Step(error)) => return Err(error),
            // Whatever it says, the machine may be there: the list decides.
            Err(trouble) => self.launch_failed = Some((trouble, self.ctx.now())),
        }
        self.ctx.point("acquire.launched").await;
        Ok(())
    }

    /// A launch failed, and the list has no machine.
    async fn after_launch(&mut self, trouble: Trouble, since: Timestamp) -> Result<(), StepError> {
        let goes_on = matches!(trouble, Trouble::NoEnd { .. })
            || matches!(
                trouble.class(),
                Some(Class::ClientTimeout | Class::BeingPrepared | Class::AlreadyExists)
            );
        let waited = self.ctx.now().since(since);
        match trouble.class() {
            Some(Class::DaemonUnreachable) => {
                self.launches -= 1;
                self.wait_for_daemon(trouble).await
            }
            Some(Class::ImageCorrupt) if self.launches < 2 => {
                self.ctx
                    .log(&format!("Launches once more: {}.", trouble.reason()))
                    .await;
                Ok(())
            }
            _ if goes_on && waited < self.cli.config.settle_limit => {
                self.launch_failed = Some((trouble, since));
                self.ctx.sleep(self.cli.config.poll).await
            }
            _ => Err(trouble.into_step()),
        }
    }
}
