//! Sites in memory, fenced by the claims of [`MemoryJobs`] and on the nodes of [`MemoryNodes`]: what a call changes
//! happens at once or not at all, as in one transaction.

mod overview;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounts_domain::AuditAction;
use async_trait::async_trait;
use domain_kernel::{AccountId, BackupId, Clock, EnvironmentId, JobId, NodeId, SiteId, Timestamp};
use jobs::{Claim, Job, NewJob, Outcome, Page, PageRequest, SearchText, StoreError};
use nodes_domain::Idempotency;
use sites_domain::{
    Backup, BackupFilter, Change, CreatedInSite, DueBackups, Environment, Expected, NodeLoad, Site, SiteFilter,
    SiteName, SiteStore,
};

use self::table::{StoredBackup, StoredEnvironment, Tables, Told};
use crate::{MemoryJobs, MemoryNodes};

/// Sites in memory. It gives way before and after every call, so that a test can drop a run between any two of them.
pub struct MemorySites {
    clock: Arc<dyn Clock>,
    jobs: Arc<MemoryJobs>,
    nodes: Arc<MemoryNodes>,
    tables: Mutex<Tables>,
}

impl MemorySites {
    /// No sites yet; their jobs are kept in `jobs`, and their environments live on `nodes`.
    pub fn new(clock: Arc<dyn Clock>, jobs: Arc<MemoryJobs>, nodes: Arc<MemoryNodes>) -> Self {
        Self {
            clock,
            jobs,
            nodes,
            tables: Mutex::new(Tables::default()),
        }
    }

    /// Writes a site as it is, without a job; one with the same id is replaced.
    pub fn put_site(&self, site: Site) {
        let mut tables = self.tables();
        tables.sites.retain(|known| known.id != site.id);
        tables.sites.push(site);
    }

    /// Writes an environment as it is, without a job; one with the same id is replaced.
    pub fn put_environment(&self, environment: Environment, sealed_secrets: &str) {
        let mut tables = self.tables();
        tables
            .environments
            .retain(|known| known.environment.id != environment.id);
        tables.environments.push(StoredEnvironment {
            environment,
            proved_at: None,
            sealed_secrets: sealed_secrets.to_owned(),
        });
        self.nodes.set_environments(tables.loads());
    }

    /// Writes a backup as it is, without a job; one with the same id is replaced.
    pub fn put_backup(&self, backup: Backup) {
        let mut tables = self.tables();
        tables.backups.retain(|known| known.backup.id != backup.id);
        tables.backups.push(StoredBackup { backup, job_id: None });
    }

    /// A site as it stands now, if it is there.
    pub fn find_site(&self, id: SiteId) -> Option<Site> {
        self.tables().site(id).ok().cloned()
    }

    /// An environment as it stands now, if it is there.
    pub fn find_environment(&self, id: EnvironmentId) -> Option<Environment> {
        self.tables().environment(id).ok().cloned()
    }

    /// All backups, in the order in which they were written.
    pub fn all_backups(&self) -> Vec<Backup> {
        self.tables()
            .backups
            .iter()
            .map(|stored| stored.backup.clone())
            .collect()
    }

    /// What was to be written to the audit log beside the lines of jobs, in order: what was done, the id of what it was
    /// done to, and who did it.
    pub fn audited(&self) -> Vec<(AuditAction, String, AccountId)> {
        self.tables().audit.clone()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` on the tables, which stay as they were where it fails, with a place to be dropped on either side of it.
    async fn at_once<T>(
        &self,
        work: impl FnOnce(&mut Tables, Timestamp) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        self.jobs.broken()?;
        let answer = {
            let mut tables = self.tables();
            let mut draft = tables.clone();
            let answer = work(&mut draft, self.clock.now());
            if answer.is_ok() {
                self.nodes.set_environments(draft.loads());
                *tables = draft;
            }
            answer
        };
        tokio::task::yield_now().await;
        answer
    }

    fn change_all(&self, tables: &mut Tables, changes: Vec<Change>, now: Timestamp) -> Result<Vec<Told>, StoreError> {
        let mut told = Vec::new();
        for change in changes {
            tables.change(change, &self.nodes, now, &mut told)?;
        }
        Ok(told)
    }

    fn tell(&self, told: Vec<Told>, job: Option<(JobId, Option<NodeId>)>) {
        for (node_id, data) in told {
            match job {
                Some((job_id, node_id)) => self.jobs.tell(Some(job_id), node_id, data),
                None => self.jobs.tell(None, node_id, data),
            }
        }
    }

    /// The job of a claim that is still good.
    fn claimed(&self, claim: &Claim) -> Result<Job, StoreError> {
        self.jobs.check_claim(claim)?;
        Ok(self.jobs.view(claim.job_id).job)
    }
}

#[async_trait]
impl SiteStore for MemorySites {
    async fn enqueue(
        &self,
        expected: Vec<Expected>,
        changes: Vec<Change>,
        job: NewJob,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedInSite, StoreError> {
        self.at_once(|tables, now| {
            let slot = idempotency.map(|given| ((given.account_id, given.key), given.request_hash));
            if let Some((slot, hash)) = &slot
                && let Some((known, created)) = tables.keys.get(slot)
            {
                return if known == hash {
                    Ok(CreatedInSite {
                        replayed: true,
                        ..*created
                    })
                } else {
                    Err(StoreError::IdempotencyMismatch)
                };
            }
            let created = CreatedInSite {
                job_id: job.id,
                site_id: job.site_id.ok_or(StoreError::NotFound("site"))?,
                environment_id: job.environment_id.ok_or(StoreError::NotFound("environment"))?,
                backup_id: job.backup_id,
                replayed: false,
            };
            tables.check(&expected)?;
            let told = self.change_all(tables, changes, now)?;
            if let Some((slot, hash)) = slot {
                tables.keys.insert(slot, (hash, created));
            }
            let node_id = job.node_id;
            self.tell(told, Some((self.jobs.enqueue(job), node_id)));
            Ok(created)
        })
        .await
    }

    async fn apply(
        &self,
        expected: Vec<Expected>,
        changes: Vec<Change>,
        by: Option<AccountId>,
    ) -> Result<(), StoreError> {
        self.at_once(|tables, now| {
            tables.check(&expected)?;
            if let Some(by) = by {
                tables.note(&changes, by)?;
            }
            let told = self.change_all(tables, changes, now)?;
            self.tell(told, None);
            Ok(())
        })
        .await
    }

    async fn change_in_job(&self, claim: &Claim, changes: Vec<Change>) -> Result<(), StoreError> {
        self.at_once(|tables, now| {
            let job = self.claimed(claim)?;
            let told = self.change_all(tables, changes, now)?;
            self.tell(told, Some((job.id, job.node_id)));
            Ok(())
        })
        .await
    }

    async fn settle_job(&self, claim: &Claim, outcome: &Outcome, changes: Vec<Change>) -> Result<(), StoreError> {
        self.at_once(|tables, now| {
            let job = self.claimed(claim)?;
            let told = self.change_all(tables, changes, now)?;
            self.jobs.finish_now(claim, outcome)?;
            self.tell(told, Some((job.id, job.node_id)));
            Ok(())
        })
        .await
    }

    async fn site(&self, id: SiteId) -> Result<Option<Site>, StoreError> {
        self.at_once(|tables, _| Ok(tables.site(id).ok().cloned())).await
    }

    async fn sites(&self, filter: &SiteFilter, page: &PageRequest) -> Result<Page<Site>, StoreError> {
        self.at_once(|tables, _| {
            let before = |site: &&Site| page.after.as_ref().is_none_or(|after| site.id.to_string() < *after);
            let wanted = tables.sites.iter().filter(|site| fits(tables, site, filter));
            let mut found: Vec<Site> = wanted.filter(before).cloned().collect();
            found.sort_by_key(|site| std::cmp::Reverse(site.id));
            Ok(Page::from_overfull(found, page.limit, |site| site.id.to_string()))
        })
        .await
    }

    async fn site_names(&self, ids: &[SiteId], newest: u32) -> Result<Vec<(SiteId, SiteName)>, StoreError> {
        self.at_once(|tables, _| {
            let mut all: Vec<&Site> = tables.sites.iter().collect();
            all.sort_by_key(|site| std::cmp::Reverse(site.id));
            let wanted = all
                .iter()
                .enumerate()
                .filter(|(at, site)| *at < newest as usize || ids.contains(&site.id));
            Ok(wanted.map(|(_, site)| (site.id, site.name.clone())).collect())
        })
        .await
    }

    async fn site_count(&self) -> Result<u64, StoreError> {
        self.at_once(|tables, _| Ok(tables.sites.len() as u64)).await
    }

    async fn environment(&self, id: EnvironmentId) -> Result<Option<Environment>, StoreError> {
        self.at_once(|tables, _| Ok(tables.environment(id).ok().cloned())).await
    }

    async fn environments(&self, site_id: SiteId) -> Result<Vec<Environment>, StoreError> {
        self.at_once(|tables, _| {
            let stored = tables.environments.iter().map(|stored| &stored.environment);
            let mut found: Vec<_> = stored.filter(|known| known.site_id == site_id).cloned().collect();
            found.sort_by_key(|environment| environment.id);
            Ok(found)
        })
        .await
    }

    async fn environments_on(&self, node_id: NodeId) -> Result<Vec<Environment>, StoreError> {
        self.at_once(|tables, _| {
            let stored = tables.environments.iter().map(|stored| &stored.environment);
            let mut found: Vec<_> = stored.filter(|known| known.node_id == node_id).cloned().collect();
            found.sort_by_key(|environment| environment.id);
            Ok(found)
        })
        .await
    }

    async fn environments_by_ids(&self, ids: &[EnvironmentId]) -> Result<Vec<Environment>, StoreError> {
        self.at_once(|tables, _| {
            let stored = tables.environments.iter().map(|stored| &stored.environment);
            let mut found: Vec<_> = stored.filter(|known| ids.contains(&known.id)).cloned().collect();
            found.sort_by_key(|environment| environment.id);
            Ok(found)
        })
        .await
    }

    async fn sealed_secrets(&self, id: EnvironmentId) -> Result<Option<String>, StoreError> {
        self.at_once(|tables, _| {
            let found = tables.environments.iter().find(|stored| stored.environment.id == id);
            Ok(found.map(|stored| stored.sealed_secrets.clone()))
        })
        .await
    }

    async fn record_login_shown(&self, id: EnvironmentId, by: AccountId) -> Result<(), StoreError> {
        self.at_once(|tables, _| {
            tables.environment(id)?;
            tables.audit.push((AuditAction::LoginShown, id.to_string(), by));
            Ok(())
        })
        .await
    }

    async fn node_loads(&self) -> Result<Vec<NodeLoad>, StoreError> {
        self.at_once(|tables, _| {
            let loads = tables.loads().into_iter();
            let mut loads: Vec<_> = loads
                .map(|(node_id, environments)| NodeLoad { node_id, environments })
                .collect();
            loads.sort_by_key(|load| load.node_id);
            Ok(loads)
        })
        .await
    }

    async fn backup(&self, id: BackupId) -> Result<Option<Backup>, StoreError> {
        self.at_once(|tables, _| {
            let mut backups = tables.backups.iter().map(|stored| &stored.backup);
            Ok(backups.find(|backup| backup.id == id).cloned())
        })
        .await
    }

    async fn backups(&self, filter: &BackupFilter, page: &PageRequest) -> Result<Page<Backup>, StoreError> {
        self.at_once(|tables, _| {
            let mut found: Vec<Backup> = tables
                .backups
                .iter()
                .filter(|stored| filter.job_id.is_none() || stored.job_id == filter.job_id)
                .map(|stored| &stored.backup)
                .filter(|backup| filter.environment_id.is_none_or(|id| backup.environment_id == id))
                .filter(|backup| filter.site_id.is_none_or(|id| backup.site_id == id))
                .filter(|backup| filter.status.is_none_or(|status| backup.status == status))
                .filter(|backup| page.after.as_ref().is_none_or(|after| backup.id.to_string() < *after))
                .cloned()
                .collect();
            found.sort_by_key(|backup| std::cmp::Reverse(backup.id));
            Ok(Page::from_overfull(found, page.limit, |backup| backup.id.to_string()))
        })
        .await
    }

    async fn newest_backups(&self, ids: &[EnvironmentId]) -> Result<Vec<(EnvironmentId, Timestamp)>, StoreError> {
        self.at_once(|tables, _| {
            let newest = |id: &EnvironmentId| {
                let saved = tables.saved(*id);
                Some((*id, saved.database.max(saved.files)?))
            };
            let mut found: Vec<_> = ids.iter().filter_map(newest).collect();
            found.sort_by_key(|(id, _)| *id);
            Ok(found)
        })
        .await
    }

    async fn due_backups(&self, now: Timestamp, after: Option<BackupId>) -> Result<DueBackups, StoreError> {
        self.at_once(|tables, _| Ok(tables.due(now, after))).await
    }
}

/// Whether a site is wanted.
fn fits(tables: &Tables, site: &Site, filter: &SiteFilter) -> bool {
    let has_text = |search: &SearchText| search.is_in(site.name.as_str()) || search.is_in(site.slug.as_str());
    let is_on = |node_id: NodeId| {
        let mut environments = tables.environments.iter().map(|stored| &stored.environment);
        environments.any(|known| known.site_id == site.id && known.node_id == node_id)
    };
    filter.search.as_ref().is_none_or(has_text)
        && filter.status.is_none_or(|status| site.status == status)
        && filter.node_id.is_none_or(is_on)
        && filter.unsaved.is_none_or(|cut| tables.is_unsaved(site, cut))
}
