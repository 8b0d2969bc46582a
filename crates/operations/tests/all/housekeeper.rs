//! The housekeeper: when it works, what it asks for, and that it goes on after a failure.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, StopReason};
use futures_util::poll;
use jobs::{Housekeeping, PruneCut, Pruned, StoreError};
use operations::{Housekeeper, RetentionPolicy};
use test_support::ManualClock;

const FIRST: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A store that answers as it is told, then that there is nothing to throw away, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Result<Pruned, StoreError>>>,
    asked: Mutex<Vec<PruneCut>>,
}

#[async_trait]
impl Housekeeping for Scripted {
    async fn prune(&self, cut: &PruneCut) -> Result<Pruned, StoreError> {
        self.asked.lock().unwrap().push(*cut);
        self.answers
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Ok(Pruned::default()))
    }
}

impl Scripted {
    fn asked(&self) -> Vec<PruneCut> {
        self.asked.lock().unwrap().clone()
    }
}

fn housekeeper(store: &Arc<Scripted>, clock: &Arc<ManualClock>, days: u32) -> Housekeeper {
    let policy = RetentionPolicy {
        keep_for: days * DAY,
        max_events: 7,
    };
    Housekeeper::new(store.clone(), clock.clone(), policy)
}

/// Polls until the housekeeper sleeps for the time number `sleeps`.
async fn until_asleep(mut run: Pin<&mut impl Future<Output = ()>>, clock: &ManualClock, sleeps: usize) {
    while clock.sleeps().len() < sleeps {
        assert!(poll!(run.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_works_shortly_after_the_start_and_every_hour_and_after_a_failure_too() {
    let (store, clock) = (Arc::new(Scripted::default()), Arc::new(ManualClock::new()));
    let failure = StoreError::Backend("the disk is full".into());
    store.answers.lock().unwrap().push_back(Err(failure));
    let housekeeper = housekeeper(&store, &clock, 90);
    let stop = CancelToken::new();
    let mut run = pin!(housekeeper.run(stop.clone()));
    until_asleep(run.as_mut(), &clock, 1).await;
    assert!(store.asked().is_empty(), "the start comes first");
    for round in 1..4 {
        clock.advance(clock.sleeps()[round - 1]);
        until_asleep(run.as_mut(), &clock, round + 1).await;
        assert_eq!(store.asked().len(), round);
    }
    assert_eq!(clock.sleeps(), [FIRST, HOUR, HOUR, HOUR]);
    stop.cancel(StopReason::Shutdown);
    run.await;
}

#[tokio::test]
async fn batches_follow_each_other_with_pauses_until_there_is_no_more() {
    let (store, clock) = (Arc::new(Scripted::default()), Arc::new(ManualClock::new()));
    let full = Pruned {
        jobs: 500,
        more: true,
        ..Pruned::default()
    };
    let rest = Pruned {
        jobs: 3,
        events: 2,
        ..Pruned::default()
    };
    store.answers.lock().unwrap().extend([Ok(full), Ok(full), Ok(rest)]);
    let housekeeper = housekeeper(&store, &clock, 90);
    let mut round = pin!(housekeeper.round());
    for batch in 1..3 {
        assert!(poll!(&mut round).is_pending());
        assert_eq!(store.asked().len(), batch, "the others have their turn before the next");
        clock.advance(clock.sleeps()[batch - 1]);
    }
    let pruned = round.await.unwrap();
    assert_eq!(
        (pruned.jobs, pruned.events, pruned.rows(), pruned.more),
        (1003, 2, 1005, false)
    );
    assert!(
        store.asked().windows(2).all(|pair| pair[0] == pair[1]),
        "one round has one cut"
    );
}

#[tokio::test]
async fn the_audit_log_is_kept_for_a_year_or_as_long_as_everything_else() {
    for (days, audit_days) in [(1, 365), (90, 365), (1000, 1000)] {
        let (store, clock) = (Arc::new(Scripted::default()), Arc::new(ManualClock::new()));
        housekeeper(&store, &clock, days).round().await.unwrap();
        let now = clock.now();
        let cut = store.asked()[0];
        assert_eq!((cut.now, cut.max_events), (now, 7));
        assert_eq!(cut.finished_before, now.minus(days * DAY));
        assert_eq!(cut.audit_before, now.minus(audit_days * DAY));
    }
}
