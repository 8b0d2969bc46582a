//! The provider's settings, and what makes them invalid.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

/// The provider's settings. Every wait and every deadline of this crate is one of these, on the context's clock.
#[derive(Debug, Clone)]
pub struct MultipassConfig {
    /// The program: a name that is looked up as `CommandSpec::PATH` says, or an absolute path.
    pub program: OsString,
    /// What each command gets beside `PATH` and `LC_ALL`; nothing is inherited. The client keeps its certificate under
    /// `HOME`, and `MULTIPASS_SERVER_ADDRESS` points it elsewhere.
    pub env: BTreeMap<OsString, OsString>,
    /// The image that machines are made from.
    pub image: String,
    /// The machine's processors, from 1.
    pub cpus: u32,
    /// The machine's memory as Multipass reads it, as in `2G`.
    pub memory: String,
    /// The machine's disk as Multipass reads it, as in `20G`.
    pub disk: String,
    /// How long `launch` may take, the download of the image included; told to Multipass in whole seconds.
    pub launch_limit: Duration,
    /// How long `start` and `restart` (as told to Multipass in whole seconds), `stop` and `delete` may take.
    pub start_limit: Duration,
    /// How much longer than the limit that Multipass was told its client may run before it is ended.
    pub kill_grace: Duration,
    /// How long calls that only ask (`list`, `version`, `get`) may take.
    pub call_limit: Duration,
    /// How long one `exec` may take; one that hangs is tried three times in all.
    pub exec_limit: Duration,
    /// How long a running machine may go without an address that answers SSH.
    pub address_limit: Duration,
    /// How long a machine may take to be seen where the daemon goes on without its client, or for another client, and
    /// how long it may be suspending or busy.
    pub settle_limit: Duration,
    /// How long a daemon that is out of reach is waited for.
    pub daemon_patience: Duration,
    /// The first pause while the daemon is waited for; each next one is twice as long.
    pub backoff: Duration,
    /// The longest pause while the daemon is waited for.
    pub backoff_max: Duration,
    /// The pause between two looks at the list of machines.
    pub poll: Duration,
    /// How long one connection to a machine's SSH port may take.
    pub ssh_connect_limit: Duration,
    /// The SSH port of machines.
    pub ssh_port: u16,
    /// The login user of machines.
    pub ssh_user: String,
}

impl Default for MultipassConfig {
    fn default() -> Self {
        Self {
            program: "multipass".into(),
            env: BTreeMap::new(),
            image: "24.04".to_owned(),
            cpus: 2,
            memory: "2G".to_owned(),
            disk: "20G".to_owned(),
            launch_limit: Duration::from_secs(900),
            start_limit: Duration::from_secs(300),
            kill_grace: Duration::from_secs(60),
            call_limit: Duration::from_secs(30),
            exec_limit: Duration::from_secs(60),
            address_limit: Duration::from_secs(120),
            settle_limit: Duration::from_secs(120),
            daemon_patience: Duration::from_secs(120),
            backoff: Duration::from_secs(2),
            backoff_max: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            ssh_connect_limit: Duration::from_secs(5),
            ssh_port: 22,
            ssh_user: "ubuntu".to_owned(),
        }
    }
}

/// Why settings cannot be used. The text names the setting. Sizes and images are Multipass's to judge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No program.
    #[error("the Multipass program must be a name or an absolute path")]
    Program,
    /// A text that could not stand as one argument, or would be read as an option.
    #[error("{0} of Multipass machines must be printable ASCII without spaces and not begin with a dash")]
    Text(&'static str),
    /// A number that must not be 0.
    #[error("{0} must not be 0")]
    Zero(&'static str),
}

impl MultipassConfig {
    /// Says what is wrong with the settings.
    pub fn check(&self) -> Result<(), ConfigError> {
        let program = std::path::Path::new(&self.program);
        let plain = !self.program.is_empty() && program.components().count() == 1;
        if !plain && !program.is_absolute() {
            return Err(ConfigError::Program);
        }
        for (name, text) in [
            ("the image", &self.image),
            ("the memory", &self.memory),
            ("the disk", &self.disk),
            ("the login user", &self.ssh_user),
        ] {
            let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
            if text.is_empty() || text.starts_with('-') || !printable {
                return Err(ConfigError::Text(name));
            }
        }
        for (name, zero) in [
            ("the processors of Multipass machines", self.cpus == 0),
            ("the SSH port of Multipass machines", self.ssh_port == 0),
            ("the limit of a launch", self.launch_limit.is_zero()),
            ("the limit of a start", self.start_limit.is_zero()),
            ("the limit of a call", self.call_limit.is_zero()),
            ("the limit of a command in a machine", self.exec_limit.is_zero()),
            ("the pause between two looks", self.poll.is_zero()),
            ("the first pause while Multipass is waited for", self.backoff.is_zero()),
            ("the limit of a connection", self.ssh_connect_limit.is_zero()),
        ] {
            if zero {
                return Err(ConfigError::Zero(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_no_command_could_carry_are_refused_by_name() {
        assert_eq!(MultipassConfig::default().check(), Ok(()));
        let with = |change: fn(&mut MultipassConfig)| {
            let mut config = MultipassConfig::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|c| c.program = "bin/multipass".into()), Err(ConfigError::Program));
        assert_eq!(with(|c| c.program = OsString::new()), Err(ConfigError::Program));
        assert_eq!(with(|c| c.program = "/opt/multipass".into()), Ok(()));
        assert_eq!(with(|c| c.image = "--all".into()), Err(ConfigError::Text("the image")));
        assert_eq!(with(|c| c.memory = "2 G".into()), Err(ConfigError::Text("the memory")));
        assert_eq!(with(|c| c.disk = String::new()), Err(ConfigError::Text("the disk")));
        assert_eq!(
            with(|c| c.poll = Duration::ZERO),
            Err(ConfigError::Zero("the pause between two looks"))
        );
        assert!(with(|c| c.cpus = 0).is_err());
        // What Multipass itself judges is handed to it.
        assert_eq!(with(|c| c.memory = "lots".into()), Ok(()));
        assert_eq!(with(|c| c.image = "file:///x.img".into()), Ok(()));
    }
}
