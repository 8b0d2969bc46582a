//! Carries out changes, as Multipass's daemon does: in a process of its own that outlives the client that asked. The
//! client reads the answer from a pipe, for as long as it has patience.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use machines::RealMachine;
use process_exec::process_key;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::state::{Instance, State, Store, VmState, Vms};
use crate::{MULTIPASS_KEY, USER, validate};

/// What a client asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Launch(Launch),
    Start { name: String, delay: Duration },
    Restart { name: String, delay: Duration },
    Stop { name: String, kind: Stop },
    Suspend { name: String },
    Delete { name: String, purge: bool },
    Recover { name: String },
}

/// A machine that is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    /// From the user data.
    pub(crate) keys: Vec<String>,
    /// How long the image's download takes.
    pub(crate) delay: Duration,
}

/// How a machine is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stop {
    Now,
    Force,
    Later,
    Cancel,
}

/// How often a launch is looked at that another process carries out.
const POLL: Duration = Duration::from_millis(20);

type Reply = Result<(), Failure>;

/// Asks for a change and waits for its end. `None` where the client's patience is over; the change goes on.
pub(crate) fn ask(store: &Store, request: &Request, patience: Option<u64>) -> Option<Reply> {
    let request = serde_json::to_string(request).unwrap();
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(store.path("daemon.log"))
        .unwrap();
    // setsid forks, so the daemon has another parent than this client, and a cleared environment none of its marks.
    let mut child = Command::new("/usr/bin/setsid")
        .arg("--fork")
        .arg(std::env::current_exe().unwrap())
        .arg("--daemon")
        .arg(store.path(""))
        .arg(request)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    child.wait().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        sender.send(text)
    });
    let text = match patience {
        Some(seconds) => receiver.recv_timeout(Duration::from_secs(seconds)).ok()?,
        None => receiver.recv().unwrap(),
    };
    let died = || Err(Failure::reported("multipass", "the daemon died; see daemon.log"));
    Some(serde_json::from_str(&text).unwrap_or_else(|_| died()))
}

/// The body of a daemon's process.
pub fn run(folder: &Path, request: &str) {
    let store = Store::new(folder);
    let pid = std::process::id();
    let helper = store.path("helpers").join(pid.to_string());
    std::fs::write(&helper, process_key(pid).unwrap().start_time.to_string()).unwrap();
    let request: Request = serde_json::from_str(request).unwrap();
    let reply = catch_unwind(AssertUnwindSafe(|| carry_out(&store, request)));
    let reply: Reply = reply.unwrap_or_else(|_| Err(Failure::reported("multipass", "see daemon.log")));
    std::fs::remove_file(helper).unwrap();
    // Its client may have gone.
    let text = serde_json::to_string(&reply).unwrap();
    let _told = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn carry_out(store: &Store, request: Request) -> Reply {
    match request {
        Request::Launch(launch) => launch_machine(store, &launch),
        Request::Start { name, delay } => start(store, "start", &name, delay),
        Request::Restart { name, delay } => {
            let up = store.change(|state| state.listed(&name).map(|instance| instance.state));
            match up {
                Some(VmState::Running) => {
                    shut_down(store, &name);
                    set(store, &name, VmState::Restarting);
                    start(store, "restart", &name, delay)
                }
                Some(VmState::Deleted) => Err(is_deleted("restart", &name)),
                Some(_) => Err(Failure::reported(
                    "restart",
                    format!("instance \"{name}\" is not running"),
                )),
                None => Err(is_missing("restart", &name)),
            }
        }
        Request::Stop { name, kind } => stop(store, &name, kind),
        Request::Suspend { name } => {
            existing(store, "suspend", &name)?;
            shut_down(store, &name);
            set(store, &name, VmState::Suspended);
            Ok(())
        }
        Request::Delete { name, purge } => delete(store, &name, purge),
        Request::Recover { name } => match store.change(|state| state.listed(&name).map(|instance| instance.state)) {
            Some(VmState::Deleted) => {
                set(store, &name, VmState::Stopped);
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(is_missing("recover", &name)),
        },
    }
}

fn is_missing(command: &str, name: &str) -> Failure {
    Failure::reported(command, format!("instance \"{name}\" does not exist"))
}

fn is_deleted(command: &str, name: &str) -> Failure {
    Failure::reported(command, format!("instance \"{name}\" is deleted"))
}

/// The state of an instance that is there and not deleted.
fn existing(store: &Store, command: &str, name: &str) -> Result<VmState, Failure> {
    match store.change(|state| state.listed(name).map(|instance| instance.state)) {
        None => Err(is_missing(command, name)),
        Some(VmState::Deleted) => Err(is_deleted(command, name)),
        Some(state) => Ok(state),
    }
}

fn set(store: &Store, name: &str, vm_state: VmState) {
    store.change(|state| {
        if let Some(instance) = state.instances.get_mut(name) {
            instance.state = vm_state;
        }
    });
}

/// All that is checked before a machine is made, in Multipass's order; then its name is taken.
fn admit(state: &mut State, launch: &Launch) -> Result<(), String> {
    validate::image(&launch.image, &state.settings)?;
    validate::values(launch.memory, launch.disk, &launch.name)?;
    match state.instances.get(&launch.name) {
        Some(instance) if instance.preparing => {
            return Err(format!("instance \"{}\" is being prepared", launch.name));
        }
        Some(_) => return Err(format!("instance \"{}\" already exists", launch.name)),
        None => {}
    }
    let one_runs = state
        .instances
        .values()
        .any(|instance| instance.state == VmState::Running);
    if !state.settings.kvm && !one_runs {
        return Err(
            "KVM support is not enabled on this machine.\nPlease ensure the following:\n \
                    1. Virtualization is enabled in the BIOS."
                .to_owned(),
        );
    }
    validate::room(launch.disk, &state.settings)?;
    let instance = Instance {
        state: VmState::Starting,
        preparing: true,
        launching: true,
        address: String::new(),
        vms: state.settings.vms,
    };
    state.instances.insert(launch.name.clone(), instance);
    Ok(())
}

fn launch_machine(store: &Store, launch: &Launch) -> Reply {
    store
        .change(|state| admit(state, launch))
        .map_err(|message| Failure::reported("launch", message))?;
    thread::sleep(launch.delay);
    store.change(|state| {
        if let Some(instance) = state.instances.get_mut(&launch.name) {
            instance.preparing = false;
        }
    });
    boot(store, "launch", &launch.name, &launch.keys)
}

/// Names the machine, and lets Multipass and the keys of the user data in.
const FIRST_BOOT: &str = r#"
name=$1; shift
printf '%s\n' "$name" > /etc/hostname
hostname "$name"
grep -qwF -e "$name" /etc/hosts || printf '127.0.1.1 %s\n' "$name" >> /etc/hosts
for key; do
    grep -qxF -e "$key" ~ubuntu/.ssh/authorized_keys || printf '%s\n' "$key" >> ~ubuntu/.ssh/authorized_keys
done
"#;

/// Sees to it that a machine runs. One that is new learns its name and `keys`.
fn boot(store: &Store, command: &str, name: &str, keys: &[String]) -> Reply {
    let (vms, settings) = store.change(|state| {
        let vms = state
            .instances
            .get(name)
            .map_or(state.settings.vms, |instance| instance.vms);
        (vms, state.settings.clone())
    });
    let address = match vms {
        Vms::Records => "192.0.2.10".to_owned(),
        Vms::Real => {
            let folder = store.machine_folder(name);
            let image = settings.runtime_image();
            let machine = RealMachine::start_in(&settings.cache, &folder, USER, image.as_ref());
            let address = machine.address.to_string();
            if command == "launch" {
                let mut words = vec!["/bin/sh", "-euc", FIRST_BOOT, "sh", name, MULTIPASS_KEY];
                words.extend(keys.iter().map(String::as_str));
                let ran = machine.try_run(&words, b"");
                assert!(ran.success(), "{}", ran.stderr_text());
            }
            machine.leave_running();
            address
        }
    };
    let still_there = store.change(|state| {
        let instance = state.instances.get_mut(name)?;
        instance.state = VmState::Running;
        instance.launching = false;
        instance.address = address;
        Some(())
    });
    still_there.ok_or_else(|| Failure::reported(command, format!("instance \"{name}\" shutdown during start")))
}

fn start(store: &Store, command: &str, name: &str, delay: Duration) -> Reply {
    let (found, primary) = store.change(|state| {
        let found = state.listed(name).map(|instance| instance.state);
        (found, state.settings.primary_name.clone())
    });
    let reported = |text: String| Err(Failure::reported(command, text));
    match found {
        // Multipass makes this one by itself.
        None if name == primary => {
            return launch_machine(
                store,
                &Launch {
                    name: primary,
                    image: "24.04".to_owned(),
                    memory: 1 << 30,
                    disk: 5 << 30,
                    keys: Vec::new(),
                    delay,
                },
            );
        }
        None => return reported(format!("Instance '{name}' does not exist.")),
        Some(VmState::Deleted) => {
            return reported(format!("Instance '{name}' is deleted. Use 'recover' to recover it."));
        }
        Some(VmState::Unknown) => {
            return reported(format!(
                "Instance '{name}' is already running, but in an unknown state."
            ));
        }
        Some(VmState::Suspending) => {
            return reported(format!("Cannot start the instance '{name}' while suspending."));
        }
        Some(VmState::Running) => return Ok(()),
        Some(VmState::DelayedShutdown) => {
            set(store, name, VmState::Running);
            return Ok(());
        }
        Some(VmState::Stopped | VmState::Suspended) => set(store, name, VmState::Starting),
        // Whoever launches it brings it up.
        Some(VmState::Starting) if store.change(|state| state.instances[name].launching) => {
            while store.change(|state| state.listed(name).is_some_and(|instance| instance.launching)) {
                thread::sleep(POLL);
            }
            return Ok(());
        }
        Some(VmState::Starting | VmState::Restarting) => {}
    }
    thread::sleep(delay);
    boot(store, command, name, &[])
}

fn stop(store: &Store, name: &str, kind: Stop) -> Reply {
    let found = existing(store, "stop", name)?;
    let next = match (kind, found) {
        (Stop::Later, VmState::Running) => VmState::DelayedShutdown,
        (Stop::Later, other) => other,
        (Stop::Cancel, VmState::DelayedShutdown) => VmState::Running,
        (Stop::Cancel, other) => other,
        (Stop::Now, VmState::Unknown) => {
            let text = format!("Cannot stop the instance '{name}' in unknown state.");
            return Err(Failure::reported("stop", text));
        }
        (Stop::Now, VmState::Suspending) => {
            let text = format!("Cannot stop the instance '{name}' while suspending.");
            return Err(Failure::reported("stop", text));
        }
        (Stop::Now, VmState::Suspended) => VmState::Suspended,
        (Stop::Now | Stop::Force, _) => {
            shut_down(store, name);
            VmState::Stopped
        }
    };
    set(store, name, next);
    Ok(())
}

fn shut_down(store: &Store, name: &str) {
    if let Some(inside) = store.inside(name)
        && inside.process().is_some()
    {
        inside.stop();
    }
}

fn delete(store: &Store, name: &str, purge: bool) -> Reply {
    if store.change(|state| state.listed(name).is_none()) {
        return Err(is_missing("delete", name));
    }
    // One that boots hears no one yet.
    while store.change(|state| state.listed(name).is_some_and(|instance| instance.launching)) {
        thread::sleep(POLL);
    }
    shut_down(store, name);
    if purge {
        let cache = store.change(|state| state.settings.cache.clone());
        release(store, &cache, name);
        store.change(|state| state.instances.remove(name));
    } else {
        set(store, name, VmState::Deleted);
    }
    Ok(())
}

/// Gives the real machine of an instance back, with its folder.
pub(crate) fn release(store: &Store, cache: &Path, name: &str) {
    let folder = store.machine_folder(name);
    RealMachine::release_in(cache, &folder);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", folder.display()),
        _ => {}
    }
}
