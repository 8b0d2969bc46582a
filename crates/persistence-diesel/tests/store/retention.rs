//! What is thrown away, what is kept, and how much log a job may write.

use std::time::{Duration, Instant};

use accounts_domain::{AccountStore, AuditLog, NewSession, TokenHash};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, sql_query};
use domain_kernel::{JobId, NodeId};
use jobs::{
    EventFilter, EventKind, Housekeeping, JobCatalog, JobKind, JobStore, LogLimit, LogStream, NewEvent, NewJob,
    Outcome, PageRequest, PruneCut, Pruned, StepStatus, StoreError, TaskProgress, TaskStatus,
};
use nodes_domain::{Idempotency, NodeChange, NodeStatus, NodeStore, ProbeRecord};

use crate::support::{Raw, SECOND, TestDatabase, failure, new_node, ready, store_tests};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Keep for a day, the audit log for two.
fn cut(db: &TestDatabase) -> PruneCut {
    PruneCut {
        now: db.now(),
        finished_before: db.now().minus(DAY),
        audit_before: db.now().minus(2 * DAY),
        max_events: 1_000_000,
        batch: 500,
    }
}

async fn prune(db: &TestDatabase, cut: &PruneCut) -> Pruned {
    db.store.prune(cut).await.unwrap()
}

/// A node whose first job ended well, with its step.
async fn active_node(db: &TestDatabase) -> (NodeId, JobId) {
    let (node_id, claim) = db.running_job().await;
    db.store.step_started(&claim, 0, "acquire").await.unwrap();
    db.store
        .step_finished(&claim, "acquire", StepStatus::Succeeded, None)
        .await
        .unwrap();
    let change = NodeChange::status(NodeStatus::Active);
    db.store
        .settle_job(&claim, &Outcome::Succeeded, node_id, change)
        .await
        .unwrap();
    (node_id, claim.job_id)
}

/// Another job of a node.
async fn next_job(db: &TestDatabase, node_id: NodeId) -> JobId {
    let job = NewJob::on_node(JobKind::NodeProvision, node_id, 3);
    let job_id = job.id;
    let version = db.node(node_id).await.state_version;
    db.store
        .enqueue(node_id, version, NodeStatus::Provisioning, job, false)
        .await
        .unwrap();
    job_id
}

async fn exists(db: &TestDatabase, id: JobId) -> bool {
    JobCatalog::job(&db.store, id).await.unwrap().is_some()
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn count(db: &TestDatabase, from: &str) -> i64 {
    let statement = format!("SELECT count(*) AS count FROM {from}");
    let count: Count = match db.raw() {
        Raw::Sqlite(mut connection) => sql_query(statement).get_result(&mut connection),
        Raw::Postgres(mut connection) => sql_query(statement).get_result(&mut connection),
    }
    .unwrap();
    count.count
}

store_tests! {
    async fn an_old_job_goes_with_its_steps_keys_and_events_but_a_nodes_newest_stays(db) {
        let (node_id, first) = active_node(&db).await;
        db.clock.advance(SECOND);
        let second = next_job(&db, node_id).await;
        let claim = db.claim().await.unwrap().claim;
        db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
        let all = cut(&db);
        db.clock.advance(DAY);
        // The first ended a second more than a day ago, the second a day ago to the moment.
        assert_eq!(prune(&db, &all).await, Pruned::default(), "the cut decides, not the clock");
        let before = count(&db, "events");
        let pruned = prune(&db, &cut(&db)).await;
        assert!(!exists(&db, first).await && exists(&db, second).await);
        assert_eq!((pruned.jobs, pruned.more), (1, false));
        assert_eq!(pruned.events, (before - count(&db, "events")).unsigned_abs());
        for table in ["job_steps", "job_exclusions", "events"] {
            assert_eq!(count(&db, &format!("{table} WHERE job_id = '{first}'")), 0, "{table}");
        }
        db.clock.advance(10 * DAY);
        assert_eq!(prune(&db, &cut(&db)).await, Pruned::default());
        assert!(exists(&db, second).await, "the newest of its node");
        assert!(count(&db, &format!("events WHERE job_id = '{second}'")) > 0);
        assert_eq!(db.node(node_id).await.id, node_id);
    }

    async fn what_waits_or_runs_is_never_touched(db) {
        let (_, running) = db.running_job().await;
        let (busy, _) = active_node(&db).await;
        next_job(&db, busy).await;
        let claim = db.claim().await.unwrap().claim;
        let (_, waiting) = db.create_node().await;
        db.clock.advance(10 * DAY);
        let events = |id| format!("events WHERE job_id = '{id}'");
        let of_open = [running.job_id, waiting, claim.job_id].map(|id| (id, count(&db, &events(id))));
        prune(&db, &PruneCut { max_events: 1, ..cut(&db) }).await;
        for (id, before) in of_open {
            assert!(exists(&db, id).await);
            assert_eq!(count(&db, &events(id)), before);
        }
        assert_eq!(count(&db, "events"), of_open.iter().map(|(_, before)| before).sum::<i64>());
        db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
    }

    async fn sessions_that_ended_old_keys_old_lines_and_old_events_without_a_job_go(db) {
        let account_id = db.create_account("ops@example.test").await;
        let session = |token: &str, lasts| NewSession {
            token_hash: TokenHash(token.to_owned()),
            account_id,
            expires_at: db.now().plus(lasts),
            client_address: "192.0.2.1".to_owned(),
        };
        db.store.create_session(session("ends", SECOND)).await.unwrap();
        db.store.create_session(session("lasts", 10 * DAY)).await.unwrap();
        let node = new_node();
        let node_id = node.id;
        let job = NewJob::on_node(JobKind::NodeProvision, node_id, 3);
        let idempotency = Idempotency { account_id, key: "key".to_owned(), request_hash: "hash".to_owned() };
        db.store.create(node, job, Some(idempotency)).await.unwrap();
        let claim = db.claim().await.unwrap().claim;
        let change = NodeChange::status(NodeStatus::Active);
        db.store.settle_job(&claim, &Outcome::Succeeded, node_id, change).await.unwrap();
        let version = db.node(node_id).await.state_version;
        let seen = ProbeRecord {
            status: NodeStatus::Unreachable, readiness: ready(db.now()), probe_failures: 3, seen_at: None,
        };
        db.store.record_probe(node_id, version, seen).await.unwrap();
        assert_eq!(count(&db, "events WHERE job_id IS NULL"), 1);

        db.clock.advance(DAY);
        let pruned = prune(&db, &cut(&db)).await;
        assert_eq!(pruned, Pruned { sessions: 1, ..Pruned::default() });
        db.clock.advance(SECOND);
        let pruned = prune(&db, &cut(&db)).await;
        assert_eq!(pruned, Pruned { idempotency_keys: 1, events: 1, ..Pruned::default() });
        assert!(exists(&db, claim.job_id).await, "a key goes by its age, and its job stays as the newest of its node");
        db.clock.advance(DAY);
        let pruned = prune(&db, &cut(&db)).await;
        assert_eq!(pruned, Pruned { audit: 3, ..Pruned::default() });
        let page = PageRequest { limit: 10, after: None };
        assert!(db.store.entries(&page).await.unwrap().items.is_empty());
        assert!(db.store.session(&TokenHash("lasts".to_owned())).await.unwrap().is_some());
    }

    async fn beyond_the_limit_the_oldest_events_go_and_no_others(db) {
        let (_, job_id) = active_node(&db).await;
        let filter = EventFilter { after: 0, job_id: None, limit: 1000 };
        let before = db.store.events(&filter).await.unwrap();
        let kept = before.len() - 3;
        let limited = PruneCut { max_events: kept as u64, ..cut(&db) };
        let pruned = prune(&db, &limited).await;
        assert_eq!(pruned, Pruned { events: 3, ..Pruned::default() });
        assert_eq!(db.store.events(&filter).await.unwrap(), before[3..]);
        assert_eq!(prune(&db, &limited).await, Pruned::default());
        assert!(exists(&db, job_id).await);
        let last = db.store.last_seq().await.unwrap();
        prune(&db, &PruneCut { max_events: 0, ..cut(&db) }).await;
        active_node(&db).await;
        let first = db.store.events(&filter).await.unwrap()[0].seq;
        assert!(first > last, "a number is never given twice: {first} after {last}");
    }

    async fn a_batch_is_all_that_one_call_removes_and_it_says_that_there_is_more(db) {
        let (node_id, _) = active_node(&db).await;
        for _ in 0..5 {
            next_job(&db, node_id).await;
            let claim = db.claim().await.unwrap().claim;
            db.store.finish(&claim, &Outcome::Succeeded).await.unwrap();
        }
        db.clock.advance(DAY + SECOND);
        let small = PruneCut { batch: 2, ..cut(&db) };
        let mut total = Pruned::default();
        for round in 0.. {
            assert!(round < 100, "it comes to an end");
            let pruned = prune(&db, &small).await;
            assert!(pruned.jobs <= 2 && pruned.events <= 6, "{pruned:?}");
            total = total.and(pruned);
            if !pruned.more {
                break;
            }
        }
        assert_eq!(total.jobs, 5);
        assert_eq!(count(&db, "jobs"), 1);
        assert_eq!(prune(&db, &cut(&db)).await, Pruned::default());
    }

    async fn twenty_thousand_old_jobs_go_in_short_transactions(db) {
        let (node_id, _) = active_node(&db).await;
        let numbers = match db.raw() {
            Raw::Sqlite(_) => "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)",
            Raw::Postgres(_) => "WITH n AS (SELECT generate_series(1, 20000) AS i)",
        };
        // Ids that are older than that of the newest job, which is made now.
        let id = "'00000000-0000-7000-8000-' || substr('000000000000' || i, -12)";
        let id = match db.raw() {
            Raw::Sqlite(_) => id.to_owned(),
            Raw::Postgres(_) => "'00000000-0000-7000-8000-' || lpad(i::text, 12, '0')".to_owned(),
        };
        db.execute(&format!("INSERT INTO jobs (id, kind, status, node_id, attempt_count, max_attempts, run_after,
                claim_epoch, lost_workers, cancel_requested, finished_at, created_at, updated_at)
            {numbers} SELECT {id}, 'node_provision', 'succeeded', '{node_id}', 1, 3, 0, 1, 0, FALSE, i, 0, 0 FROM n"));
        db.execute("INSERT INTO events (job_id, node_id, at, kind, data)
            SELECT id, node_id, 0, 'status', '{}' FROM jobs WHERE finished_at <= 20000");
        db.execute("INSERT INTO job_steps (job_id, name, ordinal, status, attempt, started_at)
            SELECT id, 'acquire', 0, 'succeeded', 1, 0 FROM jobs WHERE finished_at <= 20000");
        // A server does this by itself after so many writes, a test cannot wait for it.
        db.execute("ANALYZE");
        let (mut total, mut longest) = (Pruned::default(), Duration::ZERO);
        loop {
            let begun = Instant::now();
            let pruned = prune(&db, &cut(&db)).await;
            longest = longest.max(begun.elapsed());
            total = total.and(pruned);
            if !pruned.more {
                break;
            }
        }
        assert_eq!((total.jobs, total.events), (20_000, 20_000));
        assert_eq!((count(&db, "jobs"), count(&db, "job_steps")), (1, 1));
        eprintln!("the longest of the calls took {longest:?}");
        assert!(longest < Duration::from_secs(5), "a batch took {longest:?}");
    }

    async fn a_jobs_log_ends_at_its_limit_with_one_line_that_says_so(db) {
        let line = |text: &str| NewEvent::log("acquire", LogStream::Stdout, text);
        let size = line("1").data.to_string().len() as u64;
        let store = db.another().with_log_limit(LogLimit(2 * size));
        let (_, claim) = db.running_job().await;
        store.step_started(&claim, 0, "acquire").await.unwrap();
        for text in ["1", "2", "3", "4"] {
            store.append(&claim, line(text)).await.unwrap();
        }
        let task = TaskProgress { name: "t".to_owned(), status: TaskStatus::Ok, duration_ms: None, message: None };
        store.append(&claim, NewEvent::task("acquire", &task)).await.unwrap();
        store.append(&claim, line("5")).await.unwrap();
        store.step_finished(&claim, "acquire", StepStatus::Succeeded, None).await.unwrap();
        let filter = EventFilter { after: 0, job_id: Some(claim.job_id), limit: 100 };
        let events = store.events(&filter).await.unwrap();
        let log: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Log).collect();
        assert_eq!(log.len(), 3, "{log:?}");
        assert_eq!((&log[0].data["line"], &log[1].data["line"]), (&"1".into(), &"2".into()));
        assert_eq!(log[2].data["truncated"], true);
        let kinds: Vec<_> = events.iter().rev().take(2).map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Step, EventKind::Task], "what is not log is kept");

        // Another attempt has a log of its own; a run that goes on does not.
        store.finish(&claim, &Outcome::Yielded).await.unwrap();
        let again = db.claim().await.unwrap().claim;
        store.append(&again, line("6")).await.unwrap();
        let retry = Outcome::Retry { failure: failure("no answer"), run_after: db.now() };
        store.finish(&again, &retry).await.unwrap();
        let again = db.claim().await.unwrap().claim;
        for text in ["7", "8", "9", "10"] {
            store.append(&again, line(text)).await.unwrap();
        }
        let events = store.events(&filter).await.unwrap();
        let log: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Log).skip(3).collect();
        assert_eq!(log.len(), 3, "{log:?}");
        assert_eq!((&log[0].data["line"], &log[1].data["line"]), (&"7".into(), &"8".into()));
        assert_eq!(log[2].data["truncated"], true);

        // Another job has a log of its own.
        let (_, other) = db.running_job().await;
        store.append(&other, line("1")).await.unwrap();
        let filter = EventFilter { job_id: Some(other.job_id), ..filter };
        let last = store.events(&filter).await.unwrap().pop().unwrap();
        assert_eq!(last.data["line"], "1");
    }

    async fn a_worker_that_lost_its_claim_learns_it_from_a_line_beyond_the_limit_too(db) {
        let store = db.another().with_log_limit(LogLimit(1));
        let (_, claim) = db.running_job().await;
        let line = || NewEvent::log("acquire", LogStream::Stdout, "hello");
        store.append(&claim, line()).await.unwrap();
        store.append(&claim, line()).await.unwrap();
        store.recover(jobs::Recover::All).await.unwrap();
        let refused = store.append(&claim, line()).await;
        assert!(matches!(refused, Err(StoreError::LostLease)), "{refused:?}");
    }
}
