//! The classes of failures, the code of each, and what each says. Which end has which class: [`crate::classify`].

use domain_kernel::JobErrorCode;

/// What starts the daemon.
pub(crate) const START_DAEMON: &str = "run `sudo snap start multipass`";

/// What helps wherever Multipass does not.
pub(crate) const USE_NSPAWN: &str = "set PRESSLUFT_LOCAL_PROVIDER=nspawn on a Linux host without virtualization, then \
                                     restart Pressluft and create a new node";

/// What kind of failure a command ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    DaemonUnreachable,
    SocketDenied,
    NotAuthenticated,
    LocalImageMissing,
    ImageNotFound,
    ImageUnsupported,
    ImageRemoteUnknown,
    ImageCorrupt,
    DownloadFailed,
    NoKvm,
    KvmDeniedOrBusy,
    HostDiskFull,
    DiskTooSmall,
    InvalidValue,
    MalformedSize,
    InvalidCpu,
    CloudInitFile,
    SshFailure,
    SshTimeout,
    CloudInitTimeout,
    ClientTimeout,
    DiedDuringStart,
    AlreadyExists,
    BeingPrepared,
    InstanceMissing,
    InstanceDeleted,
    UnknownState,
    Busy,
    NotRunning,
    ClientFailure,
    RefusedArguments,
    Other,
}

impl Class {
    /// What a job fails with.
    pub(crate) fn code(self) -> JobErrorCode {
        match self {
            Self::DaemonUnreachable => JobErrorCode::LocalProviderNotResponding,
            Self::SocketDenied | Self::NotAuthenticated => JobErrorCode::LocalProviderDenied,
            Self::LocalImageMissing
            | Self::ImageNotFound
            | Self::ImageUnsupported
            | Self::ImageRemoteUnknown
            | Self::ImageCorrupt => JobErrorCode::LocalImageUnavailable,
            Self::NoKvm | Self::KvmDeniedOrBusy | Self::ClientFailure => JobErrorCode::LocalProviderUnavailable,
            Self::HostDiskFull => JobErrorCode::HostDiskFull,
            Self::DiskTooSmall
            | Self::InvalidValue
            | Self::MalformedSize
            | Self::InvalidCpu
            | Self::CloudInitFile
            | Self::RefusedArguments => JobErrorCode::LocalConfigInvalid,
            Self::SshTimeout | Self::CloudInitTimeout | Self::ClientTimeout | Self::BeingPrepared | Self::Busy => {
                JobErrorCode::LocalAcquisitionTimeout
            }
            Self::InstanceDeleted => JobErrorCode::LocalInstanceConflict,
            Self::UnknownState => JobErrorCode::LocalInstanceUnusable,
            Self::DownloadFailed
            | Self::SshFailure
            | Self::DiedDuringStart
            | Self::AlreadyExists
            | Self::InstanceMissing
            | Self::NotRunning
            | Self::Other => JobErrorCode::LocalAcquisitionFailed,
        }
    }

    /// What it says, as the end of a sentence.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::DaemonUnreachable => "its daemon is out of reach",
            Self::SocketDenied => "its socket is closed to the user that Pressluft runs as",
            Self::NotAuthenticated => "the user that Pressluft runs as is not authenticated with it",
            Self::LocalImageMissing => "the image's file does not exist",
            Self::ImageNotFound => "there is no such image",
            Self::ImageUnsupported => "the image's release is no longer supported",
            Self::ImageRemoteUnknown => "the image's source is unknown or out of reach",
            Self::ImageCorrupt => "the image arrived damaged",
            Self::DownloadFailed => "the image could not be downloaded",
            Self::NoKvm => "this host has no hardware virtualization enabled",
            Self::KvmDeniedOrBusy => "the KVM device is closed to it or in use by another virtual machine manager",
            Self::HostDiskFull => "this host has too little free disk space for the machine",
            Self::DiskTooSmall => "the disk asked for is too small for the image",
            Self::InvalidValue => "it takes the memory, the disk or the name for invalid",
            Self::MalformedSize => "the memory or the disk is no valid size (as in 2G)",
            Self::InvalidCpu => "the number of processors is not valid",
            Self::CloudInitFile => "it could not read the user data",
            Self::SshFailure => "it could not log in to the machine",
            Self::SshTimeout => "the machine did not answer SSH in time",
            Self::CloudInitTimeout => "the machine did not finish its first start in time",
            Self::ClientTimeout => "it did not end within its limit",
            Self::DiedDuringStart => "the machine stopped while it was starting",
            Self::AlreadyExists => "there is a machine of that name already",
            Self::BeingPrepared => "the machine is being prepared by another launch",
            Self::InstanceMissing => "there is no such machine",
            Self::InstanceDeleted => "the machine is deleted and not purged",
            Self::UnknownState => "it does not know the machine's state",
            Self::Busy => "the machine is busy with a change of its state",
            Self::NotRunning => "the machine does not run",
            Self::ClientFailure => "its client failed, as it does where its daemon was never started",
            Self::RefusedArguments => "it refused its arguments",
            Self::Other => "the job's log has what it printed",
        }
    }

    /// The next command or setting, where the code's own remedy has less.
    pub(crate) fn remedy(self) -> Option<&'static str> {
        match self {
            Self::DaemonUnreachable | Self::ClientFailure => Some(START_DAEMON),
            Self::SocketDenied => Some(
                "run `sudo usermod -aG \"$(stat -c %G /var/snap/multipass/common/multipass_socket)\" <that user>`, then \
                 restart Pressluft",
            ),
            Self::NotAuthenticated => Some("run `multipass authenticate` as that user"),
            Self::ImageNotFound | Self::ImageUnsupported => Some("`multipass find` lists the images there are"),
            Self::NoKvm => Some(USE_NSPAWN),
            Self::KvmDeniedOrBusy => Some(
                "see with `ls -l /dev/kvm` that root may open it, end other virtual machines (VirtualBox, VMware), then \
                 provision the node again",
            ),
            _ => None,
        }
    }
}
