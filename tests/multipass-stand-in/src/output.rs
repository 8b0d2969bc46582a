//! JSON as the two lines of versions print it: released ones sort keys, the newest keep another order and add `zone`.

use serde::Serialize;
use serde_json::json;

use crate::state::Profile;

/// What is told of an instance.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) ipv4: Vec<String>,
}

const RELEASE: &str = "Ubuntu 24.04 LTS";

#[derive(Serialize)]
struct Released<'a> {
    ipv4: &'a [String],
    name: &'a str,
    release: &'a str,
    state: &'a str,
}

#[derive(Serialize)]
struct Newest<'a> {
    name: &'a str,
    state: &'a str,
    ipv4: &'a [String],
    release: &'a str,
    zone: Zone,
}

#[derive(Serialize)]
struct Zone {
    name: &'static str,
    available: bool,
}

#[derive(Serialize)]
struct List<T> {
    list: Vec<T>,
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

pub(crate) fn list(profile: Profile, listed: &[Listed]) -> String {
    let release = |one: &Listed| if one.state == "Deleted" { "" } else { RELEASE };
    match profile {
        Profile::Released => text(&List {
            list: listed
                .iter()
                .map(|one| Released {
                    ipv4: &one.ipv4,
                    name: &one.name,
                    release: release(one),
                    state: &one.state,
                })
                .collect(),
        }),
        Profile::Newest => text(&List {
            list: listed
                .iter()
                .map(|one| Newest {
                    name: &one.name,
                    state: &one.state,
                    ipv4: &one.ipv4,
                    release: release(one),
                    zone: Zone {
                        name: "zone1",
                        available: true,
                    },
                })
                .collect(),
        }),
    }
}

pub(crate) fn info(infos: &[Listed]) -> String {
    let mut all = serde_json::Map::new();
    for one in infos {
        let up = one.state == "Running";
        let disks = if up {
            json!({"sda1": {"total": "20640346112", "used": "1865211904"}})
        } else {
            json!({"sda1": {}})
        };
        let memory = if up {
            json!({"total": 2_073_780_224, "used": 192_864_256})
        } else {
            json!({})
        };
        let about = json!({
            "cpu_count": if up { "2" } else { "" },
            "disks": disks,
            "image_hash": "",
            "image_release": if up { "24.04 LTS" } else { "" },
            "ipv4": one.ipv4,
            "load": if up { vec![0.1, 0.2, 0.1] } else { vec![] },
            "memory": memory,
            "mounts": {},
            "release": if up { RELEASE } else { "" },
            "snapshot_count": "0",
            "state": one.state,
        });
        all.insert(one.name.clone(), about);
    }
    text(&json!({"errors": [], "info": all}))
}

pub(crate) fn images(names: &[String]) -> String {
    let image = json!({"aliases": [], "os": "Ubuntu", "release": "24.04 LTS", "remote": "", "version": "20260101"});
    let all: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), image.clone())).collect();
    text(&json!({"errors": [], "images": all}))
}

pub(crate) fn version(client: &str, daemon: Option<&str>) -> String {
    match daemon {
        Some(daemon) => text(&json!({"multipass": client, "multipassd": daemon})),
        None => text(&json!({"multipass": client})),
    }
}
