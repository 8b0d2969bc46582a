//! A node as the API shows it.

use std::net::IpAddr;

use domain_kernel::{NodeId, ShortId, Timestamp};
use nodes_domain::{
    AcquisitionSource, CheckEvidence, Fingerprint, Guidance, Node, NodeStatus, ProviderId, Readiness, ReasonCode,
};
use operations::present_readiness;
use serde::Serialize;
use utoipa::ToSchema;

use crate::schema::{AcquisitionSourceText, NodeStatusText, ReasonCodeText};

/// A node: a machine that sites live on.
#[derive(Serialize, ToSchema)]
#[schema(as = Node, example = json!({
    "id": "01970000-0000-7000-8000-0123456789ab",
    "short_id": "0123456789ab",
    "name": "node-0123456789ab",
    "acquisition_source": "local",
    "provider": "nspawn",
    "hostname": "10.213.0.2",
    "public_ip": "10.213.0.2",
    "ssh_port": 22,
    "ssh_user": "pressluft",
    "host_key_fingerprint": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "status": "active",
    "is_local": true,
    "readiness": {
        "is_ready": true,
        "reason_codes": [],
        "guidance": [],
        "evidence": [{
            "check": "sudo",
            "command": "sudo -n true",
            "exit_status": 0,
            "output": "",
            "checked_at": "2030-01-31T12:00:00Z"
        }],
        "checked_at": "2030-01-31T12:00:00Z"
    },
    "last_seen_at": "2030-01-31T12:00:00Z",
    "created_at": "2030-01-31T11:59:00Z",
    "updated_at": "2030-01-31T12:00:00Z",
    "state_version": 5
}))]
pub(crate) struct NodeBody {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: NodeId,
    /// The last 12 hexadecimal digits of its id; its machine is called `pressluft-<short id>`.
    #[schema(value_type = String)]
    short_id: ShortId,
    /// Its name for people.
    name: String,
    #[schema(value_type = AcquisitionSourceText)]
    acquisition_source: AcquisitionSource,
    /// The provider that it was made by.
    #[schema(value_type = String)]
    provider: ProviderId,
    /// The name or address for SSH; of a local node null until it is acquired.
    #[schema(required = true)]
    hostname: Option<String>,
    /// The address that sites are served from.
    #[schema(required = true, value_type = Option<String>)]
    public_ip: Option<IpAddr>,
    /// The SSH port; of a local node null until it is acquired.
    #[schema(required = true, value_type = Option<i32>, minimum = 1, maximum = 65535)]
    ssh_port: Option<u16>,
    /// The login user; of a local node null until it is acquired.
    #[schema(required = true)]
    ssh_user: Option<String>,
    /// The fingerprint of the pinned host key, as `ssh-keygen -l` prints it; null until it is acquired.
    #[schema(required = true, value_type = Option<String>)]
    host_key_fingerprint: Option<Fingerprint>,
    #[schema(value_type = NodeStatusText)]
    status: NodeStatus,
    /// Whether its machine lives on the control plane's host.
    is_local: bool,
    readiness: ReadinessBody,
    /// When it last answered.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    last_seen_at: Option<Timestamp>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Rises with every change.
    state_version: i64,
}

impl NodeBody {
    /// A node as shown at `now`.
    pub(crate) fn new(node: Node, now: Timestamp) -> Self {
        let readiness = present_readiness(&node, now).into();
        let host_key_fingerprint = node.target.as_ref().and_then(|target| target.host_key.fingerprint());
        let (hostname, public_ip, ssh_port, ssh_user) = match (node.target, node.remote) {
            (Some(target), _) => (
                Some(target.hostname),
                target.public_ip,
                Some(target.ssh_port),
                Some(target.ssh_user),
            ),
            (None, Some(host)) => (
                Some(host.hostname.into()),
                host.public_ip,
                Some(host.ssh_port),
                Some(host.ssh_user.into()),
            ),
            (None, None) => (None, None, None, None),
        };
        Self {
            id: node.id,
            short_id: node.short_id,
            name: node.name.into(),
            acquisition_source: node.source,
            provider: node.provider,
            hostname,
            public_ip,
            ssh_port,
            ssh_user,
            host_key_fingerprint,
            status: node.status,
            is_local: node.source == AcquisitionSource::Local,
            readiness,
            last_seen_at: node.last_seen_at,
            created_at: node.created_at,
            updated_at: node.updated_at,
            state_version: node.state_version,
        }
    }
}

/// Whether a node is ready, and why not.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness, example = json!({
    "is_ready": false,
    "reason_codes": ["sudo_unavailable"],
    "guidance": [{
        "reason_code": "sudo_unavailable",
        "message": "The login user cannot use sudo without a password. Restore its rule under /etc/sudoers.d on the machine."
    }],
    "evidence": [{
        "check": "sudo",
        "command": "sudo -n true",
        "exit_status": 1,
        "output": "sudo: a password is required",
        "checked_at": "2030-01-31T12:00:00Z"
    }],
    "checked_at": "2030-01-31T12:00:00Z"
}))]
pub(crate) struct ReadinessBody {
    /// Whether there is no reason against it.
    is_ready: bool,
    /// The reasons against it.
    #[schema(value_type = Vec<ReasonCodeText>)]
    reason_codes: Vec<ReasonCode>,
    /// What to do about each.
    guidance: Vec<GuidanceBody>,
    /// What each check saw.
    evidence: Vec<EvidenceBody>,
    /// When it was looked at.
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
}

/// A reason with the next thing to do.
#[derive(Serialize, ToSchema)]
#[schema(as = Guidance)]
struct GuidanceBody {
    #[schema(value_type = ReasonCodeText)]
    reason_code: ReasonCode,
    /// What it means here and the next thing to do.
    message: String,
}

/// What a check saw.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckEvidence)]
struct EvidenceBody {
    /// Its name.
    check: String,
    /// What was run on the machine.
    command: String,
    /// Its exit status; null where it could not be run.
    #[schema(required = true)]
    exit_status: Option<i32>,
    /// The first line of what it said.
    output: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
}

impl From<Readiness> for ReadinessBody {
    fn from(readiness: Readiness) -> Self {
        Self {
            is_ready: readiness.is_ready,
            reason_codes: readiness.reason_codes,
            guidance: readiness.guidance.into_iter().map(GuidanceBody::from).collect(),
            evidence: readiness.evidence.into_iter().map(EvidenceBody::from).collect(),
            checked_at: readiness.checked_at,
        }
    }
}

impl From<Guidance> for GuidanceBody {
    fn from(guidance: Guidance) -> Self {
        Self {
            reason_code: guidance.reason_code,
            message: guidance.message,
        }
    }
}

impl From<CheckEvidence> for EvidenceBody {
    fn from(evidence: CheckEvidence) -> Self {
        Self {
            check: evidence.check,
            command: evidence.command,
            exit_status: evidence.exit_status,
            output: evidence.output,
            checked_at: evidence.checked_at,
        }
    }
}
