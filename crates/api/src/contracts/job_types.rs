//! The registry of job types as it is published: what each kind of job does, step by step, within which limits, and which
//! codes it can end in. Tests hold it against the workflows themselves.

use std::time::Duration;

use domain_kernel::{JobErrorCode as Code, NodeId};
use jobs::{JobKind, NewJob, RetryPolicy};
use serde_json::{Value, json};

/// A kind of job.
pub(super) struct JobType {
    pub(super) kind: JobKind,
    /// The requests that enqueue it.
    pub(super) requests: &'static [&'static str],
    /// What a success and what a failure or a cancel means for the node.
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
];

impl JobType {
    /// Every code that it can end in, in the registry's order.
    pub(super) fn codes(&self) -> Vec<Code> {
        let of_steps = |code: &Code| self.steps.iter().any(|step| step.codes.contains(code));
        let all = Code::ALL.iter().copied();
        all.filter(|code| ANY_STEP.contains(code) || of_steps(code)).collect()
    }

    /// The keys that it holds while it runs, `{node_id}` standing for the node's id.
    pub(super) fn exclusion_keys(&self) -> Vec<String> {
        let id = NodeId::generate();
        let job = NewJob::on_node(self.kind, id, 1);
        let keys = job.exclusion_keys.iter();
        keys.map(|key| key.as_str().replace(&id.to_string(), "{node_id}"))
            .collect()
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
