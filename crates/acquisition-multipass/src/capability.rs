//! What `multipass version` tells of this host. It ends with status 0 even where the daemon is out of reach, so its end
//! is read together with what it prints.
//!
//! | `multipass version --format json` | what it means | answer |
//! |---|---|---|
//! | no such program, or not executable | not installed | `LOCAL_PROVIDER_UNAVAILABLE` |
//! | exit 0, JSON with `multipass` and `multipassd` | installed, the daemon answers | available |
//! | exit 0, JSON without `multipassd` | the daemon is out of reach | what `multipass list` says: one of the rows below, or available after all |
//! | exit 0, anything else | not Multipass | `LOCAL_PROVIDER_UNAVAILABLE` |
//! | exit 2, `cannot connect to the multipass socket`; exit 3 | the daemon is out of reach | `LOCAL_PROVIDER_NOT_RESPONDING` |
//! | exit 2, `multipass socket access denied` | the socket is closed to this user | `LOCAL_PROVIDER_DENIED` |
//! | exit 2, `is not authenticated with the Multipass service` | this user is not authenticated | `LOCAL_PROVIDER_DENIED` |
//! | exit 1 | the daemon has never been started | `LOCAL_PROVIDER_UNAVAILABLE` |
//! | no end within the limit, or a list that cannot be used | it cannot tell just now | `LOCAL_PROVIDER_NOT_RESPONDING` |
//! | any other end | no usable answer | `LOCAL_PROVIDER_UNAVAILABLE` |
//!
//! A daemon out of reach may only be slow to start: the code is a retryable one, and `acquire` waits for it.

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{Capability, Unavailable};
use process_exec::Ended;

use crate::class::{Class, START_DAEMON, USE_NSPAWN};
use crate::cli::Cli;
use crate::list::versions;
use crate::trouble::Trouble;

/// Whether Multipass works on this host.
pub(crate) async fn capability(cli: &Cli, ctx: &StepContext) -> Result<Capability, StepError> {
    if let Err(error) = cli.config.check() {
        return Ok(unavailable(
            JobErrorCode::LocalConfigInvalid,
            error.to_string(),
            "correct that setting, then restart Pressluft".to_owned(),
        ));
    }
    match cli.version(ctx).await {
        Ok(output) => match versions(&output.stdout) {
            Some(found) if found.daemon.is_some() => Ok(Capability::Available),
            // It ends well without its daemon; why that is out of reach, a command that needs it tells.
            Some(_) => match cli.look(ctx, "").await {
                Ok(_) => Ok(Capability::Available),
                Err(Trouble::Step(error)) => Err(error),
                Err(trouble) => Ok(obstacle(&trouble)),
            },
            None => Ok(missing(
                "`multipass version` printed something else than its version".to_owned(),
            )),
        },
        Err(Trouble::Step(error)) => Err(error),
        Err(trouble) => Ok(obstacle(&trouble)),
    }
}

fn obstacle(trouble: &Trouble) -> Capability {
    let reason = trouble.reason();
    let silent = |reason| {
        unavailable(
            JobErrorCode::LocalProviderNotResponding,
            reason,
            START_DAEMON.to_owned(),
        )
    };
    match trouble {
        Trouble::NotInstalled(_) => unavailable(
            JobErrorCode::LocalProviderUnavailable,
            reason,
            format!("install it with `sudo snap install multipass`, or {USE_NSPAWN}"),
        ),
        Trouble::NoEnd { .. } | Trouble::Garbled { .. } => silent(reason),
        Trouble::Failed { class, ended, .. } => match class {
            Class::DaemonUnreachable => silent(reason),
            Class::SocketDenied | Class::NotAuthenticated => unavailable(
                class.code(),
                reason,
                class.remedy().unwrap_or(USE_NSPAWN).to_owned(),
            ),
            _ if *ended == Ended::Exit(1) => unavailable(
                JobErrorCode::LocalProviderUnavailable,
                "`multipass` is installed, but its daemon has never been started (`multipass version` ended with status 1)"
                    .to_owned(),
                format!("{START_DAEMON}, or {USE_NSPAWN}"),
            ),
            _ => missing(reason),
        },
        Trouble::Step(_) | Trouble::Broken(_) => missing(reason),
    }
}

fn missing(reason: String) -> Capability {
    unavailable(JobErrorCode::LocalProviderUnavailable, reason, USE_NSPAWN.to_owned())
}

fn unavailable(code: JobErrorCode, reason: String, remedy: String) -> Capability {
    Capability::Unavailable(Unavailable { code, reason, remedy })
}
