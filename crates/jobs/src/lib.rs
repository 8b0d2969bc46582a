//! Jobs: what they are, how a workflow's steps are run, and what a store must do for them.
//!
//! Here live the words (job, step, event, claim), the traits that adapters implement ([`JobStore`], [`JobCatalog`],
//! [`JobSignal`], [`EventFeed`], [`Housekeeping`], [`Workflow`]) and the runner, which is plain futures. No runtime, no SQL,
//! no queue library.

mod context;
mod event;
mod hold;
mod housekeeping;
mod job;
mod log_limit;
mod page;
mod retry;
mod runner;
mod search;
mod step;
mod store;
mod text_enum;
mod workflow;

pub use context::{NullProgress, ProgressSink, StepContext};
pub use event::{Event, EventKind, LogStream, NewEvent, TaskProgress, TaskStatus};
pub use housekeeping::{Housekeeping, PruneCut, Pruned};
pub use job::{ExclusionKey, Job, JobKind, JobStatus, NewJob, WorkerId};
pub use log_limit::{Admitted, LogLimit};
pub use page::{Page, PageRequest};
pub use retry::RetryPolicy;
pub use runner::{JobRunner, RunEnd};
pub use search::{SearchText, SearchTextError};
pub use step::{Failure, StepError, StepRecord, StepStatus};
pub use store::{
    CancelReply, Claim, ClaimedJob, EventFeed, EventFilter, EventWatch, Heartbeat, JobCatalog, JobCounts, JobFilter,
    JobSignal, JobStore, JobView, Outcome, Recover, StoreError,
};
pub use workflow::{Step, Workflow};
