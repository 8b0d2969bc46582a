//! What a store must do for jobs. [`JobStore`] is the worker's side, [`JobCatalog`] the reader's; [`JobSignal`] and
//! [`EventFeed`] tell workers and readers in the same process what was just committed.

use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{AccountId, BackupId, EnvironmentId, JobId, NodeId, SiteId, Timestamp};

use crate::{Event, Failure, Job, JobKind, JobStatus, NewEvent, Page, PageRequest, StepRecord, StepStatus, WorkerId};

/// Why a store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The claim is no longer valid: another worker has the job, or it has ended.
    #[error("the claim on the job is no longer valid")]
    LostLease,
    /// There is no such row.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The row changed since it was read.
    #[error("the {0} changed meanwhile")]
    VersionConflict(&'static str),
    /// Another job of the node has not ended.
    #[error("job {job_id} of the node has not ended")]
    NodeBusy {
        /// That job.
        job_id: JobId,
    },
    /// Environments live on the node.
    #[error("{environments} environments live on the node")]
    NodeInUse {
        /// How many.
        environments: u64,
    },
    /// Something unique exists already.
    #[error("{0}")]
    Duplicate(String),
    /// The same Idempotency-Key came with another request.
    #[error("the Idempotency-Key was used for another request")]
    IdempotencyMismatch,
    /// The database failed.
    #[error("the database failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A worker's right to a job. Every write of the worker carries it; a store refuses an old one with
/// [`StoreError::LostLease`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub job_id: JobId,
    /// The claim's number.
    pub epoch: i64,
    /// The worker.
    pub worker: WorkerId,
}

/// A job that was just claimed.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The job, already `running`.
    pub job: Job,
    /// Its steps so far.
    pub steps: Vec<StepRecord>,
    /// The right to it.
    pub claim: Claim,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// An operator asked for the job to end.
    pub cancel_requested: bool,
}

/// How a run of a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Succeeded,
    /// It failed for good.
    Failed(Failure),
    /// An operator ended it.
    Cancelled,
    /// It failed and is tried again: queued, the attempt counted.
    Retry {
        /// Why it failed.
        failure: Failure,
        /// When the next attempt may start.
        run_after: Timestamp,
    },
    /// It waits for something outside: queued, no attempt counted.
    Parked {
        /// When to look again.
        run_after: Timestamp,
    },
    /// The server stops: queued again at once, no attempt counted.
    Yielded,
}

impl Outcome {
    /// The job's status after it.
    pub fn status(&self) -> JobStatus {
        match self {
            Self::Succeeded => JobStatus::Succeeded,
            Self::Failed(_) => JobStatus::Failed,
            Self::Cancelled => JobStatus::Cancelled,
            Self::Retry { .. } | Self::Parked { .. } | Self::Yielded => JobStatus::Queued,
        }
    }
}

/// The worker's side of the queue.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Claims the oldest runnable job: queued, its `run_after` reached, and no running job with any of its exclusion
    /// keys. A job with a cancel request is runnable whatever holds its keys, because all it does is end. The claim
    /// lasts for `lease` unless a heartbeat renews it.
    async fn claim(&self, worker: &WorkerId, lease: Duration) -> Result<Option<ClaimedJob>, StoreError>;

    /// The next moment, later than now, at which a queued job's `run_after` comes or a running job's lease ends, if
    /// there is one. What is due already does not count: a due job that was not claimed waits for another's end.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Renews a claim.
    async fn heartbeat(&self, claim: &Claim, lease: Duration) -> Result<Heartbeat, StoreError>;

    /// Records that a step begins, with its event. One that parked in this attempt goes on: its start stays as it was.
    async fn step_started(&self, claim: &Claim, ordinal: u32, name: &str) -> Result<(), StoreError>;

    /// Records how a step ended, with its event. A step that succeeds ends the count of lost workers.
    async fn step_finished(
        &self,
        claim: &Claim,
        name: &str,
        status: StepStatus,
        detail: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Replaces a step's line for the operator, with an event.
    async fn step_detail(&self, claim: &Claim, name: &str, detail: &str) -> Result<(), StoreError>;

    /// Appends an event of the job, unless it is log beyond the store's [`LogLimit`](crate::LogLimit): then it is dropped,
    /// and the first one dropped is replaced by a line that says so.
    async fn append(&self, claim: &Claim, event: NewEvent) -> Result<(), StoreError>;

    /// Writes how the run ended, with a status event, and frees the exclusion keys. For a job whose end changes
    /// something else, use that thing's store, which does both in one transaction. A job that is queued again with a
    /// cancel request is due at once, whatever the outcome says: the request may have come while it ended. Every
    /// outcome ends the count of lost workers; a failed or cancelled job leaves no step open.
    async fn finish(&self, claim: &Claim, outcome: &Outcome) -> Result<(), StoreError>;

    /// Queues running jobs that lost their worker again, counting a lost worker; the attempt stays. Returns them.
    async fn recover(&self, which: Recover) -> Result<Vec<JobId>, StoreError>;
}

/// Which running jobs have lost their worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recover {
    /// All of them: the process just started and holds the lock of the data directory, so nobody else runs any.
    All,
    /// Those whose lease has ended.
    Expired,
}

/// Which jobs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this status.
    pub status: Option<JobStatus>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// On this node.
    pub node_id: Option<NodeId>,
    /// On this site.
    pub site_id: Option<SiteId>,
    /// On this environment.
    pub environment_id: Option<EnvironmentId>,
    /// Making or restoring one of these backups; empty: whatever they do.
    pub backup_ids: Vec<BackupId>,
}

/// Which events are wanted, in order of their sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Later than this one.
    pub after: i64,
    /// Of this job.
    pub job_id: Option<JobId>,
    /// How many at most.
    pub limit: u32,
}

/// A job with its steps.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
}

/// How many jobs stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting.
    pub queued: u64,
    /// At work.
    pub running: u64,
}

/// The answer to a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReply {
    /// The job will end as cancelled as soon as its worker has stopped.
    Requested,
    /// It had ended before.
    AlreadyEnded,
}

/// The reader's side.
#[async_trait]
pub trait JobCatalog: Send + Sync {
    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError>;

    /// Jobs, newest first.
    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<JobView>, StoreError>;

    /// Events, oldest first.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError>;

    /// The newest job of each of these nodes that has one: of the node as such, jobs of sites on it left out.
    async fn latest_jobs(&self, node_ids: &[NodeId]) -> Result<Vec<JobView>, StoreError>;

    /// The job of each of these sites that matters most, of a site that has any: the one at work, else the one that waits
    /// longest, else the newest.
    async fn jobs_of_interest(&self, site_ids: &[SiteId]) -> Result<Vec<JobView>, StoreError>;

    /// The newest `limit` events of a job, oldest first.
    async fn latest_events(&self, job_id: JobId, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// The newest `limit` events of a job but its log, oldest first: its statuses, steps and tasks.
    async fn course(&self, job_id: JobId, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// The oldest of the running jobs that hold an exclusion key of this one, if there is one.
    async fn holder(&self, job_id: JobId) -> Result<Option<JobView>, StoreError>;

    /// The highest sequence number so far, 0 where nothing has happened yet. What is read after it is at least as new.
    async fn last_seq(&self) -> Result<i64, StoreError>;

    /// How many jobs wait and run.
    async fn counts(&self) -> Result<JobCounts, StoreError>;

    /// Asks for a job to end. A queued one becomes due at once. The first time that an account asks is written to the
    /// audit log with it.
    async fn request_cancel(&self, id: JobId, by: Option<AccountId>) -> Result<CancelReply, StoreError>;
}

/// Tells readers in this process that events were committed, so that they need not ask again and again. Only a hint: it
/// knows nothing of what other processes write.
pub trait EventFeed: Send + Sync {
    /// Begins to watch; what is committed from now on is not missed.
    fn watch(&self) -> Box<dyn EventWatch>;
}

/// One reader's view of an [`EventFeed`].
#[async_trait]
pub trait EventWatch: Send {
    /// Waits until something was committed since the last call, or since the watch began. Never ends where the feed has.
    async fn changed(&mut self);
}

/// Tells the worker in this process what was just committed. Only a hint: a worker also looks by itself.
pub trait JobSignal: Send + Sync {
    /// There may be a job to claim.
    fn wake(&self);

    /// An operator asked for this job to end.
    fn cancel(&self, job_id: JobId);
}
