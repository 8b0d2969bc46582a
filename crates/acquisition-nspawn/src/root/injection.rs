//! Puts a public key on a machine through its namespaces: the provider's own channel, which needs no login.

use jobs::{StepContext, StepError};

use super::host::Host;
use super::machine;
use crate::ADMIN_USER;
use crate::failure::Code;
use crate::record::MachineFolder;

const CODE: Code = Code::SshKeyInjectionFailed;

const SCRIPT: &str = include_str!("inject_key.sh");

/// The last line of a script that came to its end.
const SENTINEL: &str = "pressluft-key-present";

/// Sees to the key. The machine has to run.
pub(crate) async fn inject(
    host: &Host,
    ctx: &StepContext,
    folder: &MachineFolder,
    public_key: &str,
) -> Result<(), StepError> {
    let line = public_key.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        return Err(StepError::failed(CODE, "the public key is not one line"));
    }
    let leader = machine::running(CODE, folder)?.and_then(machine::leader);
    let Some(leader) = leader else {
        return Err(StepError::failed(CODE, "the machine does not run"));
    };
    let leader = leader.to_string();
    let command = [
        "nsenter", "-t", &leader, "-a", "runuser", "-u", ADMIN_USER, "--", "sh", "-c", SCRIPT,
    ];
    let said = host.feed(ctx, CODE, &command, &format!("{line}\n")).await?;
    ctx.point("inject_key.written").await;
    if said.trim_end().ends_with(SENTINEL) {
        Ok(())
    } else {
        Err(StepError::failed(CODE, "the key's script did not come to its end"))
    }
}
