//! What the stand-in remembers from call to call.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use machines::{Inside, RealMachine};
use nodes_domain::RuntimeImage;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Whose output and codes are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// 1.10 to 1.16.3.
    Released,
    /// The 1.17 line.
    Newest,
}

impl Profile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Released, Self::Newest];
}

/// The daemon's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Socket {
    /// The daemon answers.
    Up,
    /// Nobody listens.
    Down,
    /// This user may not open it.
    Denied,
    /// This user is not authenticated.
    Unauthenticated,
}

/// What stands behind instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vms {
    /// Real machines.
    Real,
    /// Nothing: they are listed, with the address 192.0.2.10, and nobody answers there.
    Records,
}

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "Multipass's own words")]
pub enum VmState {
    Running,
    Stopped,
    Suspended,
    Suspending,
    Deleted,
    Unknown,
    Starting,
    Restarting,
    DelayedShutdown,
}

impl VmState {
    /// As Multipass prints it.
    pub fn text(self) -> String {
        match self {
            Self::DelayedShutdown => "Delayed Shutdown".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// How this Multipass is set up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Whose output and codes are followed.
    pub profile: Profile,
    /// The daemon's socket.
    pub socket: Socket,
    /// Whether the host can virtualize.
    pub kvm: bool,
    /// Whether the host's disk is too full for a machine.
    pub host_disk_full: bool,
    /// `client.primary-name`.
    pub primary_name: String,
    /// The images that can be found.
    pub images: Vec<String>,
    /// What stands behind instances.
    pub vms: Vms,
    /// The image cache of real machines.
    pub cache: PathBuf,
    /// The key and the secrets of the [`RuntimeImage`] that new machines are made from where the cache has it.
    pub runtime: Option<(String, Vec<String>)>,
    /// The addresses of running machines; see [`crate::StandIn::report_addresses`].
    pub ipv4: Vec<String>,
    /// Other settings, by `multipass set`.
    pub keys: BTreeMap<String, String>,
}

impl Settings {
    pub(crate) fn new(cache: PathBuf) -> Self {
        Self {
            profile: Profile::Released,
            socket: Socket::Up,
            kvm: true,
            host_disk_full: false,
            primary_name: "primary".to_owned(),
            images: ["24.04", "noble", "lts", "22.04", "jammy"].map(str::to_owned).to_vec(),
            vms: Vms::Real,
            cache,
            runtime: None,
            ipv4: vec![REAL.to_owned()],
            keys: BTreeMap::from([("local.driver".to_owned(), "qemu".to_owned())]),
        }
    }

    pub(crate) fn runtime_image(&self) -> Option<RuntimeImage> {
        let (key, secrets) = self.runtime.clone()?;
        Some(RuntimeImage { key, secrets })
    }
}

/// Stands for an instance's own address.
pub(crate) const REAL: &str = "REAL";

/// An instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) state: VmState,
    /// Not listed yet: its image is being downloaded.
    pub(crate) preparing: bool,
    /// Its launch is not over.
    pub(crate) launching: bool,
    pub(crate) address: String,
    pub(crate) vms: Vms,
}

/// All of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) faults: Vec<Fault>,
}

impl State {
    /// An instance that is listed.
    pub(crate) fn listed(&self, name: &str) -> Option<&Instance> {
        self.instances.get(name).filter(|instance| !instance.preparing)
    }

    /// The addresses that are reported of an instance.
    pub(crate) fn addresses(&self, instance: &Instance, fault: &Fault) -> Vec<String> {
        if !matches!(instance.state, VmState::Running | VmState::DelayedShutdown) {
            return Vec::new();
        }
        let template = fault.ipv4.as_ref().unwrap_or(&self.settings.ipv4);
        let told = template.iter().map(|text| match text.as_str() {
            REAL => instance.address.clone(),
            other => other.to_owned(),
        });
        // Only released versions say so where there is none.
        told.filter(|text| self.settings.profile == Profile::Released || text != "N/A")
            .collect()
    }
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn machine_folder(&self, name: &str) -> PathBuf {
        self.folder.join("machines").join(name)
    }

    /// The inside of an instance's real machine.
    pub(crate) fn inside(&self, name: &str) -> Option<Inside> {
        RealMachine::inside_of(&self.machine_folder(name))
    }

    fn lock(&self) -> File {
        let file = File::create(self.path("lock")).unwrap();
        file.lock().unwrap();
        file
    }

    pub(crate) fn create(&self, state: &State) {
        let _lock = self.lock();
        self.write(state);
    }

    fn write(&self, state: &State) {
        let new = self.path("state.json.new");
        std::fs::write(&new, serde_json::to_vec_pretty(state).unwrap()).unwrap();
        std::fs::rename(new, self.path("state.json")).unwrap();
    }

    /// Looks at it and changes it; nobody else does meanwhile. A machine that has ended by itself is Stopped.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let _lock = self.lock();
        let text = std::fs::read(self.path("state.json")).unwrap();
        let mut state: State = serde_json::from_slice(&text).unwrap();
        for (name, instance) in &mut state.instances {
            let up = matches!(instance.state, VmState::Running | VmState::DelayedShutdown);
            if up && instance.vms == Vms::Real && self.inside(name).is_none_or(|inside| inside.process().is_none()) {
                instance.state = VmState::Stopped;
            }
        }
        let result = change(&mut state);
        self.write(&state);
        result
    }

    /// Takes what is to go wrong with a call.
    pub(crate) fn take_fault(&self, subcommand: &str) -> Fault {
        self.change(|state| {
            let Some(at) = state.faults.iter().position(|fault| fault.is_for(subcommand)) else {
                return Fault::default();
            };
            state.faults[at].left = state.faults[at].left.saturating_sub(1);
            let fault = state.faults[at].clone();
            state.faults.retain(|fault| fault.left > 0);
            fault
        })
    }

    /// Appends a line to a file.
    pub(crate) fn append(&self, name: &str, line: &str) {
        let _lock = self.lock();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
