//! What a provider of nodes must do. `contracts/node-provider.md` numbers the rules; every implementation passes the
//! same tests of them.

use std::net::IpAddr;

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, NodeId, ShortId};
use jobs::{StepContext, StepError};

use crate::{AcquisitionSource, HostKey, ProviderId, RemoteMachine, RuntimeImage};

/// Which machine is meant. A local one follows from the node's id, so a repeated call meets its own machine; a remote one
/// is where the operator said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The node.
    pub node_id: NodeId,
    /// The host of the operator's, for remote nodes only.
    pub remote: Option<RemoteMachine>,
    /// Whether the node ever had this machine. One that it had and that cannot be looked for is not known to be gone.
    pub acquired: bool,
}

impl Instance {
    /// The machine that a local provider makes for a node.
    pub fn of(node_id: NodeId) -> Self {
        Self {
            node_id,
            remote: None,
            acquired: false,
        }
    }

    /// The node's short id.
    pub fn short_id(&self) -> ShortId {
        self.node_id.short()
    }

    /// The machine's name, `pressluft-<short id>`: 22 characters of `[a-z0-9-]`.
    pub fn name(&self) -> String {
        format!("pressluft-{}", self.short_id())
    }
}

/// What is asked of [`NodeProvider::acquire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquireRequest {
    /// Which machine.
    pub instance: Instance,
    /// Pressluft's public key as one OpenSSH line, for providers that put it in while they make the machine.
    pub public_key: String,
    /// What the machine will be provisioned to. A provider that keeps images may start a new machine from the one of this
    /// key; the machine is provisioned and proved all the same.
    pub runtime: Option<RuntimeImage>,
}

/// What [`NodeProvider::keep_image`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptImage {
    /// This provider keeps no images.
    NotOffered,
    /// There was one of this key already.
    Existing,
    /// One was made; the machine was stopped for it and runs again.
    Made,
    /// None could be made, and an event says why. The machine may have been stopped for it, and runs.
    Failed,
}

/// A machine that was acquired: it runs, and its addresses and host key were learned over the provider's own channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// The name or address for SSH.
    pub hostname: String,
    /// The address that sites are served from.
    pub public_ip: Option<IpAddr>,
    /// The SSH port.
    pub ssh_port: u16,
    /// The login user; may use sudo without a password.
    pub ssh_user: String,
    /// The host key to pin.
    pub host_key: HostKey,
}

/// Why a provider cannot work on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// `LOCAL_PROVIDER_UNAVAILABLE`, `LOCAL_PROVIDER_DENIED` or `LOCAL_CONFIG_INVALID`; or, where it may come back by itself
    /// and `acquire` waits for that, the retryable `LOCAL_PROVIDER_NOT_RESPONDING`.
    pub code: JobErrorCode,
    /// What is missing.
    pub reason: String,
    /// The exact next command or setting.
    pub remedy: String,
}

/// Whether a provider can work on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// It can.
    Available,
    /// It cannot.
    Unavailable(Unavailable),
}

/// What a provider sees of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// There is none.
    Absent,
    /// It exists and does not run.
    Stopped,
    /// It runs, at these addresses, the preferred one first.
    Running(Vec<IpAddr>),
    /// The provider cannot tell, and why.
    Unknown(String),
}

/// What a release did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseReport {
    /// What stays behind on purpose, for the operator.
    pub left_in_place: Vec<String>,
}

/// Makes machines, finds them again, and gives them back. Every method can be repeated after the process died at any
/// point of it; none takes longer than its context allows.
#[async_trait]
pub trait NodeProvider: Send + Sync {
    /// Its id, as stored with the nodes that it made.
    fn id(&self) -> ProviderId;

    /// The source that it serves.
    fn source(&self) -> AcquisitionSource;

    /// Whether it can work on this host. Changes nothing.
    async fn capability(&self, context: &StepContext) -> Result<Capability, StepError>;

    /// Makes the machine or adopts the one of that name, starts it, and learns its addresses and host key.
    async fn acquire(&self, request: &AcquireRequest, context: &StepContext) -> Result<Acquired, StepError>;

    /// Puts a public key (one OpenSSH line) into the login user's authorized_keys over the provider's own channel:
    /// appended only where the exact line is missing, otherwise the file stays byte-identical. A provider that has no
    /// channel but SSH itself waits for the operator to do so: it parks with the line to run as its detail, and ends in
    /// `SSH_AUTH_REJECTED` when its patience, counted from [`StepContext::begun_at`], is over.
    async fn inject_key(&self, instance: &Instance, public_key: &str, context: &StepContext) -> Result<(), StepError>;

    /// Keeps an image of a machine that was just provisioned and holds nobody's data, so that the next one of the same key
    /// starts from it. In the image is nothing that belongs to this one machine: no authorized keys, host keys,
    /// machine-id, logs, or [`RuntimeImage::secrets`]. The machine may be stopped meanwhile and runs at the end, at the
    /// same addresses; an image that was not finished is never used. Trouble with the image alone (a full disk, say)
    /// is told as an event and is no failure.
    async fn keep_image(
        &self,
        _instance: &Instance,
        _runtime: &RuntimeImage,
        _context: &StepContext,
    ) -> Result<KeptImage, StepError> {
        Ok(KeptImage::NotOffered)
    }

    /// Looks at the machine. Changes nothing.
    async fn observe(&self, instance: &Instance, context: &StepContext) -> Result<Observation, StepError>;

    /// Gives the machine back, leaving nothing of it on this host. An absent machine is a success.
    async fn release(&self, instance: &Instance, context: &StepContext) -> Result<ReleaseReport, StepError>;
}
