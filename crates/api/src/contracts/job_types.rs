//! The registry of job types as it is published: what each kind of job does, step by step, within which limits, and which
//! codes it can end in. Tests hold it against the workflows themselves.

use std::time::Duration;

use domain_kernel::{EnvironmentId, JobErrorCode as Code, NodeId, SiteId};
use jobs::{JobKind, NewJob, RetryPolicy};
use serde_json::{Value, json};

/// A kind of job.
pub(super) struct JobType {
    pub(super) kind: JobKind,
    /// The requests that enqueue it.
    pub(super) requests: &'static [&'static str],
    /// What a success and what a failure or a cancel means for the node or the site.
    pub(super) success: &'static str,
    pub(super) failure: &'static str,
    /// How long one attempt may take.
    pub(super) time_limit: Duration,
    /// In order.
    pub(super) steps: &'static [StepType],
}

/// A step of a kind of job.
pub(super) struct StepType {
    pub(super) name: &'static str,
    pub(super) does: &'static str,
    /// A limit of its own.
    pub(super) limit: Option<&'static str>,
    /// What it can fail with, beside [`ANY_STEP`].
    pub(super) codes: &'static [Code],
}

const HALF_HOUR: Duration = Duration::from_secs(30 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What every step of every job can fail with.
pub(super) const ANY_STEP: &[Code] = &[Code::JobTimeout, Code::WorkerLost, Code::Internal];

/// What a step can fail with that runs a playbook for a site.
const SITE_PLAYBOOK: [Code; 9] = [
    Code::LocalAddressMissing,
    Code::HostDiskFull,
    Code::AnsibleHostUnreachable,
    Code::AnsibleHostFailed,
    Code::AnsibleSyntaxError,
    Code::AnsiblePlayError,
    Code::AnsibleUnexpectedError,
    Code::AnsibleUnknownExit,
    Code::AnsibleTimeout,
];
/// What else a step can fail with that runs commands on the node or moves bytes to or from it.
const OVER_SSH: [Code; 2] = [Code::SshAuthRejected, Code::SshHostKeyMismatch];

/// What else a step can fail with that asks the cache for WordPress and WP-CLI.
const FROM_CACHE: [Code; 2] = [Code::ArtifactUnavailable, Code::ArtifactChecksumMismatch];

const CREATE: [Code; 13] = with(
    with::<9, 2, 11>(SITE_PLAYBOOK, FROM_CACHE),
    [Code::WpCliFailed, Code::PreviewUnreachable],
);
const READDRESS: [Code; 16] = with(with::<13, 2, 15>(CREATE, OVER_SSH), [Code::NodeNotReady]);
const COPY: [Code; 14] = with(CREATE, [Code::CloneVerificationFailed]);
const STAGE: [Code; 10] = with(SITE_PLAYBOOK, [Code::NodeNotReady]);
const STORE: [Code; 12] = with(with::<9, 2, 11>(SITE_PLAYBOOK, OVER_SSH), [Code::BackupStorageFailed]);
const CHECKPOINT: [Code; 13] = with(STORE, [Code::NodeNotReady]);
const RESTORE: [Code; 13] = with(
    with::<9, 2, 11>(SITE_PLAYBOOK, FROM_CACHE),
    [Code::BackupArtifactInvalid, Code::RestoreRolledBack],
);
const KEEP: [Code; 14] = with(
    with::<11, 2, 13>(with::<9, 2, 11>(SITE_PLAYBOOK, FROM_CACHE), OVER_SSH),
    [Code::BackupArtifactInvalid],
);

/// One list after the other.
const fn with<const A: usize, const B: usize, const N: usize>(first: [Code; A], second: [Code; B]) -> [Code; N] {
    let mut all = [Code::Internal; N];
    let mut at = 0;
    while at < A {
        all[at] = first[at];
        at += 1;
    }
    while at < N {
        all[at] = second[at - A];
        at += 1;
    }
    all
}

const ARTIFACTS: StepType = StepType {
    name: "artifacts",
    does: "Fetches WordPress and WP-CLI into the control plane's cache where they are missing, and sends the node what it lacks of them.",
    limit: None,
    codes: &[
        Code::ArtifactUnavailable,
        Code::ArtifactChecksumMismatch,
        Code::HostDiskFull,
        Code::NodeNotReady,
        Code::AnsibleHostUnreachable,
        Code::AnsibleHostFailed,
        Code::LocalAddressMissing,
        Code::SshAuthRejected,
        Code::SshHostKeyMismatch,
    ],
};

const PROVE_PREVIEW: StepType = StepType {
    name: "prove_preview",
    does: "Asks the preview URL at the node's own address for a proof that only this environment's own WordPress and database can give.",
    limit: Some("20 s"),
    codes: &[Code::PreviewUnreachable, Code::LocalAddressMissing],
};

const DELETE_BACKUPS: StepType = StepType {
    name: "delete_backups",
    does: "Removes what is stored of its backups.",
    limit: None,
    codes: &[Code::BackupStorageFailed, Code::HostDiskFull],
};

/// Every kind of job, in the registry's order.
pub(super) const JOB_TYPES: &[JobType] = &[
    JobType {
        kind: JobKind::NodeProvision,
        requests: &[
            "POST /api/nodes",
            "POST /api/nodes/{id}/provision",
            "POST /api/jobs/{id}/retry",
        ],
        success: "The node is `active`.",
        failure: "The node is `failed`; it can be provisioned again or deleted.",
        time_limit: HOUR,
        steps: &[
            StepType {
                name: "acquire",
                does: "Asks the node's provider whether it can work, has it make or adopt the node's machine (or reach the operator's host), and pins its host key.",
                limit: None,
                codes: &[
                    Code::LocalProviderUnavailable,
                    Code::LocalProviderDenied,
                    Code::LocalImageUnavailable,
                    Code::LocalConfigInvalid,
                    Code::LocalInstanceConflict,
                    Code::LocalInstanceUnusable,
                    Code::LocalProviderNotResponding,
                    Code::LocalAcquisitionFailed,
                    Code::LocalAcquisitionTimeout,
                    Code::LocalAddressMissing,
                    Code::SshKeyGenerationFailed,
                    Code::SshHostKeyMismatch,
                    Code::RemoteAddressRefused,
                    Code::RemoteHostUnreachable,
                    Code::HostDiskFull,
                    Code::AnsiblePlayError,
                ],
            },
            StepType {
                name: "inject_key",
                does: "Puts Pressluft's public key on the machine over the provider's own channel; a key that is there stays as it is. Of a remote machine it waits, parked, until the operator has put it there, and sees that the user may use sudo.",
                limit: Some("of a remote machine `PRESSLUFT_REMOTE_KEY_WAIT` (10 min)"),
                codes: &[
                    Code::LocalProviderUnavailable,
                    Code::LocalConfigInvalid,
                    Code::LocalProviderNotResponding,
                    Code::SshKeyGenerationFailed,
                    Code::SshKeyInjectionFailed,
                    Code::SshAuthRejected,
                    Code::SshHostKeyMismatch,
                    Code::RemoteAddressRefused,
                    Code::RemoteHostUnreachable,
                    Code::NodeNotReady,
                    Code::HostDiskFull,
                ],
            },
            StepType {
                name: "wait_for_ssh",
                does: "Waits until the machine takes a login with the key.",
                limit: Some("120 s; a rejected key or another host key ends the wait at once"),
                codes: &[
                    Code::LocalAddressMissing,
                    Code::LocalAcquisitionTimeout,
                    Code::RemoteHostUnreachable,
                    Code::SshAuthRejected,
                    Code::SshHostKeyMismatch,
                ],
            },
            StepType {
                name: "provision",
                does: "Runs the playbook `node-provision.yml` over SSH; every task is an event.",
                limit: Some("25 min"),
                codes: &[
                    Code::LocalAddressMissing,
                    Code::LocalConfigInvalid,
                    Code::HostDiskFull,
                    Code::AnsibleHostUnreachable,
                    Code::AnsibleHostFailed,
                    Code::AnsibleSyntaxError,
                    Code::AnsiblePlayError,
                    Code::AnsibleUnexpectedError,
                    Code::AnsibleUnknownExit,
                    Code::AnsibleTimeout,
                ],
            },
            StepType {
                name: "keep_image",
                does: "Lets the provider keep an image of a new machine for the next node; does nothing for a machine that a proof has logged in to before, which may hold sites.",
                limit: None,
                codes: &[
                    Code::LocalProviderUnavailable,
                    Code::LocalConfigInvalid,
                    Code::LocalInstanceConflict,
                    Code::LocalInstanceUnusable,
                    Code::LocalAcquisitionFailed,
                    Code::LocalAcquisitionTimeout,
                    Code::HostDiskFull,
                    Code::AnsiblePlayError,
                ],
            },
            StepType {
                name: "readiness",
                does: "Proves over SSH that the node is ready: a login, sudo, and an answer from each part of the runtime.",
                limit: Some("60 s for services that are still starting"),
                codes: &[Code::LocalAddressMissing, Code::NodeNotReady],
            },
        ],
    },
    JobType {
        kind: JobKind::NodeDecommission,
        requests: &["DELETE /api/nodes/{id}", "POST /api/jobs/{id}/retry"],
        success: "The node is `decommissioned`, kept for the record.",
        failure: "The node is `failed`; it can be deleted again.",
        time_limit: HALF_HOUR,
        steps: &[
            StepType {
                name: "disconnect",
                does: "Closes the connections to the machine and removes the files that describe them.",
                limit: None,
                codes: &[Code::HostDiskFull],
            },
            StepType {
                name: "release",
                does: "Has the node's provider give the machine back; a machine that is gone is no failure. Of a remote machine only the key line is removed; the step's detail says what stays.",
                limit: None,
                codes: &[
                    Code::LocalProviderUnavailable,
                    Code::NodeReleaseFailed,
                    Code::HostDiskFull,
                ],
            },
        ],
    },
    JobType {
        kind: JobKind::SiteCreate,
        requests: &["POST /api/sites", "POST /api/jobs/{id}/retry"],
        success: "The site and its production environment are `active`.",
        failure: "The site and its production environment are `failed`; they can be reset, created again by a retry, or deleted.",
        time_limit: HALF_HOUR,
        steps: &[
            ARTIFACTS,
            StepType {
                name: "create",
                does: "Runs the playbook `site-create.yml`: system user, files, database, PHP pool, nginx server and Redis user of the environment, and a new WordPress.",
                limit: None,
                codes: &CREATE,
            },
            PROVE_PREVIEW,
        ],
    },
    JobType {
        kind: JobKind::SiteDelete,
        requests: &["DELETE /api/sites/{id}", "POST /api/jobs/{id}/retry"],
        success: "The site is gone, with its environments and their backups.",
        failure: "The site is `failed`; it can be deleted again.",
        time_limit: HALF_HOUR,
        steps: &[
            StepType {
                name: "delete",
                does: "Runs the playbook `env-delete.yml` for each copy, then `site-delete.yml` for the production environment, and removes what is staged of their backups.",
                limit: None,
                codes: &SITE_PLAYBOOK,
            },
            DELETE_BACKUPS,
        ],
    },
    JobType {
        kind: JobKind::EnvCreate,
        requests: &["POST /api/sites/{id}/environments", "POST /api/jobs/{id}/retry"],
        success: "The environment and its site are `active`.",
        failure: "The environment is `failed`, its site `active`; the source is as it was.",
        time_limit: HALF_HOUR,
        steps: &[
            ARTIFACTS,
            StepType {
                name: "create",
                does: "Runs the playbook `env-create.yml`: copies files and database of the source into an environment of its own, rewrites the addresses in it, and verifies that none is left and that every serialized value still parses.",
                limit: None,
                codes: &COPY,
            },
            PROVE_PREVIEW,
        ],
    },
    JobType {
        kind: JobKind::EnvDelete,
        requests: &["DELETE /api/environments/{id}", "POST /api/jobs/{id}/retry"],
        success: "The environment is gone, with its backups.",
        failure: "The environment is `failed`; it can be deleted again.",
        time_limit: HALF_HOUR,
        steps: &[
            StepType {
                name: "delete",
                does: "Runs the playbook `env-delete.yml`.",
                limit: None,
                codes: &SITE_PLAYBOOK,
            },
            DELETE_BACKUPS,
        ],
    },
    JobType {
        kind: JobKind::EnvRestore,
        requests: &["POST /api/environments/{id}/restore", "POST /api/jobs/{id}/retry"],
        success: "The environment and its site are `active`, with what the backup holds.",
        failure: "The environment is as it was before and in the status that it had, or `failed` where that is not known; the checkpoint is among its backups.",
        time_limit: HALF_HOUR,
        steps: &[
            StepType {
                name: "check_backup",
                does: "Sees that the backup is of this environment, reads it through, and compares size and checksum. Nothing is touched before.",
                limit: None,
                codes: &[
                    Code::BackupStorageFailed,
                    Code::BackupChecksumMismatch,
                    Code::BackupArtifactInvalid,
                ],
            },
            StepType {
                name: "checkpoint",
                does: "Takes a full backup of the environment as it is, as far as it is there, and stores it.",
                limit: None,
                codes: &CHECKPOINT,
            },
            StepType {
                name: "stage",
                does: "Sends the backup and WP-CLI to the node.",
                limit: None,
                codes: &[
                    Code::ArtifactUnavailable,
                    Code::ArtifactChecksumMismatch,
                    Code::BackupStorageFailed,
                    Code::BackupArtifactInvalid,
                    Code::AnsibleHostUnreachable,
                    Code::AnsibleHostFailed,
                    Code::HostDiskFull,
                    Code::LocalAddressMissing,
                    Code::SshAuthRejected,
                    Code::SshHostKeyMismatch,
                ],
            },
            StepType {
                name: "restore",
                does: "Runs the playbook `env-restore.yml`: restores into a new generation with a database of its own, checks it there, and switches to it.",
                limit: None,
                codes: &RESTORE,
            },
            StepType {
                name: "prove_preview",
                does: "Asks the preview URL for its proof; where it does not come, switches back.",
                limit: Some("20 s for the proof"),
                codes: &RESTORE,
            },
            StepType {
                name: "keep",
                does: "Removes what was live before, and what was sent to the node.",
                limit: None,
                codes: &KEEP,
            },
        ],
    },
    JobType {
        kind: JobKind::BackupCreate,
        requests: &["POST /api/environments/{id}/backups", "POST /api/jobs/{id}/retry"],
        success: "The backup is `completed`.",
        failure: "The backup is `failed`; the environment is as it was.",
        time_limit: HALF_HOUR,
        steps: &[
            StepType {
                name: "stage",
                does: "Runs the playbook `backup-create.yml`: the database first, then the files, into one archive on the node.",
                limit: None,
                codes: &STAGE,
            },
            StepType {
                name: "store",
                does: "Streams the archive over SSH into the storage, compares size and checksum, reads it back and compares again.",
                limit: None,
                codes: &STORE,
            },
            StepType {
                name: "unstage",
                does: "Removes the archive from the node.",
                limit: None,
                codes: &[
                    Code::AnsibleHostUnreachable,
                    Code::AnsibleHostFailed,
                    Code::LocalAddressMissing,
                    Code::SshAuthRejected,
                    Code::SshHostKeyMismatch,
                ],
            },
        ],
    },
    JobType {
        kind: JobKind::EnvReaddress,
        requests: &["POST /api/jobs/{id}/retry"],
        success: "The environment answers at the preview URL that its node's address, or `PRESSLUFT_PREVIEW_DOMAIN`, now says.",
        failure: "The environment is `failed`; a retry moves it again.",
        time_limit: HALF_HOUR,
        steps: &[
            StepType {
                name: "rewrite",
                does: "Sends WP-CLI, then runs the playbook `env-create.yml`, which rewrites the address in the database and in what nginx and WordPress are told.",
                limit: None,
                codes: &READDRESS,
            },
            PROVE_PREVIEW,
        ],
    },
    JobType {
        kind: JobKind::SiteAbandon,
        requests: &["DELETE /api/sites/{id}", "POST /api/jobs/{id}/retry"],
        success: "The site is gone, with its environments and their backups; what is on the node is left to itself.",
        failure: "The site is `failed`; it can be given up again.",
        time_limit: HALF_HOUR,
        steps: &[DELETE_BACKUPS],
    },
    JobType {
        kind: JobKind::EnvAbandon,
        requests: &["DELETE /api/environments/{id}", "POST /api/jobs/{id}/retry"],
        success: "The environment is gone, with its backups; what is on the node is left to itself.",
        failure: "The environment is `failed`; it can be given up again.",
        time_limit: HALF_HOUR,
        steps: &[DELETE_BACKUPS],
    },
];

impl JobType {
    /// Every code that it can end in, in the registry's order.
    pub(super) fn codes(&self) -> Vec<Code> {
        let of_steps = |code: &Code| self.steps.iter().any(|step| step.codes.contains(code));
        let all = Code::ALL.iter().copied();
        all.filter(|code| ANY_STEP.contains(code) || of_steps(code)).collect()
    }

    /// The keys that it holds while it runs, `{node_id}` and `{site_id}` standing for the ids.
    pub(super) fn exclusion_keys(&self) -> Vec<String> {
        let (node, site) = (NodeId::generate(), SiteId::generate());
        let job = match self.kind {
            JobKind::NodeProvision | JobKind::NodeDecommission => NewJob::on_node(self.kind, node, 1),
            JobKind::SiteCreate
            | JobKind::SiteDelete
            | JobKind::EnvCreate
            | JobKind::EnvDelete
            | JobKind::EnvRestore
            | JobKind::EnvReaddress
            | JobKind::SiteAbandon
            | JobKind::EnvAbandon
            | JobKind::BackupCreate => NewJob::on_environment(self.kind, node, site, EnvironmentId::generate(), 1),
        };
        let named = |key: &str| {
            key.replace(&node.to_string(), "{node_id}")
                .replace(&site.to_string(), "{site_id}")
        };
        job.exclusion_keys.iter().map(|key| named(key.as_str())).collect()
    }
}

/// The waits between attempts under the default settings, in seconds.
pub(super) fn retry_delays_s() -> Vec<u64> {
    let policy = RetryPolicy::default();
    (1..policy.max_attempts())
        .map(|attempt| policy.delay_after(attempt).as_secs())
        .collect()
}

/// `contracts/job-types.json`.
pub(super) fn json() -> Value {
    let step = |step: &StepType| {
        json!({
            "name": step.name,
            "summary": step.does,
            "limit": step.limit,
            "codes": step.codes,
        })
    };
    let kinds = JOB_TYPES.iter().map(|kind| {
        json!({
            "job_type": kind.kind,
            "summary": kind.kind.summary(),
            "requests": kind.requests,
            "time_limit_s": kind.time_limit.as_secs(),
            "exclusion_keys": kind.exclusion_keys(),
            "steps": kind.steps.iter().map(step).collect::<Value>(),
            "codes": kind.codes(),
        })
    });
    json!({
        "job_types": kinds.collect::<Value>(),
        "retry": {
            "max_attempts": RetryPolicy::default().max_attempts(),
            "delays_s": retry_delays_s(),
        },
    })
}
