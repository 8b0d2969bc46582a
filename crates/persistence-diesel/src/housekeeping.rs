//! Throws away what is not wanted any more. What may go is looked for by readers, who hold nobody up; a writer then
//! removes it by its keys. What may go once may go for ever: an ended job does not begin again, and a newest job that is
//! not the newest any more does not become it again.

use ::jobs::{Housekeeping, PruneCut, Pruned, StoreError};
use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::Database;
use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::schema::{audit, events, idempotency_keys, jobs, sessions};

/// Jobs that ended before `$1`, the first to end first, `$2` at most. The newest job of a node as such is none of them, nor
/// is that of a site that is still there.
const OLD_JOBS: &str = "SELECT job.id FROM jobs AS job
    WHERE job.finished_at < $1 AND job.status NOT IN ('queued', 'running')
        AND CASE
            WHEN job.site_id IS NOT NULL THEN NOT EXISTS (SELECT 1 FROM sites WHERE sites.id = job.site_id)
                OR job.id < (SELECT MAX(newest.id) FROM jobs AS newest WHERE newest.site_id = job.site_id)
            ELSE job.node_id IS NULL OR job.id < (SELECT MAX(newest.id) FROM jobs AS newest
                WHERE newest.node_id = job.node_id AND newest.site_id IS NULL)
            END
    ORDER BY job.finished_at, job.id LIMIT $2";

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

#[derive(QueryableByName)]
struct Seq {
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

#[async_trait]
impl Housekeeping for Database {
    async fn prune(&self, cut: &PruneCut) -> Result<Pruned, StoreError> {
        let cut = *cut;
        let mut pruned = Pruned {
            sessions: self.remove(cut, ended_sessions, remove_sessions).await?,
            idempotency_keys: self.remove(cut, old_keys, remove_keys).await?,
            ..Pruned::default()
        };
        let batch = u64::from(cut.batch);
        // A job's events go before it does: those of one job alone can be more than a batch.
        let of_jobs = self.remove(cut, events_of_old_jobs, remove_events).await?;
        if of_jobs < batch {
            pruned.jobs = self.remove(cut, old_jobs_without_events, remove_jobs).await?;
        }
        let without_job = self.remove(cut, old_events_without_job, remove_events).await?;
        let too_many = self.remove(cut, events_over_the_limit, remove_events).await?;
        pruned.events = of_jobs + without_job + too_many;
        pruned.audit = self.remove(cut, old_audit, remove_audit).await?;
        let fullest = [
            pruned.sessions,
            pruned.idempotency_keys,
            of_jobs,
            pruned.jobs,
            without_job,
            too_many,
            pruned.audit,
        ];
        pruned.more = fullest.into_iter().any(|removed| removed >= batch);
        Ok(pruned)
    }
}

impl Database {
    /// Looks for what may go, then removes it. Writes nothing where there is nothing.
    async fn remove<K: Send + 'static>(
        &self,
        cut: PruneCut,
        find: fn(&mut AnyConnection, &PruneCut) -> Result<Vec<K>, DbError>,
        remove: fn(&mut AnyConnection, &[K]) -> Result<usize, DbError>,
    ) -> Result<u64, DbError> {
        let keys = self.read(move |connection| find(connection, &cut)).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        let removed = self.write(move |connection, _| remove(connection, &keys)).await?;
        Ok(removed as u64)
    }
}

fn ended_sessions(connection: &mut AnyConnection, cut: &PruneCut) -> Result<Vec<String>, DbError> {
    Ok(sessions::table
        .filter(sessions::expires_at.le(cut.now.as_micros()))
        .order(sessions::expires_at)
        .limit(i64::from(cut.batch))
        .select(sessions::token_hash)
        .load(connection)?)
}

fn remove_sessions(connection: &mut AnyConnection, hashes: &[String]) -> Result<usize, DbError> {
    Ok(diesel::delete(sessions::table.filter(sessions::token_hash.eq_any(hashes))).execute(connection)?)
}

/// A key of an account; two columns make it.
type Key = (String, String);

fn old_keys(connection: &mut AnyConnection, cut: &PruneCut) -> Result<Vec<Key>, DbError> {
    Ok(idempotency_keys::table
        .filter(idempotency_keys::created_at.lt(cut.finished_before.as_micros()))
        .order(idempotency_keys::created_at)
        .limit(i64::from(cut.batch))
        .select((idempotency_keys::account_id, idempotency_keys::key))
        .load(connection)?)
}

fn remove_keys(connection: &mut AnyConnection, keys: &[Key]) -> Result<usize, DbError> {
    let mut removed = 0;
    for (account_id, key) in keys {
        removed += diesel::delete(idempotency_keys::table.find((account_id, key))).execute(connection)?;
    }
    Ok(removed)
}

fn events_of_old_jobs(connection: &mut AnyConnection, cut: &PruneCut) -> Result<Vec<i64>, DbError> {
    let statement = format!("SELECT seq FROM events WHERE job_id IN ({OLD_JOBS}) LIMIT $2");
    let found: Vec<Seq> = diesel::sql_query(statement)
        .bind::<BigInt, _>(cut.finished_before.as_micros())
        .bind::<BigInt, _>(i64::from(cut.batch))
        .load(connection)?;
    Ok(found.into_iter().map(|row| row.seq).collect())
}

fn old_events_without_job(connection: &mut AnyConnection, cut: &PruneCut) -> Result<Vec<i64>, DbError> {
    Ok(events::table
        .filter(events::job_id.is_null())
        .filter(events::at.lt(cut.finished_before.as_micros()))
        .order(events::at)
        .limit(i64::from(cut.batch))
        .select(events::seq)
        .load(connection)?)
}

fn events_over_the_limit(connection: &mut AnyConnection, cut: &PruneCut) -> Result<Vec<i64>, DbError> {
    let count: i64 = events::table.count().get_result(connection)?;
    let excess = count
        .unsigned_abs()
        .saturating_sub(cut.max_events)
        .min(u64::from(cut.batch));
    if excess == 0 {
        return Ok(Vec::new());
    }
    let statement = "SELECT event.seq FROM events AS event
        WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = event.job_id AND jobs.status IN ('queued', 'running'))
        ORDER BY event.seq LIMIT $1";
    let found: Vec<Seq> = diesel::sql_query(statement)
        .bind::<BigInt, _>(excess.cast_signed())
        .load(connection)?;
    Ok(found.into_iter().map(|row| row.seq).collect())
}

fn remove_events(connection: &mut AnyConnection, seqs: &[i64]) -> Result<usize, DbError> {
    Ok(diesel::delete(events::table.filter(events::seq.eq_any(seqs))).execute(connection)?)
}

fn old_jobs_without_events(connection: &mut AnyConnection, cut: &PruneCut) -> Result<Vec<String>, DbError> {
    let statement = format!(
        "SELECT old.id FROM ({OLD_JOBS}) AS old WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.job_id = old.id)"
    );
    let found: Vec<Id> = diesel::sql_query(statement)
        .bind::<BigInt, _>(cut.finished_before.as_micros())
        .bind::<BigInt, _>(i64::from(cut.batch))
        .load(connection)?;
    Ok(found.into_iter().map(|row| row.id).collect())
}

/// Steps and exclusion keys go with their job.
fn remove_jobs(connection: &mut AnyConnection, ids: &[String]) -> Result<usize, DbError> {
    Ok(diesel::delete(jobs::table.filter(jobs::id.eq_any(ids))).execute(connection)?)
}

fn old_audit(connection: &mut AnyConnection, cut: &PruneCut) -> Result<Vec<i64>, DbError> {
    Ok(audit::table
        .filter(audit::at.lt(cut.audit_before.as_micros()))
        .order(audit::at)
        .limit(i64::from(cut.batch))
        .select(audit::id)
        .load(connection)?)
}

fn remove_audit(connection: &mut AnyConnection, ids: &[i64]) -> Result<usize, DbError> {
    Ok(diesel::delete(audit::table.filter(audit::id.eq_any(ids))).execute(connection)?)
}
