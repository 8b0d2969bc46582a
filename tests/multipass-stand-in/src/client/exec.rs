//! `exec`: through a real shell in a real machine.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use machines::Inside;

use super::{Client, Outcome};
use crate::args::{Args, OptionSpec};
use crate::daemon::Request;
use crate::failure::Failure;
use crate::state::{Profile, VmState, Vms};
use crate::{MULTIPASS_KEY, USER};

/// The client's own code for "again": released versions mistake a command's for it.
const RETRY: i32 = 4;

/// Becomes the login user's shell with the joined command line in `$2`, in the folder `$1`.
const LOGIN: &str = "cd \"$1\" && exec /usr/bin/setpriv --reuid ubuntu --regid ubuntu --init-groups \
                     /usr/bin/env -i HOME=/home/ubuntu USER=ubuntu LOGNAME=ubuntu SHELL=/bin/bash LANG=C.UTF-8 \
                     PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/bash -c \"$2\"";

impl Client {
    pub(super) fn exec(&self, rest: &[String]) -> Outcome {
        let known: &[OptionSpec] = &[
            (&["working-directory", "d"], true),
            (&["no-map-working-directory", "n"], false),
        ];
        let args = Args::parse(rest, known)?;
        if args.has("working-directory") && args.has("no-map-working-directory") {
            let text = "Options --working-directory and --no-map-working-directory clash";
            return Err(Failure::refused(text));
        }
        let [name, command @ ..] = args.positional.as_slice() else {
            return Err(Failure::refused("Wrong number of arguments"));
        };
        if command.is_empty() {
            return Err(Failure::refused("Wrong number of arguments"));
        }
        self.reach_daemon("exec")?;
        let folder = args.value("working-directory").unwrap_or("/home/ubuntu");
        let line: Vec<String> = command.iter().map(|word| escaped(word)).collect();
        loop {
            let inside = self.door(name)?;
            let code = run(&inside, folder, &line.join(" "));
            if code != RETRY || self.profile == Profile::Newest {
                return Ok(code);
            }
        }
    }

    /// A running machine, started where it is not, in which Multipass can log in.
    fn door(&self, name: &str) -> Result<Inside, Failure> {
        let reported = |text: String| Err(Failure::reported("exec", text));
        loop {
            let found = self.store.change(|state| state.listed(name).cloned());
            let Some(instance) = found else {
                return reported(format!("instance \"{name}\" does not exist"));
            };
            match instance.state {
                VmState::Deleted => return reported(format!("instance \"{name}\" is deleted")),
                VmState::Unknown => return reported("Cannot retrieve credentials in unknown state".to_owned()),
                VmState::Suspending => return reported("Cannot retrieve credentials while suspending".to_owned()),
                VmState::Stopped | VmState::Suspended | VmState::Starting | VmState::Restarting => {
                    Self::spin(&format!("Starting {name}"));
                    self.ask(&Request::Start {
                        name: name.to_owned(),
                        delay: Duration::ZERO,
                    })?;
                }
                VmState::Running | VmState::DelayedShutdown => {
                    if self.fault.ssh {
                        return Err(self.no_login("ssh connection failed: 'Connection refused'"));
                    }
                    return self.login(name).map_err(|text| self.no_login(&text));
                }
            }
        }
    }

    fn no_login(&self, text: &str) -> Failure {
        let code = match self.profile {
            Profile::Released => 2,
            Profile::Newest => 255,
        };
        Failure {
            code,
            ..Failure::reported("exec", text)
        }
    }

    /// What Multipass needs of a machine to log in: its sshd answers, and its own key is let in.
    pub(super) fn login(&self, name: &str) -> Result<Inside, String> {
        let address = self.store.change(|state| {
            let instance = state.listed(name).filter(|instance| instance.vms == Vms::Real)?;
            Some(instance.address.clone())
        });
        let refused = |text: &str| Err(format!("ssh connection failed: '{text}'"));
        let Some(inside) = self.store.inside(name) else {
            return refused("No route to host");
        };
        let socket = address.and_then(|address| (address.as_str(), 22).to_socket_addrs().ok()?.next());
        if socket.is_none_or(|socket| TcpStream::connect_timeout(&socket, Duration::from_secs(5)).is_err()) {
            return refused("Connection refused");
        }
        let file = format!("/home/{USER}/.ssh/authorized_keys");
        let known = inside.try_run(&["/usr/bin/grep", "-qxF", "-e", MULTIPASS_KEY, &file], b"");
        if !known.success() {
            let text = "ssh failed to authenticate: 'Access denied for 'publickey'. Authentication that can continue: \
                        publickey'";
            return Err(text.to_owned());
        }
        Ok(inside)
    }
}

/// The exit code; 255 for a command that a signal ended.
fn run(inside: &Inside, folder: &str, line: &str) -> i32 {
    let mut command = inside.enter(&["/bin/sh", "-c", LOGIN, "sh", folder, line]);
    command
        .env_clear()
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    let status = command.status().unwrap();
    if status.signal().is_some() {
        return 255;
    }
    status.code().unwrap_or(255)
}

fn escaped(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_come_through_the_shell_as_they_were() {
        let words = ["a b", "", "it's", "$HOME `id` \\ \"", "-n"];
        let line: Vec<_> = words.iter().map(|word| super::escaped(word)).collect();
        let script = format!("printf '<%s>' {}", line.join(" "));
        let ran = std::process::Command::new("/bin/bash")
            .args(["-c", &script])
            .output()
            .unwrap();
        let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), expected);
    }
}
