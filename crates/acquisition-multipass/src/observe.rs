//! What is seen of a machine, by one look at the list.

use std::net::IpAddr;

use jobs::{StepContext, StepError};
use nodes_domain::Observation;

use crate::cli::Cli;
use crate::list::{Listed, State};
use crate::trouble::Trouble;

/// Looks at the machine once. Absent only where the list was understood and lacks it.
pub(crate) async fn observe(cli: &Cli, ctx: &StepContext, name: &str) -> Result<Observation, StepError> {
    match cli.look(ctx, name).await {
        Ok(None) => Ok(Observation::Absent),
        Ok(Some(machine)) => Ok(seen(machine)),
        Err(Trouble::Step(error)) => Err(error),
        Err(trouble) => Ok(Observation::Unknown(trouble.reason())),
    }
}

fn seen(machine: Listed) -> Observation {
    let between = |state: &str| Observation::Unknown(format!("Multipass says that it is {state}"));
    match machine.state {
        // A shutdown that was asked for with a delay has not begun.
        State::Running | State::DelayedShutdown => {
            Observation::Running(machine.addresses.into_iter().map(IpAddr::V4).collect())
        }
        State::Stopped | State::Suspended => Observation::Stopped,
        State::Starting => between("starting"),
        State::Restarting => between("restarting"),
        State::Suspending => between("suspending"),
        State::Deleted => between("deleted and not purged"),
        State::Other(state) => Observation::Unknown(format!("Multipass has it in the state `{state}`")),
    }
}
