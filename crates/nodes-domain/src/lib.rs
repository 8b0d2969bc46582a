//! Nodes: what they are, what a provider of them must do, and when one is ready.
//!
//! Here live plain types and the traits that adapters implement: [`NodeProvider`], [`SshAccess`], [`ReadinessProbe`],
//! [`NodeProvisioner`], [`ManagedKeys`], [`HostKeyScan`], [`OwnHost`], [`NodeStore`],
//! [`SshTransfer`]. No runtime, no SQL, no process is started here.

mod node;
mod provider;
mod provisioner;
mod readiness;
mod remote;
mod ssh;
mod store;
mod target;
mod transfer;

pub use node::{AcquisitionSource, NameError, Node, NodeName, NodeStatus, ProviderId};
pub use provider::{
    AcquireRequest, Acquired, Capability, Instance, KeptImage, NodeProvider, Observation, ReleaseReport, Unavailable,
};
pub use provisioner::{NodeProvisioner, ProvisionSummary, RuntimeImage};
pub use readiness::{
    CheckEvidence, Guidance, ProbeFacts, ProbeResult, Readiness, ReadinessProbe, ReasonCode, RuntimeCheck, readiness,
};
pub use remote::{
    Fingerprint, FingerprintError, Hostname, HostnameError, OwnHost, RemoteHost, RemoteMachine, SshUser, SshUserError,
    refused_address, unsuitable_address,
};
pub use ssh::{HostKeyScan, ManagedKey, ManagedKeys, RemoteCommand, RemoteOutput, SshAccess, SshError};
pub use store::{
    CreatedNode, HostKeyPin, Idempotency, NewNode, NodeBrief, NodeChange, NodeCounts, NodeFilter, NodeStore,
    ProbeRecord, check_addresses, check_host_key,
};
pub use target::{HostKey, HostKeyError, NodeTarget};
pub use transfer::{ByteSink, ByteSource, SshTransfer, TransferError};
