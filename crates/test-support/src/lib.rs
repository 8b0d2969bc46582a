//! For tests only: a clock that tests set, a sink that remembers, contexts, in-memory stores, and a fake provider with
//! the SSH, the probe and the provisioner that see its machines.

mod clock;
mod fake_provider;
mod fake_provisioner;
mod fake_remote;
mod fake_ssh;
mod memory_accounts;
mod memory_jobs;
mod memory_nodes;
mod progress;
mod scripted_workflow;
mod signal;

pub use clock::{ManualClock, RealClock};
pub use fake_provider::{FakeMachine, FakeMachines, FakeProvider, Fault, ProviderMethod, fake_host_key};
pub use fake_provisioner::FakeProvisioner;
pub use fake_remote::{FakeHostKeys, FakeOwnHost};
pub use fake_ssh::{FakeKeys, FakeProbe, FakeSsh};
pub use memory_accounts::{MemoryAccounts, NumberedTokens, PlainHasher};
pub use memory_jobs::MemoryJobs;
pub use memory_nodes::MemoryNodes;
pub use progress::{RecordingProgress, step_context};
pub use scripted_workflow::ScriptedWorkflow;
pub use signal::RecordingSignal;
