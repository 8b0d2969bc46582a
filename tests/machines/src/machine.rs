//! A machine of a test's own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acquisition_nspawn::{NspawnConfig, NspawnProvider};
use nodes_domain::{AcquireRequest, Acquired, HostKey, NodeProvider, Observation, RuntimeImage};
use process_exec::{SystemClock, SystemRunner};

use crate::blocking::{block_on, context};
use crate::record::Record;
use crate::{Inside, Ran};

/// Makes the login user: no password, sudo without one, an `authorized_keys` that is empty at first.
const LOGIN_USER: &str = r#"
if ! id -u "$1" >/dev/null 2>&1; then
    # Debian has a group for some names that a test may like, such as operator.
    if getent group "$1" >/dev/null; then set -- "$1" --gid "$1"; fi
    useradd --create-home --shell /bin/bash "$@"
fi
printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$1" > /etc/sudoers.d/login-user
chmod 0440 /etc/sudoers.d/login-user
home=$(getent passwd "$1" | cut -d: -f6)
install -d -m 0700 -o "$1" -g "$1" "$home/.ssh"
[ -e "$home/.ssh/authorized_keys" ] || install -m 0600 -o "$1" -g "$1" /dev/null "$home/.ssh/authorized_keys"
"#;

/// The image cache that all tests share.
pub fn cache_dir() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
    let folder = std::env::var_os("PRESSLUFT_TEST_CACHE_DIR").map_or_else(default, PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

/// A booted machine with an address, an sshd and a login user of its own. Dropped, it is given back with all that it left
/// on this host; the folder itself is the caller's.
pub struct RealMachine {
    /// Where its sshd listens.
    pub address: IpAddr,
    /// The port of its sshd.
    pub ssh_port: u16,
    /// The login user; may use sudo without a password.
    pub user: String,
    /// The public half of its host key.
    pub host_key: HostKey,
    folder: PathBuf,
    cache: PathBuf,
    record: Record,
    inside: Inside,
    left_running: bool,
}

impl RealMachine {
    /// Boots one in `folder` (absolute, without commas, colons or quotes; one machine per folder), where `user` can log
    /// in once a key is in its `authorized_keys`.
    pub fn start(folder: &Path, user: &str) -> Self {
        Self::start_from(folder, user, None)
    }

    /// The same from the image that a machine provisioned alike left in the cache, where there is one: provisioning then
    /// takes seconds.
    pub fn start_from(folder: &Path, user: &str, runtime: Option<&RuntimeImage>) -> Self {
        Self::start_in(&cache_dir(), folder, user, runtime)
    }

    /// The same with the images of another cache: for processes that do not have the test's environment.
    pub fn start_in(cache: &Path, folder: &Path, user: &str, runtime: Option<&RuntimeImage>) -> Self {
        let record = Record::load(folder).unwrap_or_else(|| {
            let record = Record::new(user, runtime);
            record.store(folder);
            record
        });
        let booted = std::panic::catch_unwind(|| boot(cache, folder, &record));
        let acquired = booted.unwrap_or_else(|panic| {
            Self::release_in(cache, folder);
            std::panic::resume_unwind(panic)
        });
        Self {
            address: acquired.public_ip.expect("a machine has an address"),
            ssh_port: acquired.ssh_port,
            user: record.user.clone(),
            host_key: acquired.host_key,
            folder: folder.to_owned(),
            cache: cache.to_owned(),
            inside: inside(folder, &record),
            record,
            left_running: false,
        }
    }

    /// Gives back the machine that was begun in `folder`, by whichever process, in whatever state. None there is fine.
    pub fn release_in(cache: &Path, folder: &Path) {
        let Some(record) = Record::load(folder) else {
            return;
        };
        let provider = provider(cache, folder);
        block_on(async || provider.release(&record.instance(), &context("release")).await).unwrap();
        Record::remove(folder);
    }

    /// The inside of the machine that was begun in `folder`, by whichever process.
    pub fn inside_of(folder: &Path) -> Option<Inside> {
        Record::load(folder).map(|record| inside(folder, &record))
    }

    /// Lets it run on when this is dropped: [`Self::release_in`] gives it back.
    pub fn leave_running(mut self) {
        self.left_running = true;
    }

    /// The machine as its own root sees it.
    pub fn inside(&self) -> &Inside {
        &self.inside
    }

    /// Runs a shell script as root, past SSH, and returns what it printed. Panics where the script fails.
    pub fn run(&self, script: &str) -> String {
        self.inside.run(script)
    }

    /// Runs a program as root with that input and tells how it ended.
    pub fn try_run(&self, program: &[&str], stdin: &[u8]) -> Ran {
        self.inside.try_run(program, stdin)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.inside.process().is_some()
    }

    /// What the provider sees of it.
    pub fn observe(&self) -> Observation {
        let provider = provider(&self.cache, &self.folder);
        block_on(async || provider.observe(&self.record.instance(), &context("observe")).await).unwrap()
    }

    /// Shuts it down and waits for its end. Its disk stays.
    pub fn stop(&mut self) {
        self.inside.stop();
    }

    /// Boots it again after a stop; its disk and its host key are what they were.
    pub fn start_again(&mut self) {
        let acquired = boot(&self.cache, &self.folder, &self.record);
        self.address = acquired.public_ip.expect("a machine has an address");
    }

    /// The login user's `authorized_keys`, byte for byte.
    pub fn authorized_keys(&self) -> String {
        self.run(&format!("cat ~{}/.ssh/authorized_keys", self.user))
    }

    /// Replaces the login user's `authorized_keys`; its owner and mode stay.
    pub fn set_authorized_keys(&self, text: &str) {
        let file = format!("cat > ~{}/.ssh/authorized_keys", self.user);
        let ran = self.try_run(&["/bin/sh", "-euc", &file], text.as_bytes());
        assert!(ran.success(), "{}", ran.stderr_text());
    }

    /// Gives it back. Dropping does the same, and does not panic where that fails.
    pub fn release(mut self) {
        self.left_running = true;
        Self::release_in(&self.cache, &self.folder);
    }
}

impl Drop for RealMachine {
    fn drop(&mut self) {
        if self.left_running {
            return;
        }
        let release = || Self::release_in(&self.cache, &self.folder);
        if std::panic::catch_unwind(release).is_err() {
            eprintln!("the machine of {} was left", self.folder.display());
        }
    }
}

/// A machine that outlives this process, and the folder that holds its only trace.
fn provider(cache: &Path, folder: &Path) -> NspawnProvider {
    let runner = Arc::new(SystemRunner::unrecorded(Arc::new(SystemClock)));
    NspawnProvider::new(NspawnConfig::new(folder, cache), runner)
}

fn inside(folder: &Path, record: &Record) -> Inside {
    Inside::of(folder.join("machines").join(record.instance().name()))
}

fn boot(cache: &Path, folder: &Path, record: &Record) -> Acquired {
    let provider = provider(cache, folder);
    let request = AcquireRequest {
        instance: record.instance(),
        // Not put in while the machine is made: this provider injects, and nobody asks it to.
        public_key: String::new(),
        runtime: record.runtime(),
    };
    let acquired = block_on(async || provider.acquire(&request, &context("acquire")).await);
    let acquired = acquired.unwrap_or_else(|error| panic!("the machine does not start: {error}"));
    let made = inside(folder, record).try_run(&["/bin/sh", "-euc", LOGIN_USER, "sh", &record.user], b"");
    assert!(made.success(), "no user {}: {}", record.user, made.stderr_text());
    acquired
}
