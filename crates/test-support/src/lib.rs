//! For tests only: a clock that tests set, a sink that remembers, contexts, in-memory stores, and a fake provider with
//! the SSH, the probe and the provisioner that see its machines.

mod clock;
mod fake_artifacts;
mod fake_preview;
mod fake_provider;
mod fake_provisioner;
mod fake_remote;
mod fake_secret_box;
mod fake_site_runtime;
mod fake_ssh;
mod fake_transfer;
mod memory_accounts;
mod memory_jobs;
mod memory_nodes;
mod memory_sites;
mod memory_storage;
mod progress;
mod scripted_workflow;
mod signal;

pub use clock::{ManualClock, RealClock};
pub use fake_artifacts::FakeArtifacts;
pub use fake_preview::FakePreview;
pub use fake_provider::{FakeMachine, FakeMachines, FakeProvider, Fault, ProviderMethod, fake_host_key};
pub use fake_provisioner::FakeProvisioner;
pub use fake_remote::{FakeHostKeys, FakeOwnHost};
pub use fake_secret_box::FakeSecretBox;
pub use fake_site_runtime::{FakeEnvironment, FakeEnvironments, FakeSiteRuntime, RuntimeMethod};
pub use fake_ssh::{FakeKeys, FakeProbe, FakeSsh};
pub use fake_transfer::{ChunkSource, FakeNodeFiles, FakeTransfer, TransferFault, sha256_of};
pub use memory_accounts::{MemoryAccounts, NumberedTokens, PlainHasher};
pub use memory_jobs::MemoryJobs;
pub use memory_nodes::MemoryNodes;
pub use memory_sites::MemorySites;
pub use memory_storage::MemoryStorage;
pub use progress::{RecordingProgress, step_context};
pub use scripted_workflow::ScriptedWorkflow;
pub use signal::RecordingSignal;
