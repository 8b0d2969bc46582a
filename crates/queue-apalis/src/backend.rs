//! The apalis `Backend`: hands claimed jobs to the worker, and gives back the one that nobody started.
//!
//! apalis asks for a job only while a worker is free (its concurrency layer is asked first), so no more jobs are claimed
//! than can run. Looking for a job happens in a task of its own: while the worker drains, apalis polls no backend, and a
//! store's half-done call must not wait for that with a lock in its hand.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use apalis_core::worker::ext::ack::AcknowledgeLayer;
use domain_kernel::{CancelToken, StopReason};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::{Claim, ClaimedJob, Job, JobRunner};
use tokio::task::JoinHandle;

use crate::ack::EndOfRun;
use crate::claimer::Claimer;

/// The task that looks for jobs ended by itself: a defect, since it repeats whatever fails.
#[derive(Debug, thiserror::Error)]
#[error("the task that claims jobs ended unexpectedly")]
pub(crate) struct ClaimerEnded(#[source] tokio::task::JoinError);

/// What the layers around a run know of it.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) job: Job,
    pub(crate) claim: Claim,
}

/// Jobs of a store as apalis's tasks.
pub(crate) struct JobBackend {
    claimer: Arc<Claimer>,
    runner: Arc<JobRunner>,
    end_of_run: EndOfRun,
    state: State,
}

enum State {
    Idle,
    Looking(JoinHandle<Option<ClaimedJob>>),
    GivingBack(BoxFuture<'static, ()>),
}

impl JobBackend {
    pub(crate) fn new(claimer: Claimer, runner: Arc<JobRunner>, end_of_run: EndOfRun) -> Self {
        Self {
            claimer: Arc::new(claimer),
            runner,
            end_of_run,
            state: State::Idle,
        }
    }
}

fn task(claimed: ClaimedJob) -> Task<ClaimedJob> {
    let id = TaskId::from_string(claimed.job.id.to_string());
    // apalis counts the attempt when it starts.
    let before = claimed.job.attempt_count.saturating_sub(1) as usize;
    let held = Held {
        job: claimed.job.clone(),
        claim: claimed.claim.clone(),
    };
    TaskBuilder::new(claimed).task_id(id).attempt(before).data(held).build()
}

async fn give_back(runner: Arc<JobRunner>, claimed: ClaimedJob) {
    let job_id = claimed.job.id;
    let cancel = CancelToken::new();
    cancel.cancel(StopReason::Shutdown);
    if let Err(error) = runner.run(claimed, cancel).await {
        let error = &error as &dyn std::error::Error;
        tracing::error!(%job_id, error, "a job that was not started could not be given back: its lease runs out");
    }
}

impl Backend for JobBackend {
    type Task = Task<ClaimedJob>;
    type Error = ClaimerEnded;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), ClaimerEnded>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, ClaimerEnded>>> {
        loop {
            match &mut self.state {
                State::Idle => {
                    let claimer = Arc::clone(&self.claimer);
                    self.state = State::Looking(tokio::spawn(async move { claimer.next().await }));
                }
                State::Looking(look) => {
                    let looked = ready!(look.poll_unpin(cx));
                    self.state = State::Idle;
                    return Poll::Ready(match looked {
                        Ok(claimed) => claimed.map(|claimed| Ok(task(claimed))),
                        Err(error) => Some(Err(ClaimerEnded(error))),
                    });
                }
                State::GivingBack(_) => return Poll::Ready(None),
            }
        }
    }

    /// The claimer was told to stop before this is called, so the look ends; what it claimed meanwhile is given back.
    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), ClaimerEnded>> {
        loop {
            self.state = match &mut self.state {
                State::Idle => return Poll::Ready(Ok(())),
                State::Looking(look) => match ready!(look.poll_unpin(cx)) {
                    Ok(Some(claimed)) => State::GivingBack(give_back(Arc::clone(&self.runner), claimed).boxed()),
                    Ok(None) => State::Idle,
                    Err(error) => {
                        self.state = State::Idle;
                        return Poll::Ready(Err(ClaimerEnded(error)));
                    }
                },
                State::GivingBack(giving) => {
                    ready!(giving.poll_unpin(cx));
                    State::Idle
                }
            };
        }
    }
}

impl BackendConfig for JobBackend {
    type Args = ClaimedJob;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = AcknowledgeLayer<EndOfRun>;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Self::Layer {
        AcknowledgeLayer::new(self.end_of_run.clone())
    }
}
