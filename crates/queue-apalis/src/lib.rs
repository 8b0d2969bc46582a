//! Runs jobs with apalis: an apalis `Backend` over any [`jobs::JobStore`], and the worker around it.
//!
//! Here live when to look for a job (`claimer`), how a claim is kept (`lease`), what runs in this process
//! (`running`) and how all of it stops (`queue`). What a job does, how its outcome is written and what a claim means
//! live in `jobs` and in its stores; no SQL, no workflow.

mod ack;
mod backend;
mod claimer;
mod handler;
mod lease;
mod queue;
mod running;

pub use queue::{Queue, QueueError, QueueSettings};
