//! `launch`.

use std::io::Read;

use super::{Client, Outcome, print};
use crate::args::{Args, OptionSpec};
use crate::cloud_init::authorized_keys;
use crate::daemon::{Launch, Request, ask};
use crate::failure::Failure;
use crate::state::Profile;
use crate::validate;

/// Released versions know `--mem` as well.
fn known(profile: Profile) -> [OptionSpec; 9] {
    let memory: &[&str] = match profile {
        Profile::Released => &["memory", "mem", "m"],
        Profile::Newest => &["memory", "m"],
    };
    [
        (&["name", "n"], true),
        (&["cpus", "c"], true),
        (memory, true),
        (&["disk", "d"], true),
        (&["cloud-init"], true),
        (&["timeout"], true),
        (&["network"], true),
        (&["bridged"], false),
        (&["mount"], true),
    ]
}

/// What stands on standard input, where a launch takes its user data from there.
pub(super) fn input(rest: &[String]) -> Option<String> {
    let args = Args::parse(rest, &known(Profile::Released)).ok()?;
    if args.value("cloud-init") != Some("-") {
        return None;
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl Client {
    pub(super) fn launch(&self, rest: &[String], input: Option<&str>) -> Outcome {
        let args = Args::parse(rest, &known(self.profile))?;
        if args.positional.len() > 1 {
            return Err(Failure::refused("Too many arguments supplied"));
        }
        args.value("cpus").map_or(Ok(()), validate::cpus)?;
        let memory = args.value("memory").map_or(Ok(1 << 30), validate::size)?;
        let disk = args.value("disk").map_or(Ok(5 << 30), validate::size)?;
        let timeout = args.timeout()?;
        let keys = match args.value("cloud-init") {
            None => Vec::new(),
            Some("-") => keys_of(input.unwrap_or_default())?,
            Some(path) => {
                let text = std::fs::read_to_string(path);
                keys_of(&text.map_err(|_| Failure::refused(format!("error: No such file: {path}")))?)?
            }
        };
        self.reach_daemon("launch")?;
        let name = args.value("name").unwrap_or("merry-stand-in").to_owned();
        Self::spin(&format!("Creating {name}"));
        let request = Request::Launch(Launch {
            name: name.clone(),
            image: args.positional.first().map_or("24.04", String::as_str).to_owned(),
            memory,
            disk,
            keys,
            delay: self.fault.daemon_delay,
        });
        let Some(reply) = ask(&self.store, &request, timeout) else {
            return Err(Failure {
                code: 5,
                stderr: "launch failed: Timed out waiting for instance launch.\n".to_owned(),
            });
        };
        reply?;
        print(&format!("Launched: {name}\n"));
        Ok(0)
    }
}

fn keys_of(text: &str) -> Result<Vec<String>, Failure> {
    let wrong = || Failure::refused("error loading cloud-init config: yaml-cpp: error at line 1, column 1");
    authorized_keys(text).ok_or_else(wrong)
}
