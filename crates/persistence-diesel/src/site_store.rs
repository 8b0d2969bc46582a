//! Sites, environments and backups, each change with the jobs and events that belong to it.

use ::jobs::{Claim, NewJob, Outcome, Page, PageRequest, StoreError};
use accounts_domain::AuditAction;
use async_trait::async_trait;
use diesel::dsl::{count_star, max, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use domain_kernel::{AccountId, BackupId, EnvironmentId, NodeId, SiteId, Timestamp};
use nodes_domain::Idempotency;
use sites_domain::{
    Backup, BackupFilter, BackupTrigger, Change, CreatedInSite, DueBackups, Environment, Expected, NodeLoad, Site,
    SiteFilter, SiteName, SiteStore,
};

use crate::Database;
use crate::attention::site_is_unsaved;
use crate::claim::fenced;
use crate::connection::AnyBackend;
use crate::due_backups;
use crate::error::DbError;
use crate::idempotency::{self, told};
use crate::job_writes;
use crate::rows::{BackupRow, EnvironmentRow, JobRow, SiteRow, read, read_optional};
use crate::schema::{backups, environments, sites};
use crate::search::is_in_one;
use crate::site_audit;
use crate::site_writes::{change_all, check, environment_row};

#[async_trait]
impl SiteStore for Database {
    async fn enqueue(
        &self,
        expected: Vec<Expected>,
        changes: Vec<Change>,
        job: NewJob,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedInSite, StoreError> {
        let created = self.write(move |connection, now| {
            if let Some(key) = &idempotency
                && let Some(earlier) = idempotency::replay(connection, key)?
            {
                return created(&earlier, true);
            }
            check(connection, &expected)?;
            let row = job_writes::insert_job(connection, now, &job)?;
            change_all(connection, now, Some(&row), &changes)?;
            if let Some(key) = &idempotency {
                idempotency::remember(connection, now, key, job.id, None)?;
            }
            created(&row, false)
        });
        Ok(created.await?)
    }

    async fn apply(
        &self,
        expected: Vec<Expected>,
        changes: Vec<Change>,
        by: Option<AccountId>,
    ) -> Result<(), StoreError> {
        let applied = self.write(move |connection, now| {
            check(connection, &expected)?;
            if let Some(by) = by {
                site_audit::changes(connection, now, &by.to_string(), &changes)?;
            }
            change_all(connection, now, None, &changes)
        });
        Ok(applied.await?)
    }

    async fn change_in_job(&self, claim: &Claim, changes: Vec<Change>) -> Result<(), StoreError> {
        let claim = claim.clone();
        let changed = self.write(move |connection, now| {
            let job = fenced(connection, &claim)?;
            change_all(connection, now, Some(&job), &changes)
        });
        Ok(changed.await?)
    }

    async fn settle_job(&self, claim: &Claim, outcome: &Outcome, changes: Vec<Change>) -> Result<(), StoreError> {
        let (claim, outcome) = (claim.clone(), outcome.clone());
        let settled = self.write(move |connection, now| {
            let job = job_writes::end_run(connection, now, &claim, &outcome)?;
            change_all(connection, now, Some(&job), &changes)
        });
        Ok(settled.await?)
    }

    async fn site(&self, id: SiteId) -> Result<Option<Site>, StoreError> {
        let found = self.read(move |connection| {
            let row = sites::table.find(id.to_string()).select(SiteRow::as_select());
            row.first(connection).optional()?.map(Site::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn sites(&self, filter: &SiteFilter, page: &PageRequest) -> Result<Page<Site>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        let found = self.read(move |connection| {
            let mut query = sites::table
                .select(SiteRow::as_select())
                .order(sites::id.desc())
                .limit(i64::from(page.limit) + 1)
                .into_boxed::<AnyBackend>();
            if let Some(search) = &filter.search {
                let texts = ["sites.name", "sites.slug"].map(str::to_owned);
                query = query.filter(is_in_one(connection, &texts, search));
            }
            if let Some(status) = filter.status {
                query = query.filter(sites::status.eq(status.as_str()));
            }
            if let Some(id) = filter.node_id {
                let there = environments::table.filter(environments::node_id.eq(id.to_string()));
                query = query.filter(sites::id.eq_any(there.select(environments::site_id)));
            }
            if let Some(cut) = filter.unsaved {
                query = query.filter(sql::<Bool>(&site_is_unsaved(cut)));
            }
            if let Some(after) = &page.after {
                query = query.filter(sites::id.lt(after));
            }
            let items = query.load(connection)?.into_iter().map(Site::try_from);
            let items = items.collect::<Result<Vec<_>, _>>()?;
            Ok(Page::from_overfull(items, page.limit, |site| site.id.to_string()))
        });
        Ok(found.await?)
    }

    async fn site_names(&self, ids: &[SiteId], newest: u32) -> Result<Vec<(SiteId, SiteName)>, StoreError> {
        let ids: Vec<String> = ids.iter().map(SiteId::to_string).collect();
        let found = self.read(move |connection| {
            let of_newest: Vec<String> = sites::table
                .order(sites::id.desc())
                .limit(i64::from(newest))
                .select(sites::id)
                .load(connection)?;
            let rows: Vec<(String, String)> = sites::table
                .filter(sites::id.eq_any(of_newest.into_iter().chain(ids)))
                .order(sites::id.desc())
                .select((sites::id, sites::name))
                .load(connection)?;
            rows.iter()
                .map(|(id, name)| Ok((read("sites.id", id)?, read("sites.name", name)?)))
                .collect()
        });
        Ok(found.await?)
    }

    async fn site_count(&self) -> Result<u64, StoreError> {
        let count = self.read(|connection| Ok(sites::table.count().get_result::<i64>(connection)?));
        Ok(count.await?.unsigned_abs())
    }

    async fn environment(&self, id: EnvironmentId) -> Result<Option<Environment>, StoreError> {
        let found = self.read(move |connection| {
            let row = environments::table
                .find(id.to_string())
                .select(EnvironmentRow::as_select());
            row.first(connection).optional()?.map(Environment::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn environments(&self, site_id: SiteId) -> Result<Vec<Environment>, StoreError> {
        let found = self.read(move |connection| {
            let rows: Vec<EnvironmentRow> = environments::table
                .filter(environments::site_id.eq(site_id.to_string()))
                .order(environments::id)
                .select(EnvironmentRow::as_select())
                .load(connection)?;
            rows.into_iter().map(Environment::try_from).collect()
        });
        Ok(found.await?)
    }

    async fn environments_on(&self, node_id: NodeId) -> Result<Vec<Environment>, StoreError> {
        let found = self.read(move |connection| {
            let rows: Vec<EnvironmentRow> = environments::table
                .filter(environments::node_id.eq(node_id.to_string()))
                .order(environments::id)
                .select(EnvironmentRow::as_select())
                .load(connection)?;
            rows.into_iter().map(Environment::try_from).collect()
        });
        Ok(found.await?)
    }

    async fn environments_by_ids(&self, ids: &[EnvironmentId]) -> Result<Vec<Environment>, StoreError> {
        let ids: Vec<String> = ids.iter().map(EnvironmentId::to_string).collect();
        let found = self.read(move |connection| {
            let rows: Vec<EnvironmentRow> = environments::table
                .filter(environments::id.eq_any(ids))
                .order(environments::id)
                .select(EnvironmentRow::as_select())
                .load(connection)?;
            rows.into_iter().map(Environment::try_from).collect()
        });
        Ok(found.await?)
    }

    async fn sealed_secrets(&self, id: EnvironmentId) -> Result<Option<String>, StoreError> {
        let found = self.read(move |connection| {
            let secrets = environments::table.find(id.to_string());
            let secrets = secrets.select(environments::sealed_secrets);
            Ok(secrets.first(connection).optional()?)
        });
        Ok(found.await?)
    }

    async fn record_login_shown(&self, id: EnvironmentId, by: AccountId) -> Result<(), StoreError> {
        let recorded = self.write(move |connection, now| {
            let row = environment_row(connection, &id.to_string())?;
            let by = by.to_string();
            site_audit::environment(connection, now, &by, AuditAction::LoginShown, &row, None)
        });
        Ok(recorded.await?)
    }

    async fn node_loads(&self) -> Result<Vec<NodeLoad>, StoreError> {
        let found = self.read(|connection| {
            let rows: Vec<(String, i64)> = environments::table
                .group_by(environments::node_id)
                .select((environments::node_id, count_star()))
                .order(environments::node_id)
                .load(connection)?;
            rows.into_iter()
                .map(|(node_id, environments)| {
                    Ok(NodeLoad {
                        node_id: read("environments.node_id", &node_id)?,
                        environments: environments.unsigned_abs(),
                    })
                })
                .collect()
        });
        Ok(found.await?)
    }

    async fn backup(&self, id: BackupId) -> Result<Option<Backup>, StoreError> {
        let found = self.read(move |connection| {
            let row = backups::table.find(id.to_string()).select(BackupRow::as_select());
            row.first(connection).optional()?.map(Backup::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn backups(&self, filter: &BackupFilter, page: &PageRequest) -> Result<Page<Backup>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        let found = self.read(move |connection| {
            let mut query = backups::table
                .select(BackupRow::as_select())
                .order(backups::id.desc())
                .limit(i64::from(page.limit) + 1)
                .into_boxed::<AnyBackend>();
            if let Some(id) = filter.environment_id {
                query = query.filter(backups::environment_id.eq(id.to_string()));
            }
            if let Some(id) = filter.site_id {
                query = query.filter(backups::site_id.eq(id.to_string()));
            }
            if let Some(status) = filter.status {
                query = query.filter(backups::status.eq(status.as_str()));
            }
            if let Some(id) = filter.job_id {
                query = query.filter(backups::job_id.eq(id.to_string()));
            }
            if let Some(after) = &page.after {
                query = query.filter(backups::id.lt(after));
            }
            let items = query.load(connection)?.into_iter().map(Backup::try_from);
            let items = items.collect::<Result<Vec<_>, _>>()?;
            Ok(Page::from_overfull(items, page.limit, |backup| backup.id.to_string()))
        });
        Ok(found.await?)
    }

    async fn newest_backups(&self, ids: &[EnvironmentId]) -> Result<Vec<(EnvironmentId, Timestamp)>, StoreError> {
        let ids: Vec<String> = ids.iter().map(EnvironmentId::to_string).collect();
        let found = self.read(move |connection| {
            // The status as plain text, so that the databases take the index that is made for it.
            let rows: Vec<(String, Option<i64>)> = backups::table
                .filter(backups::environment_id.eq_any(ids))
                .filter(sql::<Bool>("backups.status = 'completed'"))
                .filter(backups::trigger.ne(BackupTrigger::Checkpoint.as_str()))
                .group_by(backups::environment_id)
                .order(backups::environment_id)
                .select((backups::environment_id, max(backups::completed_at)))
                .load(connection)?;
            let newest = rows
                .iter()
                .filter_map(|(id, at)| Some((id, Timestamp::from_micros((*at)?))));
            newest
                .map(|(id, at)| Ok((read("backups.environment_id", id)?, at)))
                .collect()
        });
        Ok(found.await?)
    }

    async fn due_backups(&self, now: Timestamp, after: Option<BackupId>) -> Result<DueBackups, StoreError> {
        let found = self.read(move |connection| due_backups::due(connection, now, after));
        Ok(found.await?)
    }
}

/// What a job stands for. One that works on no environment was not asked for here.
fn created(job: &JobRow, replayed: bool) -> Result<CreatedInSite, DbError> {
    Ok(CreatedInSite {
        job_id: job.id()?,
        site_id: told("jobs.site_id", job.site_id.as_deref())?,
        environment_id: told("jobs.environment_id", job.environment_id.as_deref())?,
        backup_id: read_optional("jobs.backup_id", job.backup_id.as_deref())?,
        replayed,
    })
}
