//! Jobs in memory, with the meaning that the traits of `jobs` give to their methods.

mod catalog;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{AccountId, Clock, JobId, NodeId, Timestamp};
use jobs::{
    Admitted, Claim, ClaimedJob, Event, EventKind, ExclusionKey, Heartbeat, Job, JobStatus, JobStore, JobView,
    LogLimit, NewEvent, NewJob, Outcome, Recover, StepRecord, StepStatus, StoreError, WorkerId,
};
use tokio::sync::watch;

/// Jobs and their events in memory. It can be told to fail, counts what is asked of it, and gives way before and after
/// every call of a worker, so that a test can drop a run between any two of them.
pub struct MemoryJobs {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
    failing: AtomicBool,
    answers_held: watch::Sender<bool>,
    claims: AtomicU64,
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    events: Vec<Event>,
    told: watch::Sender<()>,
}

struct Row {
    job: Job,
    keys: Vec<ExclusionKey>,
    cancelled_by: Option<AccountId>,
    log_bytes: u64,
    steps: HashMap<String, (u32, StepRecord)>,
}

impl MemoryJobs {
    /// No jobs yet; `clock` tells what is due.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            table: Mutex::new(Table::default()),
            failing: AtomicBool::new(false),
            answers_held: watch::Sender::new(false),
            claims: AtomicU64::new(0),
        }
    }

    /// Accepts a job. A signal is the caller's to give, as after a commit.
    pub fn enqueue(&self, new: NewJob) -> JobId {
        let now = self.clock.now();
        let job = Job {
            id: new.id,
            kind: new.kind,
            status: JobStatus::Queued,
            node_id: new.node_id,
            site_id: new.site_id,
            environment_id: new.environment_id,
            backup_id: new.backup_id,
            attempt_count: 1,
            max_attempts: new.max_attempts,
            requested_by: new.requested_by,
            run_after: now,
            claim_epoch: 0,
            locked_at: None,
            locked_by: None,
            lease_until: None,
            lost_workers: 0,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            error: None,
            created_at: now,
            updated_at: now,
        };
        let mut table = self.table();
        table.rows.push(Row {
            job,
            keys: new.exclusion_keys,
            cancelled_by: None,
            log_bytes: 0,
            steps: HashMap::new(),
        });
        table.status_event(new.id, now);
        new.id
    }

    /// A job as it stands now.
    ///
    /// # Panics
    /// There is no such job.
    #[allow(clippy::panic, reason = "for tests")]
    pub fn view(&self, id: JobId) -> JobView {
        let table = self.table();
        match table.rows.iter().find(|row| row.job.id == id) {
            Some(row) => row.view(),
            None => panic!("no job {id}"),
        }
    }

    /// Who asked first for a job to end.
    pub fn cancelled_by(&self, id: JobId) -> Option<AccountId> {
        let table = self.table();
        let row = table.rows.iter().find(|row| row.job.id == id);
        row.and_then(|row| row.cancelled_by)
    }

    /// All events so far.
    pub fn all_events(&self) -> Vec<Event> {
        self.table().events.clone()
    }

    /// From now on every call of a worker fails, or none does.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// From now on a job is claimed but the worker does not learn of it yet, or it does.
    pub fn hold_claims(&self, held: bool) {
        self.answers_held.send_replace(held);
    }

    /// How often a job was asked for.
    pub fn claims(&self) -> u64 {
        self.claims.load(Ordering::SeqCst)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn broken(&self) -> Result<(), StoreError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(StoreError::Backend("the database is told to fail".into()));
        }
        Ok(())
    }

    /// The job of a node as such, not of a site on it, that has not ended, if there is one.
    pub(crate) fn open_job_of(&self, node_id: NodeId) -> Option<Job> {
        let table = self.table();
        let mut of_node = table.rows.iter().filter(|row| row.works_on(node_id));
        of_node
            .find(|row| !row.job.status.is_terminal())
            .map(|row| row.job.clone())
    }

    /// Ends a job that waits as cancelled.
    pub(crate) fn cancel_waiting(&self, id: JobId) {
        let now = self.clock.now();
        let mut table = self.table();
        if let Some(row) = table.rows.iter_mut().find(|row| row.job.id == id) {
            row.job.cancel_requested = true;
            row.release(JobStatus::Cancelled, now);
            row.close_steps(StepStatus::Cancelled, now);
        }
        table.status_event(id, now);
    }

    /// Tells a change of what jobs work on, as a status event.
    pub(crate) fn tell(&self, job_id: Option<JobId>, node_id: Option<NodeId>, data: serde_json::Value) {
        let now = self.clock.now();
        self.table().push(job_id, node_id, now, EventKind::Status, data);
    }

    /// Whether a claim is still good.
    pub(crate) fn check_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        self.table().held(claim).map(|_| ())
    }

    /// [`JobStore::finish`] without giving way, for stores that change something else with it.
    pub(crate) fn finish_now(&self, claim: &Claim, outcome: &Outcome) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut table = self.table();
        table.held(claim)?.finish(outcome, now);
        table.status_event(claim.job_id, now);
        Ok(())
    }

    fn claim_now(&self, worker: &WorkerId, lease: Duration) -> Option<ClaimedJob> {
        let now = self.clock.now();
        let mut table = self.table();
        let at = table.runnable(now)?;
        let row = &mut table.rows[at];
        row.job.status = JobStatus::Running;
        row.job.claim_epoch += 1;
        row.job.locked_at = Some(now);
        row.job.locked_by = Some(worker.as_str().to_owned());
        row.job.lease_until = Some(now.plus(lease));
        row.job.started_at.get_or_insert(now);
        row.job.updated_at = now;
        let claimed = ClaimedJob {
            job: row.job.clone(),
            steps: row.steps(),
            claim: Claim {
                job_id: row.job.id,
                epoch: row.job.claim_epoch,
                worker: worker.clone(),
            },
        };
        table.status_event(claimed.job.id, now);
        Some(claimed)
    }

    /// A worker's write: `change` is given the row that the claim holds.
    async fn write<T>(
        &self,
        claim: &Claim,
        change: impl FnOnce(&mut Row, Timestamp) -> (T, Option<NewEvent>),
    ) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        self.broken()?;
        let answer = {
            let now = self.clock.now();
            let mut table = self.table();
            let (answer, event) = change(table.held(claim)?, now);
            match event {
                Some(event) => table.event(claim.job_id, now, event),
                None => table.status_event(claim.job_id, now),
            }
            answer
        };
        tokio::task::yield_now().await;
        Ok(answer)
    }
}

impl Table {
    fn held(&mut self, claim: &Claim) -> Result<&mut Row, StoreError> {
        let row = self.rows.iter_mut().find(|row| {
            let job = &row.job;
            job.id == claim.job_id
                && job.status == JobStatus::Running
                && job.claim_epoch == claim.epoch
                && job.locked_by.as_deref() == Some(claim.worker.as_str())
        });
        row.ok_or(StoreError::LostLease)
    }

    fn runnable(&self, now: Timestamp) -> Option<usize> {
        let taken = |row: &Row| {
            let mut running = self.rows.iter().filter(|other| other.job.status == JobStatus::Running);
            running.any(|other| other.keys.iter().any(|key| row.keys.contains(key)))
        };
        let mut due: Vec<usize> = (0..self.rows.len())
            .filter(|at| {
                let row = &self.rows[*at];
                let waits = row.job.status == JobStatus::Queued && row.job.run_after <= now;
                waits && (row.job.cancel_requested || !taken(row))
            })
            .collect();
        due.sort_by_key(|at| (self.rows[*at].job.created_at, self.rows[*at].job.id));
        due.first().copied()
    }

    fn event(&mut self, job_id: JobId, at: Timestamp, event: NewEvent) {
        let node_id = self
            .rows
            .iter()
            .find(|row| row.job.id == job_id)
            .and_then(|row| row.job.node_id);
        self.push(Some(job_id), node_id, at, event.kind, event.data);
    }

    fn push(
        &mut self,
        job_id: Option<JobId>,
        node_id: Option<NodeId>,
        at: Timestamp,
        kind: EventKind,
        data: serde_json::Value,
    ) {
        let seq = i64::try_from(self.events.len()).unwrap_or(i64::MAX) + 1;
        self.events.push(Event {
            seq,
            job_id,
            node_id,
            at,
            kind,
            data,
        });
        self.told.send_replace(());
    }

    fn status_event(&mut self, job_id: JobId, at: Timestamp) {
        let Some(job) = self.rows.iter().map(|row| &row.job).find(|job| job.id == job_id) else {
            return;
        };
        let data = serde_json::json!({"status": job.status, "attempt": job.attempt_count});
        self.event(
            job_id,
            at,
            NewEvent {
                kind: EventKind::Status,
                data,
            },
        );
    }
}

impl Row {
    /// Whether the job is one of this node as such, not of a site on it.
    fn works_on(&self, node_id: NodeId) -> bool {
        self.job.node_id == Some(node_id) && self.job.site_id.is_none()
    }

    fn view(&self) -> JobView {
        JobView {
            job: self.job.clone(),
            steps: self.steps(),
        }
    }

    fn steps(&self) -> Vec<StepRecord> {
        let mut steps: Vec<_> = self.steps.values().collect();
        steps.sort_by_key(|(ordinal, _)| *ordinal);
        steps.into_iter().map(|(_, step)| step.clone()).collect()
    }

    fn step_event(&self, name: &str) -> NewEvent {
        let step = self.steps.get(name).map(|(_, step)| step);
        let status = step.map(|step| step.status);
        let mut data = serde_json::json!({"step": name, "status": status, "attempt": self.job.attempt_count});
        if let Some(detail) = step.and_then(|step| step.detail.as_deref()) {
            data["detail"] = detail.into();
        }
        NewEvent {
            kind: EventKind::Step,
            data,
        }
    }

    fn close_steps(&mut self, status: StepStatus, now: Timestamp) {
        for (_, step) in self.steps.values_mut() {
            if matches!(step.status, StepStatus::Started | StepStatus::Parked) {
                step.status = status;
                step.finished_at = Some(now);
            }
        }
    }

    fn finish(&mut self, outcome: &Outcome, now: Timestamp) {
        self.release(outcome.status(), now);
        self.job.lost_workers = 0;
        match outcome {
            Outcome::Failed(_) => self.close_steps(StepStatus::Failed, now),
            Outcome::Cancelled => self.close_steps(StepStatus::Cancelled, now),
            Outcome::Succeeded | Outcome::Retry { .. } | Outcome::Parked { .. } | Outcome::Yielded => {}
        }
        match outcome {
            Outcome::Succeeded | Outcome::Cancelled => self.job.error = None,
            Outcome::Failed(failure) => self.job.error = Some(failure.clone()),
            Outcome::Retry { failure, run_after } => {
                self.job.error = Some(failure.clone());
                self.job.attempt_count += 1;
                self.job.run_after = *run_after;
                self.log_bytes = 0;
            }
            Outcome::Parked { run_after } => self.job.run_after = *run_after,
            Outcome::Yielded => self.job.run_after = now,
        }
        if self.job.cancel_requested {
            self.job.run_after = self.job.run_after.min(now);
        }
    }

    fn release(&mut self, status: JobStatus, now: Timestamp) {
        self.job.status = status;
        self.job.locked_at = None;
        self.job.locked_by = None;
        self.job.lease_until = None;
        self.job.updated_at = now;
        if status.is_terminal() {
            self.job.finished_at = Some(now);
        }
    }
}

#[async_trait]
impl JobStore for MemoryJobs {
    async fn claim(&self, worker: &WorkerId, lease: Duration) -> Result<Option<ClaimedJob>, StoreError> {
        tokio::task::yield_now().await;
        self.claims.fetch_add(1, Ordering::SeqCst);
        self.broken()?;
        let claimed = self.claim_now(worker, lease);
        if claimed.is_some() {
            // The sender lives in `self`, so the wait cannot end in an error.
            let _ = self.answers_held.subscribe().wait_for(|held| !held).await;
        }
        Ok(claimed)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        tokio::task::yield_now().await;
        self.broken()?;
        let now = self.clock.now();
        let table = self.table();
        let moments = table.rows.iter().filter_map(|row| match row.job.status {
            JobStatus::Queued => Some(row.job.run_after),
            JobStatus::Running => row.job.lease_until,
            JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled => None,
        });
        Ok(moments.filter(|moment| *moment > now).min())
    }

    async fn heartbeat(&self, claim: &Claim, lease: Duration) -> Result<Heartbeat, StoreError> {
        tokio::task::yield_now().await;
        self.broken()?;
        let now = self.clock.now();
        let mut table = self.table();
        let row = table.held(claim)?;
        row.job.lease_until = Some(now.plus(lease));
        Ok(Heartbeat {
            cancel_requested: row.job.cancel_requested,
        })
    }

    async fn step_started(&self, claim: &Claim, ordinal: u32, name: &str) -> Result<(), StoreError> {
        self.write(claim, |row, now| {
            let attempt = row.job.attempt_count;
            let before = row.steps.get(name).map(|(_, step)| step);
            let parked = before.filter(|step| step.status == StepStatus::Parked && step.attempt == attempt);
            let step = StepRecord {
                name: name.to_owned(),
                status: StepStatus::Started,
                attempt,
                started_at: parked.map_or(now, |step| step.started_at),
                finished_at: None,
                detail: parked.and_then(|step| step.detail.clone()),
            };
            row.steps.insert(name.to_owned(), (ordinal, step));
            ((), Some(row.step_event(name)))
        })
        .await
    }

    async fn step_finished(
        &self,
        claim: &Claim,
        name: &str,
        status: StepStatus,
        detail: Option<&str>,
    ) -> Result<(), StoreError> {
        self.write(claim, |row, now| {
            if let Some((_, step)) = row.steps.get_mut(name) {
                step.status = status;
                step.finished_at = Some(now);
                if let Some(detail) = detail {
                    step.detail = Some(detail.to_owned());
                }
            }
            if status == StepStatus::Succeeded {
                row.job.lost_workers = 0;
            }
            ((), Some(row.step_event(name)))
        })
        .await
    }

    async fn step_detail(&self, claim: &Claim, name: &str, detail: &str) -> Result<(), StoreError> {
        self.write(claim, |row, _| {
            if let Some((_, step)) = row.steps.get_mut(name) {
                step.detail = Some(detail.to_owned());
            }
            ((), Some(row.step_event(name)))
        })
        .await
    }

    async fn append(&self, claim: &Claim, event: NewEvent) -> Result<(), StoreError> {
        let before = self.table().held(claim)?.log_bytes;
        let Admitted::Kept { event, log_bytes } = LogLimit::default().admit(before, event) else {
            return Ok(());
        };
        self.write(claim, |row, _| {
            row.log_bytes = log_bytes;
            ((), Some(event))
        })
        .await
    }

    async fn finish(&self, claim: &Claim, outcome: &Outcome) -> Result<(), StoreError> {
        self.write(claim, |row, now| {
            row.finish(outcome, now);
            ((), None)
        })
        .await
    }

    async fn recover(&self, which: Recover) -> Result<Vec<JobId>, StoreError> {
        tokio::task::yield_now().await;
        self.broken()?;
        let now = self.clock.now();
        let mut table = self.table();
        let mut lost = Vec::new();
        for row in table.rows.iter_mut().filter(|row| row.job.status == JobStatus::Running) {
            let expired = row.job.lease_until.is_none_or(|end| end <= now);
            if which == Recover::All || expired {
                row.release(JobStatus::Queued, now);
                row.job.lost_workers += 1;
                lost.push(row.job.id);
            }
        }
        for id in &lost {
            table.status_event(*id, now);
        }
        Ok(lost)
    }
}
