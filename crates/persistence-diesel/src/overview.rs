//! The overview, read in one transaction. Each part finds the ids of its first things and how many there are by one
//! statement, then reads those few whole. The statements name statuses as plain text, so that the databases take the indexes
//! that are made for them.

use std::collections::HashMap;

use ::jobs::StoreError;
use async_trait::async_trait;
use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Bool, Text};
use domain_kernel::Timestamp;
use nodes_domain::Node;
use sites_domain::{
    Counted, EndedJobs, Environment, EnvironmentOfSite, NamedJob, Overview, OverviewCut, OverviewStore, Site, Totals,
    UnsavedSite,
};

use crate::Database;
use crate::connection::{AnyBackend, AnyConnection};
use crate::error::DbError;
use crate::job_catalog::with_steps;
use crate::rows::{EnvironmentRow, JobRow, NodeRow, SiteRow, read, read_optional};
use crate::schema::{backups, environments, jobs, nodes, sites};

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;

/// Nodes that need attention; `{is_ready}` is the stored readiness's field, read as each database reads JSON.
const NODES: &str = "SELECT id, COUNT(*) OVER () AS total FROM nodes
    WHERE status IN ('unreachable', 'failed') OR (status = 'active' AND {is_ready} IS NOT TRUE)
    ORDER BY id DESC LIMIT $1";

/// Failed jobs later than `$1` that were not made up for ([`Overview::failed_jobs`]).
const FAILED_JOBS: &str = "SELECT id, COUNT(*) OVER () AS total FROM jobs
    WHERE status = 'failed' AND finished_at >= $1
        AND (EXISTS (SELECT 1 FROM environments WHERE environments.id = jobs.environment_id)
            OR (environment_id IS NULL AND EXISTS
                (SELECT 1 FROM nodes WHERE nodes.id = jobs.node_id AND nodes.status <> 'decommissioned')))
        AND NOT EXISTS (SELECT 1 FROM jobs AS later
            WHERE COALESCE(later.environment_id, later.node_id) = COALESCE(jobs.environment_id, jobs.node_id)
                AND later.kind = jobs.kind AND later.id > jobs.id AND later.status <> 'cancelled')
    ORDER BY id DESC LIMIT $2";

const RUNNING_JOBS: &str =
    "SELECT id, COUNT(*) OVER () AS total FROM jobs WHERE status = 'running' AND finished_at IS NULL
    ORDER BY id DESC LIMIT $1";

const FAILED_SITES: &str = "SELECT id, COUNT(*) OVER () AS total FROM sites WHERE status = 'failed'
    ORDER BY id DESC LIMIT $1";

const FAILED_ENVIRONMENTS: &str = "SELECT environments.id, COUNT(*) OVER () AS total FROM environments
    JOIN sites ON sites.id = environments.site_id AND sites.status <> 'failed'
    WHERE environments.status = 'failed' ORDER BY environments.id DESC LIMIT $1";

/// Sites made before `$1` whose active production environment has no backup later than `$2`.
const UNSAVED_SITES: &str = "SELECT sites.id, COUNT(*) OVER () AS total FROM sites
    JOIN environments ON environments.id = sites.primary_environment_id AND environments.status = 'active'
    WHERE sites.created_at <= $1
        AND NOT EXISTS (SELECT 1 FROM backups WHERE backups.environment_id = environments.id
            AND backups.status = 'completed' AND backups.completed_at >= $2)
    ORDER BY sites.id DESC LIMIT $3";

const TOTALS: &str = "SELECT
        (SELECT COUNT(*) FROM nodes WHERE status = 'active') AS nodes_active,
        (SELECT COUNT(*) FROM nodes WHERE status <> 'decommissioned') AS nodes,
        (SELECT COUNT(*) FROM sites) AS sites,
        (SELECT COUNT(*) FROM environments) AS environments,
        (SELECT COUNT(*) FROM jobs WHERE status = 'running' AND finished_at IS NULL) AS jobs_running,
        (SELECT COUNT(*) FROM jobs WHERE status = 'queued' AND finished_at IS NULL) AS jobs_queued,
        COUNT(*) AS backups, CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS backup_bytes
    FROM backups WHERE status = 'completed'";

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
            let failed = statement(FAILED_JOBS).bind::<BigInt, _>(failed_since);
            Ok(Overview {
                nodes: nodes_in_trouble(connection, limit)?,
                failed_jobs: named_jobs(connection, failed.bind::<BigInt, _>(limit))?,
                failed_sites: failed_sites(connection, limit)?,
                failed_environments: failed_environments(connection, limit)?,
                unsaved_sites: unsaved_sites(connection, cut)?,
                running_jobs: named_jobs(connection, statement(RUNNING_JOBS).bind::<BigInt, _>(limit))?,
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

/// The ids that a statement finds, and how many there are beyond its limit.
fn first(connection: &mut AnyConnection, statement: Statement<'_>) -> Result<Counted<String>, DbError> {
    let found: Vec<Found> = statement.load(connection)?;
    Ok(Counted {
        count: found.first().map_or(0, |row| row.total.unsigned_abs()),
        items: found.into_iter().map(|row| row.id).collect(),
    })
}

fn nodes_in_trouble(connection: &mut AnyConnection, limit: i64) -> Result<Counted<Node>, DbError> {
    let is_ready = match connection {
        AnyConnection::Sqlite(_) => "json_extract(readiness, '$.is_ready')",
        AnyConnection::Postgres(_) => "(readiness::json ->> 'is_ready')::boolean",
    };
    let text = NODES.replace("{is_ready}", is_ready);
    let found = first(connection, statement(&text).bind::<BigInt, _>(limit))?;
    let rows: Vec<NodeRow> = nodes::table
        .filter(nodes::id.eq_any(found.items))
        .order(nodes::id.desc())
        .select(NodeRow::as_select())
        .load(connection)?;
    Ok(Counted {
        items: rows.into_iter().map(Node::try_from).collect::<Result<_, _>>()?,
        count: found.count,
    })
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

fn failed_sites(connection: &mut AnyConnection, limit: i64) -> Result<Counted<Site>, DbError> {
    let found = first(connection, statement(FAILED_SITES).bind::<BigInt, _>(limit))?;
    Ok(Counted {
        items: sites_of(connection, found.items)?,
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

fn failed_environments(connection: &mut AnyConnection, limit: i64) -> Result<Counted<EnvironmentOfSite>, DbError> {
    let found = first(connection, statement(FAILED_ENVIRONMENTS).bind::<BigInt, _>(limit))?;
    let rows: Vec<(EnvironmentRow, String)> = environments::table
        .inner_join(sites::table.on(sites::id.eq(environments::site_id)))
        .filter(environments::id.eq_any(found.items))
        .order(environments::id.desc())
        .select((EnvironmentRow::as_select(), sites::name))
        .load(connection)?;
    let items = rows.into_iter().map(|(row, site)| {
        Ok(EnvironmentOfSite {
            environment: Environment::try_from(row)?,
            site: read("sites.name", &site)?,
        })
    });
    Ok(Counted {
        items: items.collect::<Result<_, DbError>>()?,
        count: found.count,
    })
}

fn unsaved_sites(connection: &mut AnyConnection, cut: OverviewCut) -> Result<Counted<UnsavedSite>, DbError> {
    let unsaved = statement(UNSAVED_SITES)
        .bind::<BigInt, _>(cut.made_before.as_micros())
        .bind::<BigInt, _>(cut.backed_up_since.as_micros())
        .bind::<BigInt, _>(i64::from(cut.limit));
    let found = first(connection, unsaved)?;
    let sites = sites_of(connection, found.items)?;
    let of: Vec<String> = sites
        .iter()
        .map(|site| site.primary_environment_id.to_string())
        .collect();
    let newest: Vec<(String, Option<i64>)> = backups::table
        .filter(backups::environment_id.eq_any(of))
        .filter(sql::<Bool>("backups.status = 'completed'"))
        .group_by(backups::environment_id)
        .select((backups::environment_id, max(backups::completed_at)))
        .load(connection)?;
    let newest: HashMap<String, Option<i64>> = newest.into_iter().collect();
    let items = sites.into_iter().map(|site| {
        let newest = newest.get(&site.primary_environment_id.to_string()).copied().flatten();
        UnsavedSite {
            site,
            newest_backup: newest.map(Timestamp::from_micros),
        }
    });
    Ok(Counted {
        items: items.collect(),
        count: found.count,
    })
}

fn totals(connection: &mut AnyConnection) -> Result<Totals, DbError> {
    let row: TotalsRow = diesel::sql_query(TOTALS).get_result(connection)?;
    Ok(Totals {
        nodes_active: row.nodes_active.unsigned_abs(),
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
