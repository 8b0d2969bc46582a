//! What tests use.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use machines::{Inside, Ran, cache_dir};
use nodes_domain::RuntimeImage;
use process_exec::process_key;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::state::{Instance, Profile, Settings, State, Store, VmState, Vms};
use crate::{Fault, daemon};

/// The line by which Multipass itself logs in. Its private half was never kept.
pub const MULTIPASS_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEqX/aDDn+bbUI3xvK+5dDvrI1UavSXodiVoClampyj1 ubuntu@localhost";

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// The subcommand and its arguments.
    pub argv: Vec<String>,
    /// SHA-256 of what was read from standard input, in hexadecimal; `launch --cloud-init -` only.
    pub stdin_sha256: Option<String>,
}

/// A Multipass of a test's own. Dropped, it gives back every machine.
pub struct StandIn {
    store: Store,
    program: PathBuf,
}

impl StandIn {
    /// A new one in `folder`, which is absolute and has neither quotes nor commas nor colons: 1.16.3, everything in order,
    /// no instances, real machines.
    pub fn new(folder: &Path) -> Self {
        let store = Store::new(folder);
        std::fs::create_dir_all(store.path("helpers")).unwrap();
        std::fs::create_dir_all(store.path("bin")).unwrap();
        store.create(&State {
            settings: Settings::new(cache_dir()),
            instances: std::collections::BTreeMap::new(),
            faults: Vec::new(),
        });
        let program = store.path("bin").join("multipass");
        let script = format!(
            "#!/bin/sh\nexec '{}' '{}' \"$@\"\n",
            executable().display(),
            folder.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { store, program }
    }

    /// One whose machines are records only.
    pub fn of_records(folder: &Path) -> Self {
        let new = Self::new(folder);
        new.set(|settings| settings.vms = Vms::Records);
        new
    }

    /// The program, `<folder>/bin/multipass`.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Changes how it is set up, from the next call on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.store.change(|state| change(&mut state.settings));
    }

    /// Follows other versions from the next call on.
    pub fn set_profile(&self, profile: Profile) {
        self.set(|settings| settings.profile = profile);
    }

    /// New machines are made from the image that a machine provisioned alike left in the cache, where there is one.
    pub fn start_from(&self, image: &RuntimeImage) {
        self.set(|settings| settings.runtime = Some((image.key.clone(), image.secrets.clone())));
    }

    /// What `list` and `info` tell as the addresses of running machines; `REAL` stands for a machine's own.
    pub fn report_addresses(&self, addresses: &[&str]) {
        self.set(|settings| settings.ipv4 = addresses.iter().map(|text| (*text).to_owned()).collect());
    }

    /// Puts a fault into the queue.
    pub fn push(&self, fault: Fault) {
        self.store.change(|state| state.faults.push(fault));
    }

    /// Takes all faults out of the queue; how many there were.
    pub fn clear_faults(&self) -> usize {
        self.store.change(|state| std::mem::take(&mut state.faults).len())
    }

    /// Puts an instance there that was not launched, with nothing behind it.
    pub fn put_record(&self, name: &str, vm_state: VmState) {
        let instance = Instance {
            state: vm_state,
            preparing: false,
            launching: false,
            address: "192.0.2.10".to_owned(),
            vms: Vms::Records,
        };
        self.store
            .change(|state| state.instances.insert(name.to_owned(), instance));
    }

    /// Says that an instance is in a state, whatever is behind it.
    pub fn set_state(&self, name: &str, vm_state: VmState) {
        self.store.change(|state| {
            let instance = state.instances.get_mut(name).expect("there is such an instance");
            instance.state = vm_state;
        });
    }

    /// The state that is told of an instance; `None` where it is not listed.
    pub fn state_of(&self, name: &str) -> Option<VmState> {
        self.store
            .change(|state| state.listed(name).map(|instance| instance.state))
    }

    /// The names of all instances that are listed.
    pub fn instances(&self) -> Vec<String> {
        self.store.change(|state| {
            let shown = state.instances.iter().filter(|(_, instance)| !instance.preparing);
            shown.map(|(name, _)| name.clone()).collect()
        })
    }

    /// Whether the daemon is at an instance that is not listed yet.
    pub fn is_preparing(&self, name: &str) -> bool {
        self.store
            .change(|state| state.instances.get(name).is_some_and(|instance| instance.preparing))
    }

    /// The inside of an instance's real machine, past SSH.
    pub fn machine(&self, name: &str) -> Option<Inside> {
        self.store.inside(name)
    }

    /// The own address of an instance's machine.
    pub fn address(&self, name: &str) -> Option<String> {
        self.store
            .change(|state| state.listed(name).map(|instance| instance.address.clone()))
    }

    /// The login user's `authorized_keys` in an instance's machine.
    pub fn authorized_keys(&self, name: &str) -> String {
        let machine = self.machine(name).expect("there is a machine");
        machine.run("cat ~ubuntu/.ssh/authorized_keys")
    }

    /// Makes a call as a test's own.
    pub fn run(&self, words: &[&str]) -> Ran {
        Command::new(&self.program)
            .args(words)
            .env_clear()
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
            .into()
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        let text = std::fs::read_to_string(self.store.path("calls.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The calls of one subcommand so far.
    pub fn calls_of(&self, subcommand: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.argv.first().map(String::as_str) == Some(subcommand));
        calls
    }

    /// Ends whoever plays the daemon, and gives back all machines. Dropping does the same.
    pub fn reset(&self) {
        self.end_helpers();
        let cache = self.store.change(|state| {
            state.instances.clear();
            state.settings.cache.clone()
        });
        let Ok(folders) = std::fs::read_dir(self.store.path("machines")) else {
            return;
        };
        for folder in folders {
            daemon::release(&self.store, &cache, &folder.unwrap().file_name().to_string_lossy());
        }
    }

    fn end_helpers(&self) {
        for entry in std::fs::read_dir(self.store.path("helpers")).unwrap() {
            let path = entry.unwrap().path();
            let pid: u32 = path.file_name().unwrap().to_string_lossy().parse().unwrap();
            let begun = std::fs::read_to_string(&path).unwrap_or_default();
            let is_it = || process_key(pid).is_some_and(|process| process.start_time.to_string() == begun);
            if is_it() {
                let signalled = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL);
                assert!(signalled.is_ok() || !is_it(), "{signalled:?}");
            }
            while is_it() {
                std::thread::yield_now();
            }
            // It may have taken its file away itself.
            let _gone = std::fs::remove_file(&path);
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.reset())).is_err() {
            eprintln!("machines of the stand-in in {} were left", self.program.display());
        }
    }
}

/// The built executable, beside the test's own: `target/debug` for tests in `target/debug/deps`.
fn executable() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let mut folders = own.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| {
        let file = folder.join("multipass-stand-in");
        file.is_file().then_some(file)
    });
    found.expect("`cargo build -p multipass-stand-in` was run")
}
