//! Giving a machine back: only ever `delete --purge` with its name, and the list proves it.

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{Instance, ReleaseReport};

use crate::class::Class;
use crate::cli::Cli;
use crate::list::Listed;
use crate::patience::Patience;
use crate::trouble::Trouble;

/// Destroys the machine. An absent one is a success.
pub(crate) async fn release(cli: &Cli, ctx: &StepContext, instance: &Instance) -> Result<ReleaseReport, StepError> {
    let name = &instance.name();
    match look(cli, ctx, name).await {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(ReleaseReport::default()),
        // Nothing can be asked or removed, and a node whose acquisition failed for that must not stay for ever. One that had
        // a machine is another matter: a mistyped setting would lose it.
        Err(Trouble::NotInstalled(_)) if !instance.acquired => return Ok(out_of_reach(name)),
        Err(trouble) => return Err(left(name, "may be left", trouble)),
    }
    ctx.detail(&format!("deleting {name}")).await;
    let deleted = delete(cli, ctx, name).await;
    ctx.point("release.deleted").await;
    let trouble = match deleted {
        Err(Trouble::Step(error)) => return Err(error),
        deleted => deleted.err(),
    };
    match cli.look_patiently(ctx, name).await {
        Ok(None) => Ok(ReleaseReport::default()),
        Ok(Some(machine)) => {
            let seen = Trouble::Broken(format!("the list has it as {:?}", machine.state));
            Err(left(name, "is left", trouble.unwrap_or(seen)))
        }
        Err(looking) => Err(left(name, "may be left", trouble.unwrap_or(looking))),
    }
}

/// Looks for the machine, and for one that may be on its way for a while.
async fn look(cli: &Cli, ctx: &StepContext, name: &str) -> Result<Option<Listed>, Trouble> {
    let mut told = false;
    loop {
        let found = cli.look_patiently(ctx, name).await?;
        if found.is_some() || !cli.unfinished.may_appear(name, ctx.now(), cli.config.settle_limit) {
            return Ok(found);
        }
        if !told {
            told = true;
            ctx.detail(&format!("waiting for {name}: its launch may go on")).await;
        }
        ctx.sleep(cli.config.poll).await?;
    }
}

async fn delete(cli: &Cli, ctx: &StepContext, name: &str) -> Result<(), Trouble> {
    let mut patience = Patience::default();
    loop {
        match cli.delete(ctx, name).await {
            Err(trouble) if trouble.class() == Some(Class::DaemonUnreachable) => {
                patience.pause(cli, ctx, trouble).await?;
            }
            answer => return answer,
        }
    }
}

fn left(name: &str, what: &str, trouble: Trouble) -> StepError {
    match trouble {
        Trouble::Step(error) => error,
        trouble => StepError::failed(
            JobErrorCode::NodeReleaseFailed,
            format!(
                "The machine `{name}` {what}: {} `multipass delete --purge {name}` removes it.",
                trouble.told()
            ),
        ),
    }
}

fn out_of_reach(name: &str) -> ReleaseReport {
    ReleaseReport {
        left_in_place: vec![format!(
            "any machine `{name}` of a Multipass that is no longer installed here: with it, `multipass list` shows the \
             machine and `multipass delete --purge {name}` removes it"
        )],
    }
}
