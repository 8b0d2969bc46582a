//! Waiting for a daemon that is out of reach, as it is for a while after the host has started.

use std::time::Duration;

use domain_kernel::Timestamp;
use jobs::StepContext;

use crate::cli::Cli;
use crate::list::Listed;
use crate::trouble::Trouble;

/// How long something was waited for, and the next pause.
#[derive(Default)]
pub(crate) struct Patience {
    since: Option<Timestamp>,
    next: Option<Duration>,
}

impl Patience {
    /// Pauses because of `trouble`, or gives it back where the waiting has taken as long as it may.
    pub(crate) async fn pause(&mut self, cli: &Cli, ctx: &StepContext, trouble: Trouble) -> Result<(), Trouble> {
        let config = &cli.config;
        let now = ctx.now();
        let waited = now.since(*self.since.get_or_insert(now));
        if waited >= config.daemon_patience {
            return Err(trouble);
        }
        let pause = self.next.unwrap_or(config.backoff).min(config.backoff_max);
        ctx.log(&format!("Waits for Multipass: {}.", trouble.reason())).await;
        ctx.sleep(pause.min(config.daemon_patience - waited)).await?;
        self.next = Some(pause * 2);
        Ok(())
    }
}

impl Cli {
    /// Looks for a machine, and goes on looking for as long as the daemon may be out of reach.
    pub(crate) async fn look_patiently(&self, ctx: &StepContext, name: &str) -> Result<Option<Listed>, Trouble> {
        let mut patience = Patience::default();
        loop {
            match self.look(ctx, name).await {
                Err(trouble) if trouble.may_pass() => patience.pause(self, ctx, trouble).await?,
                answer => return answer,
            }
        }
    }
}
