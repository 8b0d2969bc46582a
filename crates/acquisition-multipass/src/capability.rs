//! What `multipass version` tells of this host. Its exit codes are coarse (2 for everything that the daemon reports, and
//! 0 with the daemon out of reach), so they are read together with what it prints.
//!
//! | `multipass version --format json` | what it means | code |
//! |---|---|---|
//! | no such program | not installed | `LOCAL_PROVIDER_UNAVAILABLE` |
//! | exit 0, JSON with `multipass` and `multipassd` | installed, the daemon answers | `LOCAL_PROVIDER_UNAVAILABLE`: see [`CANNOT_MAKE`] |
//! | exit 0, JSON without `multipassd` | the daemon is out of reach | `LOCAL_PROVIDER_UNAVAILABLE` |
//! | exit 2, `cannot connect to the multipass socket`; exit 3 | the daemon is out of reach | `LOCAL_PROVIDER_UNAVAILABLE` |
//! | exit 2, `multipass socket access denied` | the socket is closed to this user | `LOCAL_PROVIDER_DENIED` |
//! | exit 2, `is not authenticated with the Multipass service` | this user is not authenticated | `LOCAL_PROVIDER_DENIED` |
//! | exit 1 | the daemon has never been started | `LOCAL_PROVIDER_UNAVAILABLE` |
//! | no end within the limit, any other end | no usable answer | `LOCAL_PROVIDER_UNAVAILABLE` |

use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::Unavailable;
use process_exec::{CommandRunner, CommandSpec, Ended, ExecError, Output};

/// How long `multipass version` may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Why even a working Multipass is of no use to this version.
pub(crate) const CANNOT_MAKE: &str = "this version of Pressluft cannot make Multipass machines yet";

/// What helps wherever Multipass does not.
const USE_NSPAWN: &str = "set PRESSLUFT_LOCAL_PROVIDER=nspawn on a Linux host without virtualization, then restart \
                          Pressluft and create a new node";

/// What stands in the way of making Multipass machines on this host.
pub(crate) async fn obstacle(runner: &dyn CommandRunner, context: &StepContext) -> Result<Unavailable, StepError> {
    context.check()?;
    let limits = context.within(LIMIT).limits;
    match runner.run(version(), &limits).await {
        Ok(output) => Ok(installed(&output)),
        Err(error @ ExecError::NotFound { .. }) => Ok(not_installed(&error)),
        Err(ExecError::Stopped { reason, .. }) => Err(StepError::Stopped(reason)),
        Err(ExecError::TimedOut { .. }) => {
            // The context's own deadline may have been the nearer one.
            context.check()?;
            Ok(in_vain(format!("it did not answer within {} s", LIMIT.as_secs())))
        }
        Err(error @ ExecError::Unkillable { .. }) => Err(StepError::failed(
            JobErrorCode::LocalProviderUnavailable,
            error.to_string(),
        )),
        Err(ExecError::System { source, .. }) => Ok(in_vain(format!("it could not be run: {source}"))),
    }
}

fn version() -> CommandSpec {
    CommandSpec::new("multipass")
        .args(["version", "--format", "json"])
        .env("LC_ALL", "C")
}

fn not_installed(error: &ExecError) -> Unavailable {
    Unavailable {
        code: JobErrorCode::LocalProviderUnavailable,
        reason: error.to_string(),
        remedy: format!("install it with `sudo snap install multipass` ({CANNOT_MAKE}), or {USE_NSPAWN}"),
    }
}

/// Multipass is installed, and something besides this version of Pressluft stands in the way.
fn in_vain(trouble: impl std::fmt::Display) -> Unavailable {
    unavailable(
        JobErrorCode::LocalProviderUnavailable,
        format!("`multipass` is installed, but {trouble}; besides, {CANNOT_MAKE}"),
    )
}

fn unavailable(code: JobErrorCode, reason: String) -> Unavailable {
    Unavailable {
        code,
        reason,
        remedy: USE_NSPAWN.to_owned(),
    }
}

fn installed(output: &Output) -> Unavailable {
    let errors = output.stderr_text();
    let denied = |trouble: &str| Unavailable {
        code: JobErrorCode::LocalProviderDenied,
        ..in_vain(trouble)
    };
    match output.ended {
        Ended::Exit(0) => answered(&output.stdout),
        Ended::Exit(1) => in_vain("its daemon has never been started (`multipass version` ended with status 1)"),
        Ended::Exit(2) if errors.contains("multipass socket access denied") => {
            denied("its socket is closed to the user that Pressluft runs as")
        }
        Ended::Exit(2) if errors.contains("is not authenticated with the Multipass service") => {
            denied("the user that Pressluft runs as is not authenticated with it")
        }
        Ended::Exit(2) if errors.contains("cannot connect to the multipass socket") => {
            in_vain("its daemon is out of reach")
        }
        Ended::Exit(3) => in_vain("its daemon is out of reach"),
        Ended::Exit(status) => in_vain(format!("`multipass version` ended with status {status}")),
        Ended::Signal(signal) => in_vain(format!("`multipass version` was ended by signal {signal}")),
    }
}

/// `{"multipass":"1.16.3","multipassd":"1.16.3"}`, the second only where the daemon is in reach.
fn answered(stdout: &[u8]) -> Unavailable {
    let json: Option<serde_json::Value> = serde_json::from_slice(stdout).ok();
    let known = |key: &str| Some(json.as_ref()?.get(key)?.as_str()?.to_owned());
    match (known("multipass"), known("multipassd")) {
        (Some(version), Some(_)) => unavailable(
            JobErrorCode::LocalProviderUnavailable,
            format!("`multipass` {version} is installed and its daemon answers, but {CANNOT_MAKE}"),
        ),
        (Some(_), None) => in_vain("its daemon is out of reach"),
        (None, _) => in_vain("`multipass version` printed something else than its version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stdout: &[u8], stderr: &str) -> Output {
        Output {
            ended: Ended::Exit(status),
            stdout: stdout.to_vec(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn every_answer_of_an_installed_multipass_has_its_class() {
        use JobErrorCode::{LocalProviderDenied as Denied, LocalProviderUnavailable as Missing};
        let both = br#"{"multipassd":"1.16.3+mac","multipass":"1.16.3","zone":[]}"#.as_slice();
        let socket = "version failed: multipass socket access denied\nPlease check your access\n";
        let login = "*** Warning! ***\nversion failed: The client is not authenticated with the Multipass service.\n";
        let down = "version failed: cannot connect to the multipass socket\n";
        let cases = [
            (
                output(0, both, ""),
                Missing,
                "1.16.3 is installed and its daemon answers",
            ),
            (output(0, br#"{"multipass":"1.16.3"}"#, ""), Missing, "out of reach"),
            (output(0, b"multipass  1.16.3\n", ""), Missing, "something else"),
            (output(0, b"", ""), Missing, "something else"),
            (output(0, b"\xff\xfe[", ""), Missing, "something else"),
            (output(0, br#"{"multipass":7}"#, ""), Missing, "something else"),
            (
                output(1, b"", "Caught an unhandled exception: x"),
                Missing,
                "never been started",
            ),
            (output(2, b"", socket), Denied, "closed to the user"),
            (output(2, b"", login), Denied, "not authenticated"),
            (output(2, b"", down), Missing, "out of reach"),
            (output(2, b"", "version failed: else"), Missing, "status 2"),
            (output(3, b"", ""), Missing, "out of reach"),
        ];
        for (output, code, part) in cases {
            let found = installed(&output);
            assert_eq!(found.code, code, "{output:?}");
            assert!(found.reason.contains(part), "{} / {part}", found.reason);
            assert!(found.reason.ends_with(CANNOT_MAKE), "{}", found.reason);
            assert!(found.remedy.contains("PRESSLUFT_LOCAL_PROVIDER=nspawn"));
        }
    }
}
