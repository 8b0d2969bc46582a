//! What `multipass list --format json` and `multipass version --format json` print. Released versions sort keys and
//! newer ones do not; keys are looked up by name, unknown ones are ignored, all are optional. What is not understood is
//! an error and never a machine.

use std::net::{IpAddr, Ipv4Addr};

use nodes_domain::unsuitable_address;
use serde_json::Value;

/// Why an output could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbled {
    #[error("it is no JSON")]
    NotJson,
    #[error("it has no list of machines")]
    NoList,
    #[error("it has a machine without a name")]
    Nameless,
    #[error("it has two machines of that name")]
    Twice,
}

/// The state of a machine, as the list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Starting,
    Restarting,
    Stopped,
    Suspended,
    Suspending,
    DelayedShutdown,
    Deleted,
    /// `Unknown`, and everything that no other name fits: empty where it has none.
    Other(String),
}

impl State {
    fn read(text: &str) -> Self {
        match text {
            "Running" => Self::Running,
            "Starting" => Self::Starting,
            "Restarting" => Self::Restarting,
            "Stopped" => Self::Stopped,
            "Suspended" => Self::Suspended,
            "Suspending" => Self::Suspending,
            "Delayed Shutdown" => Self::DelayedShutdown,
            "Deleted" => Self::Deleted,
            other => Self::Other(other.chars().filter(|c| !c.is_control()).take(40).collect()),
        }
    }
}

/// A machine of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its state.
    pub(crate) state: State,
    /// Its addresses in Multipass's order, the management one first. What is no IPv4 address (`N/A`), or
    /// none that another host can have, is left out.
    pub(crate) addresses: Vec<Ipv4Addr>,
}

/// Finds a machine in the output of `list`. `None` only where the whole list was understood and lacks it.
pub(crate) fn find(stdout: &[u8], name: &str) -> Result<Option<Listed>, Garbled> {
    let json = json(stdout).ok_or(Garbled::NotJson)?;
    let list = json.get("list").and_then(Value::as_array).ok_or(Garbled::NoList)?;
    let name_of = |entry: &Value| entry.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut found = list.iter().filter(|entry| name_of(entry).as_deref() == Some(name));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Garbled::Twice),
        (Some(entry), None) => Ok(Some(listed(entry))),
        (None, _) if list.iter().any(|entry| name_of(entry).is_none()) => Err(Garbled::Nameless),
        (None, _) => Ok(None),
    }
}

fn listed(entry: &Value) -> Listed {
    let texts = |key: &str| entry.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let address = |value: &Value| value.as_str()?.trim().parse::<Ipv4Addr>().ok();
    Listed {
        state: State::read(entry.get("state").and_then(Value::as_str).unwrap_or_default()),
        addresses: texts("ipv4")
            .iter()
            .filter_map(address)
            .filter(|address| unsuitable_address(IpAddr::V4(*address)).is_none())
            .collect(),
    }
}

/// The versions of the client and, where the daemon is in reach, of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) client: String,
    pub(crate) daemon: Option<String>,
}

/// Reads the output of `version`. `None` where it is something else.
pub(crate) fn versions(stdout: &[u8]) -> Option<Versions> {
    let json = json(stdout)?;
    let text = |key: &str| Some(json.get(key)?.as_str()?.to_owned());
    Some(Versions {
        client: text("multipass")?,
        daemon: text("multipassd"),
    })
}

/// Bytes that are not UTF-8 are replaced, so that they cost the text they stand in and not the list.
fn json(stdout: &[u8]) -> Option<Value> {
    serde_json::from_str(&String::from_utf8_lossy(stdout)).ok()
}

#[cfg(test)]
mod tests;
