//! The SSH configuration of one node: `<data directory>/ssh/<instance name>/{config,known_hosts}`. Every program that
//! connects to the node is given it (`ssh -F`), so that all are isolated alike. Format: ssh_config(5), sshd(8).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use domain_kernel::JobErrorCode;
use jobs::Failure;
use nodes_domain::NodeTarget;

use crate::files::{failed, keep_file, private_folder};

/// How long the machine may take to answer and to exchange keys, in seconds.
const CONNECT_TIMEOUT: u32 = 8;

/// What isolates SSH, the same for every node.
const ISOLATION: &str = "\
    IdentitiesOnly yes
    IdentityAgent none
    AddKeysToAgent no
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    CheckHostIP no
    VerifyHostKeyDNS no
    CanonicalizeHostname no
    PreferredAuthentications publickey
    PubkeyAuthentication yes
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    HostbasedAuthentication no
    GSSAPIAuthentication no
    BatchMode yes
    ForwardAgent no
    ForwardX11 no
    PermitLocalCommand no
    ProxyCommand none
    ControlMaster no
    ControlPath none
    ServerAliveInterval 5
    ServerAliveCountMax 3
    TCPKeepAlive yes
    # Below INFO `ssh` does not say why a connection ended.
    LogLevel INFO
";

/// Writes a node's files and returns the path of its configuration. `ssh_folder` is absolute.
pub(crate) fn write(ssh_folder: &Path, instance: &str, target: &NodeTarget) -> Result<PathBuf, Failure> {
    let folder = ssh_folder.join(instance);
    let known_hosts = folder.join("known_hosts");
    let refused = |reason| Failure::new(JobErrorCode::LocalConfigInvalid, reason);
    let config_text = render(instance, target, &known_hosts).map_err(refused)?;
    let host_line = known_hosts_line(instance, target);
    let config = folder.join("config");
    let trouble = |error: io::Error| failed(JobErrorCode::Internal, &folder, &error);
    private_folder(&folder).map_err(trouble)?;
    keep_file(&known_hosts, host_line.as_bytes(), 0o600).map_err(trouble)?;
    keep_file(&config, config_text.as_bytes(), 0o600).map_err(trouble)?;
    Ok(config)
}

/// Removes a node's files.
pub(crate) fn remove(ssh_folder: &Path, instance: &str) -> Result<(), Failure> {
    let folder = ssh_folder.join(instance);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(JobErrorCode::Internal, &folder, &error)),
        _ => Ok(()),
    }
}

fn render(instance: &str, target: &NodeTarget, known_hosts: &Path) -> Result<String, String> {
    let host = checked("host name", &target.hostname, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_')
    })?;
    let user = checked("SSH user", &target.ssh_user, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')
    })?;
    let port = target.ssh_port;
    if port == 0 {
        return Err("the SSH port is 0; it has to be 1 to 65535".to_owned());
    }
    let algorithms = host_key_algorithms(target)?;
    let key = quoted_path(&target.ssh_private_key_path)?;
    let known_hosts = quoted_path(known_hosts)?;
    Ok(format!(
        "# Written by Pressluft. Changes are lost.
Host {instance}
    HostName {host}
    Port {port}
    User {user}
    IdentityFile {key}
    UserKnownHostsFile {known_hosts}
    # The pinned key belongs to the node, whatever its address becomes.
    HostKeyAlias {instance}
    HostKeyAlgorithms {algorithms}
    ConnectTimeout {CONNECT_TIMEOUT}
{ISOLATION}"
    ))
}

/// The pinned key under the alias that the configuration looks it up by, and under the address for people.
fn known_hosts_line(instance: &str, target: &NodeTarget) -> String {
    format!(
        "{instance},[{}]:{} {}\n",
        target.hostname, target.ssh_port, target.host_key
    )
}

/// A value that stands in the configuration as it is: nothing in it can end the line, start another word or be
/// expanded (`%`).
fn checked<'a>(what: &str, value: &'a str, allowed: fn(u8) -> bool) -> Result<&'a str, String> {
    if value.is_empty() || value.len() > 255 {
        return Err(format!("the {what} has to have 1 to 255 characters"));
    }
    if value.starts_with('-') || !value.bytes().all(allowed) {
        return Err(format!("the {what} {value:?} holds a character that it must not have"));
    }
    Ok(value)
}

/// A path in quotes. `%` and `$` would be expanded by `ssh`, quotes and backslashes would end the quotes.
fn quoted_path(path: &Path) -> Result<String, String> {
    let refused = || {
        format!(
            "the path {path:?} cannot stand in an SSH configuration: it has to be absolute and without quotes, \
             backslashes, `%`, `$` and control characters"
        )
    };
    let text = path.to_str().filter(|_| path.is_absolute()).ok_or_else(refused)?;
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\' | '%' | '$'))
    {
        return Err(refused());
    }
    Ok(format!("\"{text}\""))
}

/// The signatures that the pinned key can make: with others the machine could only show another key.
fn host_key_algorithms(target: &NodeTarget) -> Result<&'static str, String> {
    let kind = target.host_key.as_str().split(' ').next().unwrap_or_default();
    match kind {
        "ssh-ed25519" => Ok("ssh-ed25519"),
        "ecdsa-sha2-nistp256" => Ok("ecdsa-sha2-nistp256"),
        "ecdsa-sha2-nistp384" => Ok("ecdsa-sha2-nistp384"),
        "ecdsa-sha2-nistp521" => Ok("ecdsa-sha2-nistp521"),
        "ssh-rsa" => Ok("rsa-sha2-512,rsa-sha2-256"),
        other => Err(format!("host keys of type {other:?} are not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> NodeTarget {
        NodeTarget {
            hostname: "10.0.0.2".to_owned(),
            public_ip: None,
            ssh_port: 22,
            ssh_user: "pressluft".to_owned(),
            ssh_private_key_path: PathBuf::from("/data dir/keys/pressluft_ed25519"),
            host_key: format!("ssh-ed25519 {}", "A".repeat(68)).parse().unwrap(),
        }
    }

    fn refused(change: impl FnOnce(&mut NodeTarget)) -> Failure {
        let folder = tempfile::tempdir().unwrap();
        let mut target = target();
        change(&mut target);
        let refused = write(folder.path(), "pressluft-0123456789ab", &target).unwrap_err();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is written");
        refused
    }

    #[test]
    fn a_value_that_could_bring_a_directive_of_its_own_is_refused() {
        let hosts = [
            "",
            "-oProxyCommand=id",
            "a b",
            "a\nProxyCommand id",
            "a\"b",
            "a\tb",
            "%h",
            "a,b",
            "a*",
            "a#b",
            "a\r",
        ];
        for host in hosts {
            let failure = refused(|target| target.hostname = host.to_owned());
            assert_eq!(failure.code, JobErrorCode::LocalConfigInvalid, "{host:?}");
        }
        for user in ["", "-l", "a b", "a\nUser root", "a\"", "%r", "${HOME}", "a@b"] {
            let failure = refused(|target| target.ssh_user = user.to_owned());
            assert_eq!(failure.code, JobErrorCode::LocalConfigInvalid, "{user:?}");
        }
        for path in ["key", "/a\"b", "/a\nb", "/a%d", "/${HOME}", "/a\\b"] {
            let failure = refused(|target| target.ssh_private_key_path = PathBuf::from(path));
            assert_eq!(failure.code, JobErrorCode::LocalConfigInvalid, "{path:?}");
        }
        refused(|target| target.ssh_port = 0);
        refused(|target| target.host_key = format!("ssh-foo {}", "A".repeat(68)).parse().unwrap());
    }

    #[test]
    fn addresses_of_both_families_and_names_are_accepted() {
        for host in ["10.0.0.2", "fd00::2", "node-1.example.org", "node_1"] {
            let mut target = target();
            target.hostname = host.to_owned();
            let text = render("pressluft-0123456789ab", &target, Path::new("/data/known_hosts")).unwrap();
            assert!(text.contains(&format!("\n    HostName {host}\n")), "{text}");
        }
    }

    #[test]
    fn an_unchanged_configuration_is_not_written_again_and_a_changed_one_is_replaced() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = tempfile::tempdir().unwrap();
        let config = write(folder.path(), "pressluft-0123456789ab", &target()).unwrap();
        let first = config.metadata().unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o600);
        let parent = config.parent().unwrap().metadata().unwrap();
        assert_eq!(parent.permissions().mode() & 0o777, 0o700);

        write(folder.path(), "pressluft-0123456789ab", &target()).unwrap();
        assert_eq!(config.metadata().unwrap().ino(), first.ino());

        let mut moved = target();
        moved.hostname = "10.0.0.3".to_owned();
        write(folder.path(), "pressluft-0123456789ab", &moved).unwrap();
        assert_ne!(config.metadata().unwrap().ino(), first.ino());
        let files = config.parent().unwrap().read_dir().unwrap().count();
        assert_eq!(files, 2, "no temporary file stays behind");
        remove(folder.path(), "pressluft-0123456789ab").unwrap();
        remove(folder.path(), "pressluft-0123456789ab").unwrap();
        assert!(!config.exists());
    }
}
