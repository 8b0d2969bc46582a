use domain_kernel::JobErrorCode as Code;

use super::*;

fn class(subcommand: &str, status: i32, stderr: &str) -> Class {
    classify(subcommand, Ended::Exit(status), stderr.as_bytes())
}

/// Subcommand, exit code, message after `<subcommand> failed: `, class, code.
const MESSAGES: &[(&str, i32, &str, Class, Code)] = &[
    (
        "list",
        2,
        "cannot connect to the multipass socket",
        Class::DaemonUnreachable,
        Code::LocalProviderNotResponding,
    ),
    (
        "list",
        2,
        "multipass socket access denied\nPlease check that you have read/write permissions to '/run/multipass_socket'",
        Class::SocketDenied,
        Code::LocalProviderDenied,
    ),
    (
        "launch",
        2,
        "The client is not authenticated with the Multipass service.\nPlease use 'multipass authenticate' first.",
        Class::NotAuthenticated,
        Code::LocalProviderDenied,
    ),
    (
        "exec",
        2,
        "instance \"n1\" does not exist",
        Class::InstanceMissing,
        Code::LocalAcquisitionFailed,
    ),
    (
        "start",
        2,
        "Instance 'n1' does not exist.",
        Class::InstanceMissing,
        Code::LocalAcquisitionFailed,
    ),
    (
        "exec",
        2,
        "instance \"n1\" is deleted",
        Class::InstanceDeleted,
        Code::LocalInstanceConflict,
    ),
    (
        "start",
        2,
        "Instance 'n1' is deleted. Use 'recover' to recover it or 'purge' to permanently delete it.",
        Class::InstanceDeleted,
        Code::LocalInstanceConflict,
    ),
    (
        "launch",
        2,
        "instance \"n1\" already exists",
        Class::AlreadyExists,
        Code::LocalAcquisitionFailed,
    ),
    (
        "launch",
        2,
        "instance \"n1\" is being prepared",
        Class::BeingPrepared,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "start",
        2,
        "Instance 'n1' is in an unknown state",
        Class::UnknownState,
        Code::LocalInstanceUnusable,
    ),
    (
        "exec",
        2,
        "Cannot retrieve credentials in unknown state",
        Class::UnknownState,
        Code::LocalInstanceUnusable,
    ),
    (
        "restart",
        2,
        "instance \"n1\" is not running",
        Class::NotRunning,
        Code::LocalAcquisitionFailed,
    ),
    (
        "start",
        2,
        "Cannot start the instance while suspending.",
        Class::Busy,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "stop",
        2,
        "Cannot stop the instance while starting.",
        Class::Busy,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "start",
        2,
        "instance \"n1\" is scheduled to shut down in less than a minute",
        Class::Busy,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "launch",
        2,
        "The following errors occurred:\nn1: timed out waiting for response",
        Class::SshTimeout,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "launch",
        2,
        "The following errors occurred:\ntimed out waiting for initialization to complete",
        Class::CloudInitTimeout,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "launch",
        5,
        "Timed out waiting for instance launch.",
        Class::ClientTimeout,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "start",
        5,
        "Timed out waiting for instance to start.",
        Class::ClientTimeout,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "restart",
        5,
        "Timed out waiting for instance to restart.",
        Class::ClientTimeout,
        Code::LocalAcquisitionTimeout,
    ),
    (
        "start",
        2,
        "instance \"n1\": shutdown during start",
        Class::DiedDuringStart,
        Code::LocalAcquisitionFailed,
    ),
    (
        "start",
        2,
        "Instance stopped while starting",
        Class::DiedDuringStart,
        Code::LocalAcquisitionFailed,
    ),
    (
        "launch",
        2,
        "Unable to find an image matching \"99.99\" in remote \"\".",
        Class::ImageNotFound,
        Code::LocalImageUnavailable,
    ),
    (
        "launch",
        2,
        "The 19.10 release is no longer supported.",
        Class::ImageUnsupported,
        Code::LocalImageUnavailable,
    ),
    (
        "launch",
        2,
        "Remote 'x' is unknown or unreachable.",
        Class::ImageRemoteUnknown,
        Code::LocalImageUnavailable,
    ),
    (
        "launch",
        2,
        "Custom image `/var/instance \"x.img` does not exist.",
        Class::LocalImageMissing,
        Code::LocalImageUnavailable,
    ),
    (
        "launch",
        2,
        "failed to download from 'https://x.test/i.img': timed out",
        Class::DownloadFailed,
        Code::LocalAcquisitionFailed,
    ),
    (
        "launch",
        2,
        "Downloaded image hash does not match",
        Class::ImageCorrupt,
        Code::LocalImageUnavailable,
    ),
    (
        "launch",
        2,
        "Hash of /i.img does not match (expected a but got b)",
        Class::ImageCorrupt,
        Code::LocalImageUnavailable,
    ),
    (
        "launch",
        2,
        "KVM support is not enabled on this machine.\nPlease ensure that virtualization is enabled.",
        Class::NoKvm,
        Code::LocalProviderUnavailable,
    ),
    (
        "launch",
        2,
        "KVM device cannot be opened",
        Class::KvmDeniedOrBusy,
        Code::LocalProviderUnavailable,
    ),
    (
        "launch",
        2,
        "Another virtual machine manager is currently running.",
        Class::KvmDeniedOrBusy,
        Code::LocalProviderUnavailable,
    ),
    (
        "launch",
        2,
        "Available disk (1 bytes) below minimum for this image (2 bytes)",
        Class::HostDiskFull,
        Code::HostDiskFull,
    ),
    (
        "launch",
        2,
        "Requested disk (1 bytes) below minimum for this image (2 bytes)",
        Class::DiskTooSmall,
        Code::LocalConfigInvalid,
    ),
    (
        "launch",
        2,
        "Invalid memory size value supplied: 1M.",
        Class::InvalidValue,
        Code::LocalConfigInvalid,
    ),
    (
        "launch",
        2,
        "Invalid disk size value supplied: 1.",
        Class::InvalidValue,
        Code::LocalConfigInvalid,
    ),
    (
        "launch",
        2,
        "Invalid instance name supplied: n_1.",
        Class::InvalidValue,
        Code::LocalConfigInvalid,
    ),
    (
        "exec",
        2,
        "ssh connection failed: 'Connection refused'",
        Class::SshFailure,
        Code::LocalAcquisitionFailed,
    ),
    (
        "exec",
        255,
        "ssh failed to authenticate: 'Access denied'",
        Class::SshFailure,
        Code::LocalAcquisitionFailed,
    ),
];

/// The same for what stands alone, as errors of the command line do.
const BARE: &[(&str, i32, &str, Class, Code)] = &[
    (
        "launch",
        1,
        "error: lots is not a valid memory size",
        Class::MalformedSize,
        Code::LocalConfigInvalid,
    ),
    (
        "launch",
        1,
        "error: Invalid CPU count '0', need a positive integer value.",
        Class::InvalidCpu,
        Code::LocalConfigInvalid,
    ),
    (
        "launch",
        1,
        "Could not load cloud-init configuration from 'x'",
        Class::CloudInitFile,
        Code::LocalConfigInvalid,
    ),
    (
        "launch",
        1,
        "error loading cloud-init config: yaml",
        Class::CloudInitFile,
        Code::LocalConfigInvalid,
    ),
    (
        "launch",
        1,
        "error: No such file: x.yaml",
        Class::CloudInitFile,
        Code::LocalConfigInvalid,
    ),
    (
        "version",
        1,
        "Caught an unhandled exception: no root certificate",
        Class::ClientFailure,
        Code::LocalProviderUnavailable,
    ),
    (
        "stop",
        1,
        "Unknown option 'force'.",
        Class::RefusedArguments,
        Code::LocalConfigInvalid,
    ),
    (
        "list",
        3,
        "",
        Class::DaemonUnreachable,
        Code::LocalProviderNotResponding,
    ),
    ("launch", 2, "something new", Class::Other, Code::LocalAcquisitionFailed),
    ("launch", 4, "", Class::Other, Code::LocalAcquisitionFailed),
    ("launch", 5, "", Class::ClientTimeout, Code::LocalAcquisitionTimeout),
];

#[test]
fn every_row_of_the_table_has_its_class_and_code_plain_coloured_and_after_a_preamble() {
    for (subcommand, status, message, expected, code) in MESSAGES {
        for stderr in [
            format!("{subcommand} failed: {message}\n"),
            format!("\x1b[2K\x1b[0A\x1b[0E\x1b[31m{subcommand} failed: \x1b[0m{message}\r\n"),
            format!("[warning] [url] is deleted, does not exist\n*** Warning! ***\n{subcommand} failed: {message}\n"),
            format!("{subcommand} failed: {message}\nother failed: cannot\n"),
        ] {
            assert_eq!(class(subcommand, *status, &stderr), *expected, "{stderr:?}");
        }
        assert_eq!(expected.code(), *code, "{expected:?}");
    }
    for (subcommand, status, message, expected, code) in BARE {
        assert_eq!(class(subcommand, *status, message), *expected, "{message:?}");
        assert_eq!(expected.code(), *code, "{expected:?}");
    }
}

#[test]
fn every_row_is_met_by_a_message_of_this_test() {
    for (_, texts, expected) in ROWS {
        let met = MESSAGES.iter().chain(BARE).filter(|(.., class, _)| class == expected);
        let messages: Vec<_> = met.map(|(_, _, message, ..)| *message).collect();
        for parts in *texts {
            let fits = |message: &&&str| parts.iter().all(|part| message.contains(part));
            assert!(messages.iter().any(|message| fits(&message)), "{expected:?} {parts:?}");
        }
    }
}

#[test]
fn what_a_remote_command_prints_or_ends_with_is_not_taken_for_multipasss_own() {
    for status in [1, 2, 3, 5, 255] {
        let stderr = "cannot connect to the multipass socket\nssh connection failed: 'x'";
        assert_eq!(class("exec", status, stderr), Class::Other, "{status}");
    }
    let killed = classify("launch", Ended::Signal(9), b"launch failed: KVM support is not enabled");
    assert_eq!(killed, Class::Other);
}

#[test]
fn an_exit_code_that_does_not_fit_its_text_has_no_class_of_that_text() {
    assert_eq!(
        class("launch", 1, "launch failed: KVM support is not enabled"),
        Class::RefusedArguments
    );
    assert_eq!(class("launch", 2, "lots is not a valid memory size"), Class::Other);
}

#[test]
fn long_and_broken_output_is_survived() {
    let mut stderr = vec![0xff; 65_536];
    stderr.extend_from_slice(b"\x1b");
    assert_eq!(classify("launch", Ended::Exit(2), &stderr), Class::Other);
    stderr.extend_from_slice(b"[\nlaunch failed: KVM support is not enabled\x1b[");
    assert_eq!(classify("launch", Ended::Exit(2), &stderr), Class::NoKvm);
}

#[test]
fn terminal_sequences_are_removed_and_text_stays() {
    assert_eq!(plain(b"\x1b[31mred\x1b[0m\r\n\x1b7x\x1b[2Ky"), "red\nxy");
    assert_eq!(plain(b"\x1b"), "");
    assert_eq!(plain(b"\x1b["), "");
    assert_eq!(plain(b"\x1b[\nx\x1b\ny"), "\nx\ny");
    assert_eq!(plain("ä\u{1b}[1;2Hö".as_bytes()), "äö");
}

#[test]
fn every_row_stands_in_the_modules_table_with_its_code() {
    let table: Vec<&str> = include_str!("../classify.rs")
        .lines()
        .filter(|line| line.starts_with("//! | "))
        .collect();
    for (_, texts, class) in ROWS {
        for parts in *texts {
            let told = |line: &&&str| {
                parts.iter().all(|part| line.contains(part.trim_end())) && line.contains(class.code().as_str())
            };
            assert!(table.iter().any(|line| told(&line)), "{class:?} {parts:?}");
        }
    }
}
