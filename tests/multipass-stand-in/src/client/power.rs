//! Commands that change machines that are there.

use super::{Client, Outcome};
use crate::args::{Args, OptionSpec};
use crate::daemon::{Request, Stop, ask};
use crate::failure::Failure;
use crate::state::VmState;

/// Names of instances, at least one of them.
fn names(args: &Args) -> Result<&[String], Failure> {
    if args.positional.is_empty() {
        return Err(Failure::refused("Name argument or --all is required"));
    }
    Ok(&args.positional)
}

impl Client {
    pub(super) fn start(&self, subcommand: &str, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[(&["timeout"], true), (&["all"], false)])?;
        let timeout = args.timeout()?;
        let named = names(&args)?;
        self.reach_daemon(subcommand)?;
        for name in named {
            Self::spin(&format!("{subcommand}ing {name}"));
            let (name, delay) = (name.clone(), self.fault.daemon_delay);
            let request = match subcommand {
                "start" => Request::Start { name, delay },
                _ => Request::Restart { name, delay },
            };
            let Some(reply) = ask(&self.store, &request, timeout) else {
                return Err(Failure {
                    code: 5,
                    stderr: format!("{subcommand} failed: Timed out waiting for instance to {subcommand}.\n"),
                });
            };
            reply?;
        }
        Ok(0)
    }

    pub(super) fn stop(&self, rest: &[String]) -> Outcome {
        let known: &[OptionSpec] = &[
            (&["time", "t"], true),
            (&["cancel", "c"], false),
            (&["force"], false),
            (&["all"], false),
        ];
        let args = Args::parse(rest, known)?;
        let named = names(&args)?;
        let kind = match (args.value("time"), args.has("cancel"), args.has("force")) {
            (None | Some("0" | "+0"), false, false) => Stop::Now,
            (Some(_), false, false) => Stop::Later,
            (None, true, false) => Stop::Cancel,
            (None, false, true) => Stop::Force,
            _ => {
                return Err(Failure::refused(
                    "Cannot set 'time', 'cancel' or 'force' at the same time",
                ));
            }
        };
        self.reach_daemon("stop")?;
        for name in named {
            Self::spin(&format!("Stopping {name}"));
            self.ask(&Request::Stop {
                name: name.clone(),
                kind,
            })?;
        }
        Ok(0)
    }

    pub(super) fn suspend(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[(&["all"], false)])?;
        let named = names(&args)?;
        self.reach_daemon("suspend")?;
        for name in named {
            Self::spin(&format!("Suspending {name}"));
            self.ask(&Request::Suspend { name: name.clone() })?;
        }
        Ok(0)
    }

    pub(super) fn delete(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[(&["purge", "p"], false), (&["all"], false)])?;
        let all = || self.store.change(|state| state.instances.keys().cloned().collect());
        let named: Vec<String> = if args.has("all") { all() } else { names(&args)?.to_vec() };
        self.reach_daemon("delete")?;
        for name in named {
            let purge = args.has("purge");
            self.ask(&Request::Delete { name, purge })?;
        }
        Ok(0)
    }

    pub(super) fn recover(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[(&["all"], false)])?;
        let named = names(&args)?;
        self.reach_daemon("recover")?;
        for name in named {
            self.ask(&Request::Recover { name: name.clone() })?;
        }
        Ok(0)
    }

    pub(super) fn purge(&self, rest: &[String]) -> Outcome {
        Args::parse(rest, &[])?;
        self.reach_daemon("purge")?;
        let deleted: Vec<String> = self.store.change(|state| {
            let deleted = state.instances.iter().filter(|(_, one)| one.state == VmState::Deleted);
            deleted.map(|(name, _)| name.clone()).collect()
        });
        for name in deleted {
            self.ask(&Request::Delete { name, purge: true })?;
        }
        Ok(0)
    }

    /// Asks the daemon, with all patience.
    pub(super) fn ask(&self, request: &Request) -> Result<(), Failure> {
        ask(&self.store, request, None).unwrap_or(Ok(()))
    }
}
