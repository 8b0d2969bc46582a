//! The command line.

mod exec;
mod launch;
mod power;
mod query;

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::thread;

use crate::failure::Failure;
use crate::fault::Fault;
use crate::state::{Profile, Socket, Store};

/// A call that is being made.
pub(crate) struct Client {
    store: Store,
    fault: Fault,
    profile: Profile,
}

/// How a call ends well: with a code, which is 0 but for `exec`.
type Outcome = Result<i32, Failure>;

/// Makes a call. Its exit code.
pub fn run(folder: &Path, words: &[String]) -> i32 {
    let store = Store::new(folder);
    let Some((subcommand, rest)) = words.split_first() else {
        print("Usage: multipass [options] <command>\n");
        store.append("calls.jsonl", &call(words, None));
        return 2;
    };
    let input = (subcommand == "launch").then(|| launch::input(rest)).flatten();
    store.append("calls.jsonl", &call(words, input.as_deref()));
    let mut client = Client {
        fault: store.take_fault(subcommand),
        profile: store.change(|state| state.settings.profile),
        store,
    };
    thread::sleep(client.fault.delay);
    if client.fault.hangs {
        loop {
            thread::park();
        }
    }
    stderr().write_all(&client.fault.stderr).unwrap();
    stdout().write_all(&client.fault.stdout).unwrap();
    if client.fault.failure.is_some() && client.fault.vm_state.is_none() {
        return end(client.fault.failure.take().map_or(Ok(0), Err));
    }
    let outcome = client.dispatch(subcommand, rest, input.as_deref());
    if let Some(vm_state) = client.fault.vm_state {
        client.leave(rest, vm_state);
    }
    if client.fault.dies {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
    match (outcome, client.fault.failure.take()) {
        (Ok(_), Some(failure)) => end(Err(failure)),
        (outcome, _) => end(outcome),
    }
}

fn end(outcome: Outcome) -> i32 {
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            stderr().write_all(failure.stderr.as_bytes()).unwrap();
            failure.code
        }
    }
}

pub(crate) fn print(text: &str) {
    let mut out = stdout();
    // Nobody may be reading.
    let _read = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn call(words: &[String], input: Option<&str>) -> String {
    use sha2::{Digest, Sha256};
    let hash = input.map(|text| {
        let bytes = Sha256::digest(text.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    serde_json::json!({"argv": words, "stdin_sha256": hash}).to_string()
}

impl Client {
    fn dispatch(&self, subcommand: &str, rest: &[String], input: Option<&str>) -> Outcome {
        match subcommand {
            "version" => self.version(rest),
            "list" | "ls" => self.list(rest),
            "info" => self.info(rest),
            "find" => self.find(rest),
            "get" => self.get(rest),
            "set" => self.set(rest),
            "launch" => self.launch(rest, input),
            "start" | "restart" => self.start(subcommand, rest),
            "stop" => self.stop(rest),
            "suspend" => self.suspend(rest),
            "delete" => self.delete(rest),
            "recover" => self.recover(rest),
            "purge" => self.purge(rest),
            "exec" => self.exec(rest),
            other => {
                print(&format!(
                    "Error: Unknown command or alias '{other}' (try \"multipass help\")\n"
                ));
                Ok(1)
            }
        }
    }

    /// Whether the daemon answers. Every call but `version` fails where it does not.
    fn reach_daemon(&self, subcommand: &str) -> Result<(), Failure> {
        let message = match self.socket() {
            Socket::Up => return Ok(()),
            Socket::Down => "cannot connect to the multipass socket",
            Socket::Denied => "multipass socket access denied\nPlease check that you have read/write permissions",
            Socket::Unauthenticated => {
                "The client is not authenticated with the Multipass service.\nPlease use 'multipass authenticate' \
                 before proceeding."
            }
        };
        Err(Failure::reported(subcommand, message))
    }

    fn socket(&self) -> Socket {
        let standing = || self.store.change(|state| state.settings.socket);
        self.fault.socket.unwrap_or_else(standing)
    }

    /// What turns on a terminal, printed although there is none.
    fn spin(text: &str) {
        print(&format!(
            "\u{1b}[2K\u{1b}[0A\u{1b}[0E{text} |\u{8}/\u{8}-\u{8}\\\u{1b}[2K\u{1b}[0A\u{1b}[0E"
        ));
    }

    /// Leaves the machines that a call named in a state.
    fn leave(&self, rest: &[String], vm_state: crate::VmState) {
        self.store.change(|state| {
            for (name, instance) in &mut state.instances {
                if rest
                    .iter()
                    .any(|word| word == name || word.ends_with(&format!("={name}")))
                {
                    instance.state = vm_state;
                }
            }
        });
    }
}
