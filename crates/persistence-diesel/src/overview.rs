//! The overview, read in one transaction. Each part finds the ids of its first things and how many there are by one
//! statement, then reads those few whole. The statements name statuses as plain text, so that the databases take the indexes
//! that are made for them.

use std::collections::HashMap;

use ::jobs::{Job, JobKind, JobStatus, StoreError};
use async_trait::async_trait;
use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Bool, Text};
use domain_kernel::{EnvironmentId, SiteId, Timestamp};
use nodes_domain::{Node, NodeStatus};
use sites_domain::{
    BackupTrigger, Counted, EndedJobs, Environment, EnvironmentOfSite, NamedJob, Overview, OverviewCut, OverviewStore,
    Saved, Site, Totals, Troubled, UnsavedSite,
};

use crate::Database;
use crate::attention::{node_is_ready, node_needs_attention, site_is_unsaved};
use crate::connection::{AnyBackend, AnyConnection};
use crate::error::DbError;
use crate::job_catalog::with_steps;
use crate::rows::{EnvironmentRow, JobRow, NodeRow, SiteRow, read, read_optional};
use crate::schema::{backups, environments, jobs, nodes, sites};

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;

/// They work on all environments of a site, and name its production one.
const REMOVALS_OF_A_SITE: [JobKind; 2] = [JobKind::SiteDelete, JobKind::SiteAbandon];

/// Failed jobs later than `$1` that were not made up for and are not told by what they work on ([`Overview::failed_jobs`]). Its
/// environment is named as an expression, as in the index of later jobs: SQLite takes that index for nothing else.
pub(crate) const FAILED_JOBS: &str = "SELECT jobs.id, COUNT(*) OVER () AS total FROM jobs
    JOIN environments ON environments.id = jobs.environment_id AND environments.status <> 'failed'
    JOIN sites ON sites.id = environments.site_id AND sites.status <> 'failed'
    WHERE jobs.status = 'failed' AND jobs.finished_at >= $1
        AND (jobs.kind = 'backup_create' OR (environments.status = 'active'
            AND (environments.proved_at IS NULL OR environments.proved_at <= jobs.finished_at)))
        AND NOT EXISTS (SELECT 1 FROM jobs AS later
            WHERE COALESCE(later.environment_id, later.node_id) = COALESCE(jobs.environment_id, jobs.node_id)
                AND later.kind = jobs.kind AND later.id > jobs.id AND later.status <> 'cancelled')
    ORDER BY jobs.id DESC LIMIT $2";

const FAILED_ENVIRONMENTS: &str = "SELECT environments.id, COUNT(*) OVER () AS total FROM environments
    JOIN sites ON sites.id = environments.site_id AND sites.status <> 'failed'
    WHERE environments.status = 'failed' ORDER BY environments.id DESC LIMIT $1";

/// Jobs that ended later than `$1`, by hour (hours since 1970) and status.
const ENDED: &str = "SELECT finished_at / 3600000000 AS hour, status, COUNT(*) AS jobs FROM jobs
    WHERE finished_at >= $1 GROUP BY finished_at / 3600000000, status ORDER BY 1, 2";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    total: i64,
}

#[derive(QueryableByName)]
struct TotalsRow {
    #[diesel(sql_type = BigInt)]
    nodes_active: i64,
    #[diesel(sql_type = BigInt)]
    nodes_ready: i64,
    #[diesel(sql_type = BigInt)]
    nodes: i64,
    #[diesel(sql_type = BigInt)]
    sites: i64,
    #[diesel(sql_type = BigInt)]
    environments: i64,
    #[diesel(sql_type = BigInt)]
    jobs_running: i64,
    #[diesel(sql_type = BigInt)]
    jobs_queued: i64,
    #[diesel(sql_type = BigInt)]
    backups: i64,
    #[diesel(sql_type = BigInt)]
    backup_bytes: i64,
}

#[derive(QueryableByName)]
struct EndedRow {
    #[diesel(sql_type = BigInt)]
    hour: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    jobs: i64,
}

#[async_trait]
impl OverviewStore for Database {
    async fn overview(&self, cut: OverviewCut) -> Result<Overview, StoreError> {
        let found = self.read(move |connection| {
            let limit = i64::from(cut.limit);
            let failed_since = cut.failed_since.as_micros();
            let running = newest("jobs", "status = 'running' AND finished_at IS NULL");
            let failed = statement(FAILED_JOBS).bind::<BigInt, _>(failed_since);
            Ok(Overview {
                nodes: nodes_in_trouble(connection, limit)?,
                failed_jobs: named_jobs(connection, failed.bind::<BigInt, _>(limit))?,
                failed_sites: failed_sites(connection, limit)?,
                failed_environments: failed_environments(connection, limit)?,
                unsaved_sites: unsaved_sites(connection, cut)?,
                running_jobs: named_jobs(connection, statement(&running).bind::<BigInt, _>(limit))?,
                totals: totals(connection)?,
                ended: ended(connection, cut.ended_since)?,
            })
        });
        Ok(found.await?)
    }
}

type Statement<'a> = BoxedSqlQuery<'a, AnyBackend, SqlQuery>;

fn statement(text: &str) -> Statement<'_> {
    diesel::sql_query(text).into_boxed()
}

/// The statement that finds the newest rows of `table` for which `condition` holds.
fn newest(table: &str, condition: &str) -> String {
    format!(
        "SELECT {table}.id, COUNT(*) OVER () AS total FROM {table} WHERE {condition} ORDER BY {table}.id DESC LIMIT $1"
    )
}

/// The ids that a statement finds, and how many there are beyond its limit.
fn first(connection: &mut AnyConnection, statement: Statement<'_>) -> Result<Counted<String>, DbError> {
    let found: Vec<Found> = statement.load(connection)?;
    Ok(Counted {
        count: found.first().map_or(0, |row| row.total.unsigned_abs()),
        items: found.into_iter().map(|row| row.id).collect(),
    })
}

/// The newest rows of `table` for which `condition` holds.
fn first_of(
    connection: &mut AnyConnection,
    table: &str,
    condition: &str,
    limit: i64,
) -> Result<Counted<String>, DbError> {
    first(
        connection,
        statement(&newest(table, condition)).bind::<BigInt, _>(limit),
    )
}

fn nodes_in_trouble(connection: &mut AnyConnection, limit: i64) -> Result<Counted<Troubled<Node>>, DbError> {
    let condition = node_needs_attention(connection);
    let found = first_of(connection, "nodes", &condition, limit)?;
    let rows: Vec<NodeRow> = nodes::table
        .filter(nodes::id.eq_any(found.items))
        .order(nodes::id.desc())
        .select(NodeRow::as_select())
        .load(connection)?;
    let nodes = rows.into_iter().map(Node::try_from).collect::<Result<Vec<_>, _>>()?;
    let failed = nodes.iter().filter(|node| node.status == NodeStatus::Failed);
    let failed: Vec<String> = failed.map(|node| node.id.to_string()).collect();
    let newest: Vec<Option<String>> = jobs::table
        .filter(jobs::node_id.eq_any(failed))
        .filter(jobs::site_id.is_null())
        .group_by(jobs::node_id)
        .select(max(jobs::id))
        .load(connection)?;
    let jobs = failed_of(connection, newest)?;
    let with_job = |node: Node| Troubled {
        failed_job: jobs.iter().find(|job| job.node_id == Some(node.id)).cloned(),
        thing: node,
    };
    Ok(Counted {
        items: nodes.into_iter().map(with_job).collect(),
        count: found.count,
    })
}

/// Those of these jobs that failed.
fn failed_of(connection: &mut AnyConnection, ids: Vec<Option<String>>) -> Result<Vec<Job>, DbError> {
    let rows: Vec<JobRow> = jobs::table
        .filter(jobs::id.eq_any(ids.into_iter().flatten()))
        .filter(jobs::status.eq(JobStatus::Failed.as_str()))
        .select(JobRow::as_select())
        .load(connection)?;
    rows.into_iter().map(Job::try_from).collect()
}

/// The newest job that changes each of these environments, where it failed: one of its own, or one that removes its
/// whole site. The sites are theirs: jobs are found by them.
fn changed_by(
    connection: &mut AnyConnection,
    of: &[(SiteId, EnvironmentId)],
) -> Result<HashMap<EnvironmentId, Job>, DbError> {
    type Newest = Vec<(Option<String>, Option<String>)>;
    let sites: Vec<String> = of.iter().map(|(site, _)| site.to_string()).collect();
    let own: Newest = jobs::table
        .filter(jobs::site_id.eq_any(&sites))
        .filter(jobs::environment_id.eq_any(of.iter().map(|(_, environment)| environment.to_string())))
        .filter(jobs::kind.ne(JobKind::BackupCreate.as_str()))
        .group_by(jobs::environment_id)
        .select((jobs::environment_id, max(jobs::id)))
        .load(connection)?;
    let removals: Newest = jobs::table
        .filter(jobs::site_id.eq_any(&sites))
        .filter(jobs::kind.eq_any(REMOVALS_OF_A_SITE.map(JobKind::as_str)))
        .group_by(jobs::site_id)
        .select((jobs::site_id, max(jobs::id)))
        .load(connection)?;
    let newest = own.into_iter().chain(removals);
    let newest: HashMap<String, String> = newest.filter_map(|(of, job)| Some((of?, job?))).collect();
    let by = |(site, environment): &(SiteId, EnvironmentId)| {
        let own = newest.get(&environment.to_string());
        own.max(newest.get(&site.to_string())).cloned()
    };
    let failed = failed_of(connection, of.iter().map(by).collect())?;
    let failed: HashMap<String, Job> = failed.into_iter().map(|job| (job.id.to_string(), job)).collect();
    let with_job = |one: &(SiteId, EnvironmentId)| Some((one.1, failed.get(&by(one)?)?.clone()));
    Ok(of.iter().filter_map(with_job).collect())
}

fn named_jobs(connection: &mut AnyConnection, jobs: Statement<'_>) -> Result<Counted<NamedJob>, DbError> {
    type Names = (Option<String>, Option<String>, Option<String>);
    let found = first(connection, jobs)?;
    let rows: Vec<(JobRow, Names)> = jobs::table
        .left_join(nodes::table.on(jobs::node_id.eq(nodes::id.nullable())))
        .left_join(sites::table.on(jobs::site_id.eq(sites::id.nullable())))
        .left_join(environments::table.on(jobs::environment_id.eq(environments::id.nullable())))
        .filter(jobs::id.eq_any(found.items))
        .order(jobs::id.desc())
        .select((
            JobRow::as_select(),
            (
                nodes::name.nullable(),
                sites::name.nullable(),
                environments::name.nullable(),
            ),
        ))
        .load(connection)?;
    let (rows, names): (Vec<JobRow>, Vec<Names>) = rows.into_iter().unzip();
    let named = with_steps(connection, rows)?.into_iter().zip(names);
    let items = named.map(|(view, (node, site, environment))| {
        Ok(NamedJob {
            view,
            node: read_optional("nodes.name", node.as_deref())?,
            site: read_optional("sites.name", site.as_deref())?,
            environment: read_optional("environments.name", environment.as_deref())?,
        })
    });
    Ok(Counted {
        items: items.collect::<Result<_, DbError>>()?,
        count: found.count,
    })
}

fn failed_sites(connection: &mut AnyConnection, limit: i64) -> Result<Counted<Troubled<Site>>, DbError> {
    let found = first_of(connection, "sites", "status = 'failed'", limit)?;
    let sites = sites_of(connection, found.items)?;
    let of: Vec<_> = sites
        .iter()
        .map(|site| (site.id, site.primary_environment_id))
        .collect();
    let mut jobs = changed_by(connection, &of)?;
    let with_job = |site: Site| Troubled {
        failed_job: jobs.remove(&site.primary_environment_id),
        thing: site,
    };
    Ok(Counted {
        items: sites.into_iter().map(with_job).collect(),
        count: found.count,
    })
}

fn sites_of(connection: &mut AnyConnection, ids: Vec<String>) -> Result<Vec<Site>, DbError> {
    let rows: Vec<SiteRow> = sites::table
        .filter(sites::id.eq_any(ids))
        .order(sites::id.desc())
        .select(SiteRow::as_select())
        .load(connection)?;
    rows.into_iter().map(Site::try_from).collect()
}

fn failed_environments(
    connection: &mut AnyConnection,
    limit: i64,
) -> Result<Counted<Troubled<EnvironmentOfSite>>, DbError> {
    let found = first(connection, statement(FAILED_ENVIRONMENTS).bind::<BigInt, _>(limit))?;
    let rows: Vec<(EnvironmentRow, String)> = environments::table
        .inner_join(sites::table.on(sites::id.eq(environments::site_id)))
        .filter(environments::id.eq_any(found.items))
        .order(environments::id.desc())
        .select((EnvironmentRow::as_select(), sites::name))
        .load(connection)?;
    let rows = rows.into_iter().map(|(row, site)| {
        Ok(EnvironmentOfSite {
            environment: Environment::try_from(row)?,
            site: read("sites.name", &site)?,
        })
    });
    let environments = rows.collect::<Result<Vec<_>, DbError>>()?;
    let ids = |of: &EnvironmentOfSite| (of.environment.site_id, of.environment.id);
    let mut jobs = changed_by(connection, &environments.iter().map(ids).collect::<Vec<_>>())?;
    let with_job = |of: EnvironmentOfSite| Troubled {
        failed_job: jobs.remove(&of.environment.id),
        thing: of,
    };
    Ok(Counted {
        items: environments.into_iter().map(with_job).collect(),
        count: found.count,
    })
}

fn unsaved_sites(connection: &mut AnyConnection, cut: OverviewCut) -> Result<Counted<UnsavedSite>, DbError> {
    let found = first_of(connection, "sites", &site_is_unsaved(cut.backups), i64::from(cut.limit))?;
    let sites = sites_of(connection, found.items)?;
    let of = sites.iter().map(|site| site.primary_environment_id.to_string());
    let newest: Vec<(String, String, Option<i64>)> = backups::table
        .filter(backups::environment_id.eq_any(of))
        .filter(sql::<Bool>("backups.status = 'completed'"))
        .filter(backups::trigger.ne(BackupTrigger::Checkpoint.as_str()))
        .group_by((backups::environment_id, backups::scope))
        .select((backups::environment_id, backups::scope, max(backups::completed_at)))
        .load(connection)?;
    let mut saved: HashMap<EnvironmentId, Saved> = HashMap::new();
    for (id, scope, newest) in newest {
        if let Some(newest) = newest {
            let saved = saved.entry(read("backups.environment_id", &id)?).or_default();
            saved.add(read("backups.scope", &scope)?, Timestamp::from_micros(newest));
        }
    }
    let items = sites.into_iter().map(|site| UnsavedSite {
        saved: saved.get(&site.primary_environment_id).copied().unwrap_or_default(),
        site,
    });
    Ok(Counted {
        items: items.collect(),
        count: found.count,
    })
}

fn totals(connection: &mut AnyConnection) -> Result<Totals, DbError> {
    let is_ready = node_is_ready(connection);
    let row: TotalsRow = diesel::sql_query(format!(
        "SELECT
            (SELECT COUNT(*) FROM nodes WHERE status = 'active') AS nodes_active,
            (SELECT COUNT(*) FROM nodes WHERE {is_ready}) AS nodes_ready,
            (SELECT COUNT(*) FROM nodes WHERE status <> 'decommissioned') AS nodes,
            (SELECT COUNT(*) FROM sites) AS sites,
            (SELECT COUNT(*) FROM environments) AS environments,
            (SELECT COUNT(*) FROM jobs WHERE status = 'running' AND finished_at IS NULL) AS jobs_running,
            (SELECT COUNT(*) FROM jobs WHERE status = 'queued' AND finished_at IS NULL) AS jobs_queued,
            COUNT(*) AS backups, CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS backup_bytes
        FROM backups WHERE status = 'completed'"
    ))
    .get_result(connection)?;
    Ok(Totals {
        nodes_active: row.nodes_active.unsigned_abs(),
        nodes_ready: row.nodes_ready.unsigned_abs(),
        nodes: row.nodes.unsigned_abs(),
        sites: row.sites.unsigned_abs(),
        environments: row.environments.unsigned_abs(),
        jobs_running: row.jobs_running.unsigned_abs(),
        jobs_queued: row.jobs_queued.unsigned_abs(),
        backups: row.backups.unsigned_abs(),
        backup_bytes: row.backup_bytes.unsigned_abs(),
    })
}

fn ended(connection: &mut AnyConnection, since: Timestamp) -> Result<Vec<EndedJobs>, DbError> {
    let rows = diesel::sql_query(ENDED).bind::<BigInt, _>(since.as_micros());
    let rows: Vec<EndedRow> = rows.load(connection)?;
    rows.into_iter()
        .map(|row| {
            Ok(EndedJobs {
                hour: Timestamp::from_micros(row.hour * HOUR),
                status: read("jobs.status", &row.status)?,
                jobs: row.jobs.unsigned_abs(),
            })
        })
        .collect()
}
