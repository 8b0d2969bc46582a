//! The registry of error codes. A code enters with the work that reaches it in a test; `contracts/error-codes.json` is
//! generated from here. Each code has one sentence for the operator and one next thing to do, the same everywhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is no code of the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such error code: {0}")]
pub struct UnknownCode(pub String);

macro_rules! job_codes {
    ($($variant:ident $text:literal $retry:literal $summary:literal $remedy:literal;)*) => {
        /// How a job can fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum JobErrorCode {
            $(#[doc = $summary] $variant,)*
        }

        impl JobErrorCode {
            /// Every code, in the registry's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Whether the same job may be tried again by itself.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }

            /// What happened, as a sentence for the operator.
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }

            /// The next thing to do.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

job_codes! {
    LocalProviderUnavailable "LOCAL_PROVIDER_UNAVAILABLE" false
        "The local provider cannot run on this host." "Run `pressluft doctor`: it names what is missing and the command that installs it.";
    LocalProviderDenied "LOCAL_PROVIDER_DENIED" false
        "The local provider refused access." "Run `pressluft doctor`, grant the access that it names, then provision the node again.";
    LocalImageUnavailable "LOCAL_IMAGE_UNAVAILABLE" false
        "The base image of the local machine could not be had." "Read the job's log for the image build, check the package archive and the free disk space, then provision the node again.";
    LocalConfigInvalid "LOCAL_CONFIG_INVALID" false
        "A setting of the local provider is not valid." "Correct the setting that the message names, restart Pressluft, then provision the node again.";
    LocalInstanceConflict "LOCAL_INSTANCE_CONFLICT" false
        "A machine of this node's name exists and is not this node's." "Look at the machine that the message names and remove it if it is not needed, then provision the node again.";
    LocalInstanceUnusable "LOCAL_INSTANCE_UNUSABLE" false
        "The local machine exists but cannot be used." "Delete the node and create a new one.";
    LocalProviderNotResponding "LOCAL_PROVIDER_NOT_RESPONDING" true
        "The local provider does not answer." "It is tried again by itself; if it goes on, run `pressluft doctor`.";
    LocalAcquisitionFailed "LOCAL_ACQUISITION_FAILED" true
        "The local machine could not be made." "It is tried again by itself; if it goes on, read the job's log and run `pressluft doctor`.";
    LocalAcquisitionTimeout "LOCAL_ACQUISITION_TIMEOUT" true
        "The local machine was not up in time." "It is tried again by itself; if it goes on, look at the load of this host.";
    LocalAddressMissing "LOCAL_ADDRESS_MISSING" true
        "The local machine has no address." "It is tried again by itself; if it goes on, check the range of addresses for local nodes.";
    SshKeyGenerationFailed "SSH_KEY_GENERATION_FAILED" false
        "Pressluft's SSH key could not be made or read." "Check the owner and free space of the data directory's `keys` folder, then provision the node again.";
    SshKeyInjectionFailed "SSH_KEY_INJECTION_FAILED" true
        "Pressluft's SSH key could not be put on the machine." "It is tried again by itself; if it goes on, read the job's log.";
    SshAuthRejected "SSH_AUTH_REJECTED" false
        "The machine rejected Pressluft's SSH key." "Run on the machine, as the login user, the line that `GET /api/ssh-key` and the page show; it adds Pressluft's public key to authorized_keys. Then ask for the job again.";
    SshHostKeyMismatch "SSH_HOST_KEY_MISMATCH" false
        "The machine shows another host key than the pinned one." "Find out why it changed. Only if it is the right machine, pin its key's fingerprint (on the page, or by `POST /api/nodes/{id}/host-key`), then ask for the job again.";
    RemoteAddressRefused "REMOTE_ADDRESS_REFUSED" false
        "The remote host cannot be a node." "Give the host's own address: not one of the control plane's host, and not one of another node. Delete this node and create it anew.";
    RemoteHostUnreachable "REMOTE_HOST_UNREACHABLE" true
        "The remote host does not answer." "It is tried again by itself; if it goes on, check the address, the SSH port, and any firewall between, by `ssh -p <port> <user>@<host>` from the control plane's host.";
    HostDiskFull "HOST_DISK_FULL" false
        "This host has no disk space left." "Free some space on the disk of the data and cache directories, then ask for the job again.";
    NodeNotReady "NODE_NOT_READY" true
        "The machine did not prove ready." "Read the reasons under the node's readiness; each says what to do.";
    NodeReleaseFailed "NODE_RELEASE_FAILED" true
        "The machine could not be removed whole." "It is tried again by itself; if it goes on, the message says what is left: remove it, then delete the node again.";
    ArtifactUnavailable "ARTIFACT_UNAVAILABLE" true
        "WordPress or WP-CLI could not be fetched." "It is tried again by itself; if it goes on, check the source that PRESSLUFT_ARTIFACT_SOURCE names, by `pressluft artifacts fetch`.";
    ArtifactChecksumMismatch "ARTIFACT_CHECKSUM_MISMATCH" false
        "WordPress or WP-CLI is not what its checksum says." "Run `pressluft artifacts verify`, remove the file that it names from the cache, then ask for the job again.";
    WpCliFailed "WP_CLI_FAILED" true
        "A command of WP-CLI failed on the node." "It is tried again by itself; if it goes on, read what the command printed in the job's log.";
    CloneVerificationFailed "CLONE_VERIFICATION_FAILED" true
        "The copy still names its source, or a value in it does not parse any more." "It is tried again by itself; if it goes on, read in the job's log which table it is, and correct it in the source.";
    PreviewUnreachable "PREVIEW_UNREACHABLE" true
        "The preview did not prove itself." "It is tried again by itself; if it goes on, ask the preview's URL, and read the logs of nginx and PHP on the node.";
    BackupStorageFailed "BACKUP_STORAGE_FAILED" true
        "The backup storage did not take or give a backup." "It is tried again by itself; if it goes on, check the storage that the message names, and its settings.";
    BackupChecksumMismatch "BACKUP_CHECKSUM_MISMATCH" false
        "The stored backup is not what was stored." "Nothing was touched. Restore another backup, and look at the storage that the message names.";
    BackupArtifactInvalid "BACKUP_ARTIFACT_INVALID" false
        "The backup cannot be restored." "The environment is as it was. Restore another backup; the message says what is wrong with this one.";
    RestoreRolledBack "RESTORE_ROLLED_BACK" false
        "What was restored did not pass its checks." "The environment is as it was before. Read in the job's log which check failed, then restore another backup.";
    AnsibleHostUnreachable "ANSIBLE_HOST_UNREACHABLE" true
        "The machine stopped answering during the work." "It is tried again by itself; if it goes on, check that the machine runs and answers SSH. Where it is gone for good, delete its sites and say so: tick `Its node is gone for good` on the page, or send `abandon` to the API.";
    AnsibleHostFailed "ANSIBLE_HOST_FAILED" true
        "A task failed on the machine." "It is tried again by itself; if it goes on, read the failed task in the job's log.";
    AnsibleSyntaxError "ANSIBLE_SYNTAX_ERROR" false
        "The playbook cannot be read." "Reinstall Pressluft's `ansible` folder, or correct the playbook that the job's log names.";
    AnsiblePlayError "ANSIBLE_PLAY_ERROR" false
        "The play could not start." "Run `scripts/setup` again and read the job's log.";
    AnsibleUnexpectedError "ANSIBLE_UNEXPECTED_ERROR" false
        "Ansible ended in an error of its own." "Read the job's log, then run `scripts/setup` again.";
    AnsibleUnknownExit "ANSIBLE_UNKNOWN_EXIT" false
        "Ansible ended in a way that Pressluft does not know." "Read the job's log, then ask for the job again.";
    AnsibleTimeout "ANSIBLE_TIMEOUT" false
        "Ansible took longer than its limit." "Look at the load of the machine and at the last task in the job's log, then ask for the job again.";
    JobTimeout "JOB_TIMEOUT" false
        "The job took longer than its limit." "Look at the step that it stopped in, then ask for it again.";
    WorkerLost "WORKER_LOST" false
        "The worker died several times in the same step." "Read the server's log around the times of the step's starts, then ask for the job again.";
    Internal "INTERNAL" false
        "Pressluft met an error of its own." "Read the server's log for this job's id, then ask for the job again.";
}

macro_rules! api_codes {
    ($($variant:ident $text:literal $status:literal $summary:literal $remedy:literal;)*) => {
        /// How a request can be refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum ApiErrorCode {
            $(#[doc = $summary] $variant,)*
        }

        impl ApiErrorCode {
            /// Every code, in the registry's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The HTTP status that it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means, as a sentence.
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }

            /// The next thing to do.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

api_codes! {
    BadRequest "bad_request" 400
        "The request is not valid." "Correct what the message names, then ask again.";
    Unauthorized "unauthorized" 401
        "There is no valid session." "Log in by `POST /api/login`, then ask again with its cookie.";
    Forbidden "forbidden" 403
        "The request came from another origin or for another host." "Ask under the address that Pressluft listens on, or set PRESSLUFT_PUBLIC_URL to the one in use.";
    NotFound "not_found" 404
        "There is no such thing." "Check the path and the id.";
    MethodNotAllowed "method_not_allowed" 405
        "The path exists, the method does not." "Use a method that the answer's `Allow` header names.";
    Conflict "conflict" 409
        "The request does not fit the present state." "Look at what the message names, wait for its job or cancel it, then ask again.";
    NodeNotReady "node_not_ready" 409
        "The node is not ready for sites." "Read the reasons under `details`; each says what to do. Then ask again, or name another node.";
    NodeInUse "node_in_use" 409
        "Environments live on the node." "Delete them or their sites first, then ask again.";
    NoNodeAvailable "no_node_available" 409
        "There is no ready node." "Create a node, wait until it is active, then ask again.";
    EnvironmentNotActive "environment_not_active" 409
        "The environment is not active." "Wait for its job. If it is failed, reset, restore or delete it.";
    ResourceNotFailed "resource_not_failed" 409
        "Only what is failed can be reset." "Look at its status; nothing needs to be done.";
    ResetValidationFailed "reset_validation_failed" 409
        "The environment did not prove that it works." "Mend what the message names, restore a backup, or delete it.";
    JobNotCancellable "job_not_cancellable" 409
        "The job has ended already." "Look at the job: its status says how it ended.";
    NodeUnreachable "node_unreachable" 502
        "The node's machine does not answer." "Check that the machine runs and answers SSH from the control plane's host, then ask again.";
    WpCliError "wp_cli_error" 502
        "WordPress did not answer on the node." "Read what the message says; look at the environment's preview and at its node's readiness.";
    PayloadTooLarge "payload_too_large" 413
        "The body is larger than 64 KiB." "Send a smaller body.";
    UnsupportedMediaType "unsupported_media_type" 415
        "The body must be application/json." "Send JSON, with `Content-Type: application/json`.";
    TooManyRequests "too_many_requests" 429
        "There were too many failed logins, or there are too many open event streams." "After failed logins wait for as many seconds as the answer's `Retry-After` header says; of streams, close one.";
    Internal "internal" 500
        "Pressluft met an error of its own." "Read the server's log around the time of the request, then ask again.";
}

macro_rules! code_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;

            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                let found = Self::ALL.iter().find(|code| code.as_str() == text);
                found.copied().ok_or_else(|| UnknownCode(text.to_owned()))
            }
        }

        impl From<$name> for &'static str {
            fn from(code: $name) -> Self {
                code.as_str()
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownCode;

            fn try_from(text: String) -> Result<Self, UnknownCode> {
                text.parse()
            }
        }
    };
}

code_text!(JobErrorCode);
code_text!(ApiErrorCode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_text_and_says_what_to_do() {
        for code in JobErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!(code.summary().ends_with('.') && code.remedy().ends_with('.'), "{code}");
        }
        for code in ApiErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!((400..=599).contains(&code.status()), "{code}");
            assert!(code.summary().ends_with('.') && code.remedy().ends_with('.'), "{code}");
        }
        assert!("nope".parse::<JobErrorCode>().is_err());
    }
}
