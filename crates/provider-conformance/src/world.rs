//! What the suite has to be told of a provider's world.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::StepContext;
use nodes_domain::{AcquireRequest, Acquired, HostKey, Instance, NodeProvider, NodeTarget, RemoteCommand, SshAccess};
use process_exec::CommandSpec;
use test_support::RealClock;

/// A machine, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Whether it runs.
    pub running: bool,
    /// What tells this run of the machine from one after a restart: a pid and its start time, a boot id. Empty where there is
    /// no such thing.
    pub run: String,
}

/// An `authorized_keys` file, as it lies on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The user that it belongs to.
    pub owner: String,
    /// Its permissions, as in `0o600`.
    pub mode: u32,
    /// The user that its folder belongs to.
    pub folder_owner: String,
    /// The permissions of its folder.
    pub folder_mode: u32,
}

impl KeysFile {
    /// The file of `user` in a machine where `run` runs a shell script as root and returns what it prints. There are both, the
    /// file and its folder.
    pub fn read(user: &str, run: impl Fn(&str) -> String) -> Self {
        let folder = format!("~{user}/.ssh");
        let told = run(&format!("stat -c '%U %a' {folder}/authorized_keys {folder}"));
        let told: Vec<_> = told.split_ascii_whitespace().collect();
        let mode = |text: &str| u32::from_str_radix(text, 8).expect("a mode");
        Self {
            bytes: run(&format!("cat {folder}/authorized_keys")).into_bytes(),
            owner: told[0].to_owned(),
            mode: mode(told[1]),
            folder_owner: told[2].to_owned(),
            folder_mode: mode(told[3]),
        }
    }
}

/// [`World::sudo`] for worlds that have a way to log in, with the private key of that file.
///
/// # Errors
/// Why it could not.
pub async fn sudo_over_ssh(ssh: &dyn SshAccess, private_key: PathBuf, acquired: &Acquired) -> Result<(), String> {
    let target = NodeTarget {
        hostname: acquired.hostname.clone(),
        public_ip: acquired.public_ip,
        ssh_port: acquired.ssh_port,
        ssh_user: acquired.ssh_user.clone(),
        ssh_private_key_path: private_key,
        host_key: acquired.host_key.clone(),
    };
    let (node_id, limit) = (NodeId::generate(), Duration::from_secs(20));
    let context = StepContext::outside_job("sudo", limit, Arc::new(RealClock));
    let sudo = RemoteCommand::script("sudo -n true", limit).over_new_login();
    let ran = ssh.run(node_id, &target, &sudo, &context).await;
    ssh.forget(node_id).await.map_err(|failure| failure.to_string())?;
    match ran {
        Ok(output) if output.exit_status == Some(0) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// What can be in a provider's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Something that `acquire` needs fails, best after it has begun to act. Where programs are run, the one that fails prints
    /// [`RAW_OUTPUT`](crate::RAW_OUTPUT).
    AcquireFails,
    /// Something of the instance's machine cannot be removed.
    ReleaseFails,
    /// Something that `acquire` and `release` need never ends.
    Hangs,
    /// It cannot be seen whether the instance's machine runs. This one may last until the machine is released.
    CannotTell,
}

/// A provider with machines of its own, and the means to look at these and disturb them behind its back. Each test has a new
/// one. Where a method speaks of an instance's machine, there is one, unless it says otherwise.
#[async_trait]
pub trait World: Send + Sync {
    /// The rules that do not apply to this provider, with the reason, as in `("NP-22", "its machines share nothing")`. The
    /// contract says which rules may be left out, and when.
    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The provider under test, always the same.
    fn provider(&self) -> Arc<dyn NodeProvider>;

    /// Another provider over the same world: what the next process has.
    async fn reopened(&self) -> Arc<dyn NodeProvider>;

    /// A provider that cannot work on this host (NP-18).
    async fn incapable(&self) -> Arc<dyn NodeProvider> {
        unsupported("NP-18")
    }

    /// A request for a new node, with a key that [`World::sudo`] can log in with. For a remote provider a host is started
    /// first, and the key is not on it.
    async fn request(&self) -> AcquireRequest;

    /// The instance's machine, where there is one.
    async fn machine(&self, instance: &Instance) -> Option<Machine>;

    /// The names of all machines of this world. Not asked of remote providers.
    async fn machine_names(&self) -> Vec<String>;

    /// The host key that the machine's SSH server shows.
    async fn host_key(&self, instance: &Instance) -> HostKey;

    /// The login user's `authorized_keys`, where there is such a file.
    async fn keys_file(&self, instance: &Instance) -> Option<KeysFile>;

    /// Writes the login user's `authorized_keys`, as that user would: with the folder where it is missing.
    async fn write_keys(&self, instance: &Instance, bytes: &[u8]);

    /// Logs in as the provider said, with the key of the requests and the pinned host key alone, and becomes root.
    ///
    /// # Errors
    /// Why it could not.
    async fn sudo(&self, acquired: &Acquired) -> Result<(), String>;

    /// Stops the machine in order, and waits until it has stopped.
    async fn stop(&self, instance: &Instance);

    /// Makes a machine of the instance's name that is not the instance's own, where there is none (NP-08). Not asked of
    /// remote providers.
    async fn make_foreign(&self, instance: &Instance);

    /// Removes it again.
    async fn remove_foreign(&self, instance: &Instance);

    /// All that is on this host of the instance: processes, mounts, interfaces, files and so on. Empty where there is nothing.
    /// For remote hosts, what the provider keeps here of them.
    async fn left_of(&self, instance: &Instance) -> Vec<String>;

    /// What instances share, in a form that shows changes (NP-22).
    async fn shared(&self) -> Vec<String> {
        unsupported("NP-22")
    }

    /// Gets in the way of the provider, from now on.
    async fn trouble(&self, trouble: Trouble, instance: &Instance);

    /// Ends all trouble.
    async fn calm(&self);

    /// The commands that the provider ran, those of [`World::reopened`] ones included (NP-25).
    fn commands(&self) -> Vec<CommandSpec> {
        unsupported("NP-25")
    }

    /// The processes that the provider has running, machines not counted. [`TroubledRunner`](crate::TroubledRunner) knows them.
    fn processes(&self) -> Vec<String>;

    /// Gives back all that the world itself made. Every machine was released before.
    async fn close(&self) {}
}

fn unsupported(rule: &str) -> ! {
    panic!(
        "the world does not show {rule}: write the method, or name the rule in `not_applicable` if the contract allows it"
    )
}
