//! Many at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain_kernel::{JobId, SiteId};
use jobs::{EventFilter, ExclusionKey, JobCatalog, JobStore, LogStream, NewEvent, Outcome};
use persistence_diesel::Database;
use tokio::task::JoinSet;

use crate::support::{LEASE, store_tests, worker};

/// What is at work, as the workers themselves see it.
#[derive(Default)]
struct AtWork {
    jobs: HashSet<JobId>,
    sites: HashSet<usize>,
    done: HashSet<JobId>,
}

const SITES: usize = 5;
const JOBS: usize = 40;

/// Claims and ends jobs until there is none left, and looks that nothing is at work twice.
async fn work(store: Database, name: String, ids: Arc<Vec<JobId>>, at_work: Arc<Mutex<AtWork>>) {
    let worker = worker(&name);
    while at_work.lock().unwrap().done.len() < JOBS {
        let Some(claimed) = store.claim(&worker, LEASE).await.unwrap() else {
            tokio::task::yield_now().await;
            continue;
        };
        let id = claimed.job.id;
        let site = ids.iter().position(|job| *job == id).unwrap() % SITES;
        {
            let mut at_work = at_work.lock().unwrap();
            assert!(!at_work.done.contains(&id), "a job ran twice");
            assert!(at_work.jobs.insert(id), "a job was claimed twice");
            assert!(at_work.sites.insert(site), "two jobs of one key ran at once");
        }
        store.heartbeat(&claimed.claim, LEASE).await.unwrap();
        {
            let mut at_work = at_work.lock().unwrap();
            at_work.jobs.remove(&id);
            at_work.sites.remove(&site);
            at_work.done.insert(id);
        }
        store.finish(&claimed.claim, &Outcome::Succeeded).await.unwrap();
    }
}

store_tests! {
    async fn workers_of_two_processes_never_get_the_same_job_or_two_of_one_key(db) {
        let sites: Vec<_> = (0..SITES).map(|_| ExclusionKey::site(SiteId::generate())).collect();
        let mut ids = Vec::new();
        for number in 0..JOBS {
            ids.push(db.create_node_with_keys(&[sites[number % SITES].clone()]).await.1);
        }
        let (ids, at_work) = (Arc::new(ids), Arc::new(Mutex::new(AtWork::default())));
        let other = db.another();
        let mut workers = JoinSet::new();
        for number in 0..8 {
            let store = if number % 2 == 0 { db.store.clone() } else { other.clone() };
            workers.spawn(work(store, format!("worker-{number}"), ids.clone(), at_work.clone()));
        }
        let all_done = async {
            while let Some(ended) = workers.join_next().await {
                ended.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all_done).await.expect("the queue stands still");
        let counts = JobCatalog::counts(&db.store).await.unwrap();
        assert_eq!((counts.queued, counts.running), (0, 0));
    }

    async fn events_of_many_writers_appear_in_the_order_of_their_sequence(db) {
        let (_, claim) = db.running_job().await;
        let other = db.another();
        let mut writers = JoinSet::new();
        for number in 0..4 {
            let store = if number % 2 == 0 { db.store.clone() } else { other.clone() };
            let claim = claim.clone();
            writers.spawn(async move {
                for line in 0..15 {
                    let event = NewEvent::log("s", LogStream::Stdout, &format!("{number}:{line}"));
                    store.append(&claim, event).await.unwrap();
                }
            });
        }
        // A reader that follows meanwhile must see all of them: none may appear behind the one it has reached.
        let mut seen = 0;
        let mut after = 0;
        while seen < 63 {
            let filter = EventFilter { after, job_id: Some(claim.job_id), limit: 100 };
            let page = db.store.events(&filter).await.unwrap();
            assert!(page.windows(2).all(|pair| pair[0].seq < pair[1].seq));
            seen += page.len();
            after = page.last().map_or(after, |event| event.seq);
            if page.is_empty() && writers.is_empty() {
                panic!("only {seen} of 63 events were seen");
            }
            while writers.try_join_next().transpose().unwrap().is_some() {}
        }
        assert_eq!(seen, 63);
    }
}
