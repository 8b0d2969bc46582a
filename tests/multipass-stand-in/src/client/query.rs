//! Commands that only ask, and the settings.

use super::{Client, Outcome, print};
use crate::args::{Args, OptionSpec};
use crate::failure::Failure;
use crate::output;
use crate::state::{Profile, Socket, VmState};

const FORMAT: OptionSpec = (&["format"], true);

/// Tests ask for JSON; what people read is printed as little more than a line.
fn is_json(args: &Args) -> Result<bool, Failure> {
    match args.value("format") {
        Some("json") => Ok(true),
        None | Some("table" | "csv" | "yaml") => Ok(false),
        Some(_) => Err(Failure::refused("Invalid format type given.")),
    }
}

impl Client {
    pub(super) fn version(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[FORMAT])?;
        if !args.positional.is_empty() {
            return Err(Failure::refused("This command takes no arguments"));
        }
        let version = match self.profile {
            Profile::Released => "1.16.3",
            Profile::Newest => "1.17.0-dev",
        };
        let daemon = (self.socket() == Socket::Up).then_some(version);
        if is_json(&args)? {
            print(&output::version(version, daemon));
        } else {
            print(&format!("multipass   {version}\n"));
        }
        Ok(0)
    }

    pub(super) fn list(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[FORMAT, (&["snapshots"], false), (&["no-ipv4"], false)])?;
        if !args.positional.is_empty() {
            return Err(Failure::refused("This command takes no arguments"));
        }
        let json = is_json(&args)?;
        self.reach_daemon("list")?;
        let listed: Vec<output::Listed> = self.store.change(|state| {
            let shown = state.instances.iter().filter(|(_, instance)| !instance.preparing);
            shown
                .map(|(name, instance)| output::Listed {
                    name: name.clone(),
                    state: instance.state.text(),
                    ipv4: state.addresses(instance, &self.fault),
                })
                .collect()
        });
        if json {
            print(&output::list(self.profile, &listed));
        } else {
            for one in listed {
                print(&format!("{}  {}\n", one.name, one.state));
            }
        }
        Ok(0)
    }

    pub(super) fn info(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[FORMAT, (&["no-runtime-information"], false)])?;
        let json = is_json(&args)?;
        self.reach_daemon("info")?;
        let mut named = args.positional.clone();
        if named.is_empty() {
            named = self.store.change(|state| state.instances.keys().cloned().collect());
        }
        let mut infos = Vec::new();
        for name in named {
            let found = self.store.change(|state| {
                let instance = state.listed(&name)?;
                Some((instance.state, state.addresses(instance, &self.fault)))
            });
            let Some((vm_state, ipv4)) = found else {
                return Err(Failure::reported("info", format!("instance \"{name}\" does not exist")));
            };
            let asks = !args.has("no-runtime-information");
            if vm_state == VmState::Running && asks {
                self.login(&name).map_err(|text| Failure::reported("info", text))?;
            }
            infos.push(output::Listed {
                name,
                state: vm_state.text(),
                ipv4: if asks { ipv4 } else { Vec::new() },
            });
        }
        if json {
            print(&output::info(&infos));
        }
        Ok(0)
    }

    pub(super) fn find(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(
            rest,
            &[FORMAT, (&["show-unsupported"], false), (&["force-update"], false)],
        )?;
        let json = is_json(&args)?;
        self.reach_daemon("find")?;
        let wanted = args.positional.first().map(String::as_str);
        let name = wanted.map(|text| text.split_once(':').map_or(text, |(_, name)| name));
        let found: Vec<String> = self.store.change(|state| {
            let images = state.settings.images.iter();
            images
                .filter(|image| name.is_none_or(|name| *image == name))
                .cloned()
                .collect()
        });
        if let (Some(name), true, Profile::Released) = (name, found.is_empty(), self.profile) {
            let text = format!("Unable to find an image matching \"{name}\"");
            return Err(Failure::reported("find", text));
        }
        if json {
            print(&output::images(&found));
        }
        Ok(0)
    }

    pub(super) fn get(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[(&["raw"], false), (&["keys"], false)])?;
        let [key] = args.positional.as_slice() else {
            return Err(Failure::refused("Need exactly one setting key."));
        };
        if !key.starts_with("client.") {
            self.reach_daemon("get")?;
        }
        let value = self.store.change(|state| match key.as_str() {
            "client.primary-name" => Some(state.settings.primary_name.clone()),
            other => state.settings.keys.get(other).cloned(),
        });
        let Some(value) = value else {
            return Err(Failure::refused(format!("Unrecognized settings key: '{key}'")));
        };
        print(&format!("{value}\n"));
        Ok(0)
    }

    pub(super) fn set(&self, rest: &[String]) -> Outcome {
        let args = Args::parse(rest, &[])?;
        let pair = args.positional.first().and_then(|pair| pair.split_once('='));
        let (Some((key, value)), 1) = (pair, args.positional.len()) else {
            return Err(Failure::refused("Need exactly one key-value pair."));
        };
        let known = self.store.change(|state| {
            if key == "client.primary-name" {
                value.clone_into(&mut state.settings.primary_name);
                return true;
            }
            let slot = state.settings.keys.get_mut(key);
            slot.map(|slot| value.clone_into(slot)).is_some()
        });
        if known {
            Ok(0)
        } else {
            Err(Failure::refused(format!("Unrecognized settings key: '{key}'")))
        }
    }
}
