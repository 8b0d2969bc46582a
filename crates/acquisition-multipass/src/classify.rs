//! What a command's end means. Multipass's exit codes are too coarse (2 is everything that its daemon reports), so an end
//! is read from the subcommand, the exit code and what stands on standard error after `<subcommand> failed: `.
//!
//! The rows are tried in this order; `code` is what a job fails with where nothing helps (see [`crate::acquire`] for what
//! is tried before).
//!
//! | class | exit | standard error has | code | what is done first |
//! |---|---|---|---|---|
//! | daemon unreachable | 2 | `cannot connect to the multipass socket` | `LOCAL_PROVIDER_NOT_RESPONDING` | waits, 2 s to 15 s, for 120 s |
//! | socket denied | 2 | `multipass socket access denied` | `LOCAL_PROVIDER_DENIED` | - |
//! | not authenticated | 2 | `is not authenticated with the Multipass service` | `LOCAL_PROVIDER_DENIED` | - |
//! | local image missing | 2 | ``Custom image `...` does not exist`` | `LOCAL_IMAGE_UNAVAILABLE` | - |
//! | image not found | 2 | `Unable to find an image matching` | `LOCAL_IMAGE_UNAVAILABLE` | - |
//! | image unsupported | 2 | `release is no longer supported` | `LOCAL_IMAGE_UNAVAILABLE` | - |
//! | image remote unknown | 2 | `is unknown or unreachable` | `LOCAL_IMAGE_UNAVAILABLE` | - |
//! | image corrupt | 2 | `Downloaded image hash does not match`, `Hash of ... does not match` | `LOCAL_IMAGE_UNAVAILABLE` | launches once more |
//! | download failed | 2 | `failed to download from '` | `LOCAL_ACQUISITION_FAILED` | - |
//! | no KVM | 2 | `KVM support is not enabled` | `LOCAL_PROVIDER_UNAVAILABLE` | - |
//! | KVM denied or busy | 2 | `KVM device cannot be opened`, `Another virtual machine manager` | `LOCAL_PROVIDER_UNAVAILABLE` | - |
//! | host's disk full | 2 | `Available disk (` and `below minimum` | `HOST_DISK_FULL` | - |
//! | disk too small | 2 | `Requested disk (` | `LOCAL_CONFIG_INVALID` | - |
//! | invalid memory, disk, name | 2 | `Invalid memory size value supplied`, `Invalid disk size`, `Invalid instance name supplied` | `LOCAL_CONFIG_INVALID` | - |
//! | malformed size | 1 | `is not a valid memory size` | `LOCAL_CONFIG_INVALID` | - |
//! | invalid cpu | 1 | `nvalid CPU count` | `LOCAL_CONFIG_INVALID` | - |
//! | cloud-init file | 1 | `Could not load cloud-init configuration`, `error loading cloud-init config`, `error: No such file:` | `LOCAL_CONFIG_INVALID` | - |
//! | SSH failure | 2, 255 | `ssh connection failed: '`, `ssh failed to authenticate: '` | `LOCAL_ACQUISITION_FAILED`; `SSH_KEY_INJECTION_FAILED` for the key | reading the host key is tried three times |
//! | SSH-up timeout | 2 | `timed out waiting for response` | `LOCAL_ACQUISITION_TIMEOUT` | the machine is Unknown then: see there |
//! | cloud-init timeout | 2 | `timed out waiting for initialization to complete` | `LOCAL_ACQUISITION_TIMEOUT` | goes on with the machine, which runs |
//! | client timeout | 5 | any (`Timed out waiting for instance launch.`, `to start.`, `to restart.`) | `LOCAL_ACQUISITION_TIMEOUT` | polls: the daemon goes on |
//! | died during start | 2 | `shutdown during start`, `Instance stopped while starting` | `LOCAL_ACQUISITION_FAILED` | starts again, three times in all |
//! | already exists | 2 | `instance "x" already exists` | `LOCAL_ACQUISITION_FAILED` | no error: looks at the list and adopts |
//! | being prepared | 2 | `instance "x" is being prepared` | `LOCAL_ACQUISITION_TIMEOUT` | polls |
//! | instance missing | 2 | `instance "x" does not exist`, `Instance 'x' does not exist.` | `LOCAL_ACQUISITION_FAILED` | looks at the list; makes a new one, and says so |
//! | instance deleted | 2 | `instance "x" is deleted`, `Instance 'x' is deleted` | `LOCAL_INSTANCE_CONFLICT` | looks at the list |
//! | unknown state | 2 | `unknown state` | `LOCAL_INSTANCE_UNUSABLE` | `stop --force` and `start`, once |
//! | busy | 2 | `while suspending`, `while starting`, `is scheduled to shut down in less than a minute` | `LOCAL_ACQUISITION_TIMEOUT` | polls |
//! | not running | 2 | `is not running` (`restart`) | `LOCAL_ACQUISITION_FAILED` | looks at the list |
//! | daemon unreachable | 3 | any | `LOCAL_PROVIDER_NOT_RESPONDING` | waits, as above |
//! | client's own failure | 1 | `Caught an unhandled exception`; any other of `list` and `version` | `LOCAL_PROVIDER_UNAVAILABLE` | - |
//! | refused arguments | 1 | any other, but for `exec` | `LOCAL_CONFIG_INVALID` | - |
//! | other | any | any other, or ended by a signal | `LOCAL_ACQUISITION_FAILED` | looks at the list |
//!
//! An end of `exec` is Multipass's own only where standard error has `exec failed: `; else it is the remote command's. So
//! success is never an exit code alone: see [`crate::inject`].

use process_exec::Ended;

use crate::class::Class;

/// A row: exit codes, texts of which one must be there with all its parts, class.
type Row = (&'static [i32], &'static [&'static [&'static str]], Class);

/// The rows, most telling first. See the module's table.
const ROWS: &[Row] = &[
    (
        &[2],
        &[&["cannot connect to the multipass socket"]],
        Class::DaemonUnreachable,
    ),
    (&[2], &[&["multipass socket access denied"]], Class::SocketDenied),
    (
        &[2],
        &[&["is not authenticated with the Multipass service"]],
        Class::NotAuthenticated,
    ),
    (&[2], &[&["Custom image `", "does not exist"]], Class::LocalImageMissing),
    (&[2], &[&["Unable to find an image matching"]], Class::ImageNotFound),
    (&[2], &[&["release is no longer supported"]], Class::ImageUnsupported),
    (&[2], &[&["is unknown or unreachable"]], Class::ImageRemoteUnknown),
    (
        &[2],
        &[
            &["Downloaded image hash does not match"],
            &["Hash of ", "does not match"],
        ],
        Class::ImageCorrupt,
    ),
    (&[2], &[&["failed to download from '"]], Class::DownloadFailed),
    (&[2], &[&["KVM support is not enabled"]], Class::NoKvm),
    (
        &[2],
        &[&["KVM device cannot be opened"], &["Another virtual machine manager"]],
        Class::KvmDeniedOrBusy,
    ),
    (&[2], &[&["Available disk (", "below minimum"]], Class::HostDiskFull),
    (&[2], &[&["Requested disk ("]], Class::DiskTooSmall),
    (
        &[2],
        &[
            &["Invalid memory size value supplied"],
            &["Invalid disk size"],
            &["Invalid instance name supplied"],
        ],
        Class::InvalidValue,
    ),
    (&[1], &[&["is not a valid memory size"]], Class::MalformedSize),
    (&[1], &[&["nvalid CPU count"]], Class::InvalidCpu),
    (
        &[1],
        &[
            &["Could not load cloud-init configuration"],
            &["error loading cloud-init config"],
            &["error: No such file:"],
        ],
        Class::CloudInitFile,
    ),
    (
        &[2, 255],
        &[&["ssh connection failed: '"], &["ssh failed to authenticate: '"]],
        Class::SshFailure,
    ),
    (&[2], &[&["timed out waiting for response"]], Class::SshTimeout),
    (
        &[2],
        &[&["timed out waiting for initialization to complete"]],
        Class::CloudInitTimeout,
    ),
    (&[5], &[&[]], Class::ClientTimeout),
    (
        &[2],
        &[&["shutdown during start"], &["Instance stopped while starting"]],
        Class::DiedDuringStart,
    ),
    (&[2], &[&["instance \"", "already exists"]], Class::AlreadyExists),
    (&[2], &[&["instance \"", "is being prepared"]], Class::BeingPrepared),
    (
        &[2],
        &[&["instance \"", "does not exist"], &["Instance '", "does not exist"]],
        Class::InstanceMissing,
    ),
    (
        &[2],
        &[&["instance \"", "is deleted"], &["Instance '", "is deleted"]],
        Class::InstanceDeleted,
    ),
    (&[2], &[&["unknown state"]], Class::UnknownState),
    (
        &[2],
        &[
            &["while suspending"],
            &["while starting"],
            &["is scheduled to shut down in less than a minute"],
        ],
        Class::Busy,
    ),
    (&[2], &[&["is not running"]], Class::NotRunning),
    (&[3], &[&[]], Class::DaemonUnreachable),
    (&[1], &[&["Caught an unhandled exception"]], Class::ClientFailure),
    (&[1], &[&[]], Class::RefusedArguments),
];

/// What an end other than exit 0 means.
pub(crate) fn classify(subcommand: &str, ended: Ended, stderr: &[u8]) -> Class {
    let Ended::Exit(status) = ended else {
        return Class::Other;
    };
    let text = plain(stderr);
    let marker = format!("{subcommand} failed: ");
    let told = text.find(&marker).map(|at| &text[at + marker.len()..]);
    let text = match told {
        Some(told) => told,
        // The remote command's own words and status.
        None if subcommand == "exec" => return Class::Other,
        None => &text,
    };
    let fits = |(codes, texts, _): &&Row| {
        codes.contains(&status) && texts.iter().any(|parts| parts.iter().all(|part| text.contains(part)))
    };
    match ROWS.iter().find(fits).map_or(Class::Other, |(_, _, class)| *class) {
        // Their arguments are always the same ones: it is the client itself that fails.
        Class::RefusedArguments if matches!(subcommand, "list" | "version") => Class::ClientFailure,
        class => class,
    }
}

/// Text without the sequences that move a terminal's cursor or colour its letters.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => {
                // `ESC [ parameters letter`, or `ESC letter`. One that breaks off takes nothing with it.
                if letters.next_if_eq(&'[').is_some() {
                    while letters.next_if(|letter| (' '..='?').contains(letter)).is_some() {}
                }
                letters.next_if(|letter| (' '..='~').contains(letter));
            }
            '\r' => {}
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
