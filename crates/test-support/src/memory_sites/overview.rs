//! The overview in memory, over the tables of [`MemorySites`] and the jobs and nodes beside them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{EnvironmentId, SiteId, Timestamp};
use jobs::{Job, JobCatalog, JobFilter, JobKind, JobStatus, JobView, PageRequest, StoreError};
use nodes_domain::{Node, NodeStatus};
use sites_domain::{
    BackupStatus, Counted, EndedJobs, EnvironmentOfSite, EnvironmentStatus, NamedJob, Overview, OverviewCut,
    OverviewStore, Site, SiteStatus, Totals, Troubled, UnsavedSite,
};

use super::MemorySites;
use super::table::Tables;

const HOUR: Duration = Duration::from_secs(3600);

#[async_trait]
impl OverviewStore for MemorySites {
    async fn overview(&self, cut: OverviewCut) -> Result<Overview, StoreError> {
        let all = PageRequest {
            limit: u32::MAX,
            after: None,
        };
        let jobs = self.jobs.jobs(&JobFilter::default(), &all).await?.items;
        let mut nodes = self.nodes.all();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.id));
        self.at_once(|tables, _| {
            Ok(Seen {
                cut,
                tables,
                jobs: &jobs,
                nodes: &nodes,
            }
            .overview())
        })
        .await
    }
}

/// Everything in one moment; jobs and nodes newest first.
struct Seen<'a> {
    cut: OverviewCut,
    tables: &'a Tables,
    jobs: &'a [JobView],
    nodes: &'a [Node],
}

impl Seen<'_> {
    fn overview(&self) -> Overview {
        Overview {
            nodes: self.first(
                self.nodes
                    .iter()
                    .filter(|node| node.needs_attention())
                    .map(|node| Troubled {
                        failed_job: self.failed_by(|job| {
                            node.status == NodeStatus::Failed && job.site_id.is_none() && job.node_id == Some(node.id)
                        }),
                        thing: node.clone(),
                    }),
            ),
            failed_jobs: self.named(|job| self.is_left_failed(job)),
            failed_sites: self.first(self.failed_sites()),
            failed_environments: self.failed_environments(),
            unsaved_sites: self.first(self.unsaved_sites()),
            running_jobs: self.named(|job| job.status == JobStatus::Running),
            totals: self.totals(),
            ended: self.ended(),
        }
    }

    fn first<T>(&self, found: impl Iterator<Item = T>) -> Counted<T> {
        let mut items: Vec<T> = found.collect();
        let count = items.len() as u64;
        items.truncate(self.cut.limit as usize);
        Counted { items, count }
    }

    fn sites(&self) -> Vec<Site> {
        let mut sites = self.tables.sites.clone();
        sites.sort_by_key(|site| std::cmp::Reverse(site.id));
        sites
    }

    fn named(&self, is_wanted: impl Fn(&Job) -> bool) -> Counted<NamedJob> {
        let wanted = self.jobs.iter().filter(|view| is_wanted(&view.job));
        self.first(wanted.map(|view| {
            NamedJob {
                node: self.node_of(&view.job).map(|node| node.name.clone()),
                site: self.site_of(&view.job).map(|site| site.name.clone()),
                environment: self
                    .environment_of(&view.job)
                    .map(|environment| environment.name.clone()),
                view: view.clone(),
            }
        }))
    }

    fn node_of(&self, job: &Job) -> Option<&Node> {
        self.nodes.iter().find(|node| Some(node.id) == job.node_id)
    }

    fn site_of(&self, job: &Job) -> Option<&Site> {
        self.tables.sites.iter().find(|site| Some(site.id) == job.site_id)
    }

    fn environment_of(&self, job: &Job) -> Option<&sites_domain::Environment> {
        let mut stored = self.tables.environments.iter().map(|stored| &stored.environment);
        stored.find(|environment| Some(environment.id) == job.environment_id)
    }

    fn failed_sites(&self) -> impl Iterator<Item = Troubled<Site>> {
        let sites = self.sites().into_iter();
        let failed = sites.filter(|site| site.status == SiteStatus::Failed);
        failed.map(|site| Troubled {
            failed_job: self.changed_by(site.id, site.primary_environment_id),
            thing: site,
        })
    }

    /// The newest of these jobs, where it failed.
    fn failed_by(&self, is_one: impl Fn(&Job) -> bool) -> Option<Job> {
        let newest = self.jobs.iter().map(|view| &view.job).find(|job| is_one(job));
        newest.filter(|job| job.status == JobStatus::Failed).cloned()
    }

    fn changed_by(&self, site: SiteId, id: EnvironmentId) -> Option<Job> {
        self.failed_by(|job| match job.kind {
            JobKind::BackupCreate => false,
            JobKind::SiteDelete | JobKind::SiteAbandon => job.site_id == Some(site),
            _ => job.environment_id == Some(id),
        })
    }

    fn is_left_failed(&self, job: &Job) -> bool {
        let stored = self.tables.environments.iter();
        let mut stored = stored.filter(|stored| Some(stored.environment.id) == job.environment_id);
        let Some(stored) = stored.next() else { return false };
        let is_told = stored.environment.status == EnvironmentStatus::Failed
            || self.site_of(job).is_none_or(|site| site.status == SiteStatus::Failed);
        let is_changed = job.kind != JobKind::BackupCreate
            && (stored.environment.status != EnvironmentStatus::Active || stored.proved_at > job.finished_at);
        let is_later = |later: &Job| {
            later.environment_id == job.environment_id
                && later.kind == job.kind
                && later.id > job.id
                && later.status != JobStatus::Cancelled
        };
        job.status == JobStatus::Failed
            && job.finished_at.is_some_and(|end| end >= self.cut.failed_since)
            && !is_told
            && !is_changed
            && !self.jobs.iter().any(|view| is_later(&view.job))
    }

    fn failed_environments(&self) -> Counted<Troubled<EnvironmentOfSite>> {
        let stored = self.tables.environments.iter().map(|stored| &stored.environment);
        let mut failed: Vec<_> = stored
            .filter(|environment| environment.status == EnvironmentStatus::Failed)
            .filter_map(|environment| {
                let site = self.tables.sites.iter().find(|site| site.id == environment.site_id)?;
                (site.status != SiteStatus::Failed).then(|| Troubled {
                    thing: EnvironmentOfSite {
                        environment: environment.clone(),
                        site: site.name.clone(),
                    },
                    failed_job: self.changed_by(environment.site_id, environment.id),
                })
            })
            .collect();
        failed.sort_by_key(|found| std::cmp::Reverse(found.thing.environment.id));
        self.first(failed.into_iter())
    }

    fn unsaved_sites(&self) -> impl Iterator<Item = UnsavedSite> {
        let sites = self.sites().into_iter();
        let unsaved = sites.filter(|site| self.tables.is_unsaved(site, self.cut.backups));
        unsaved.map(|site| UnsavedSite {
            saved: self.tables.saved(site.primary_environment_id),
            site,
        })
    }

    fn totals(&self) -> Totals {
        let nodes = |is: fn(NodeStatus) -> bool| self.nodes.iter().filter(|node| is(node.status)).count() as u64;
        let jobs = |status| self.jobs.iter().filter(|view| view.job.status == status).count() as u64;
        let backups = self.tables.backups.iter().map(|stored| &stored.backup);
        let stored: Vec<_> = backups
            .filter(|backup| backup.status == BackupStatus::Completed)
            .map(|backup| backup.size_bytes.unwrap_or_default())
            .collect();
        Totals {
            nodes_active: nodes(|status| status == NodeStatus::Active),
            nodes_ready: self.nodes.iter().filter(|node| node.is_ready()).count() as u64,
            nodes: nodes(|status| status != NodeStatus::Decommissioned),
            sites: self.tables.sites.len() as u64,
            environments: self.tables.environments.len() as u64,
            jobs_running: jobs(JobStatus::Running),
            jobs_queued: jobs(JobStatus::Queued),
            backups: stored.len() as u64,
            backup_bytes: stored.iter().sum(),
        }
    }

    fn ended(&self) -> Vec<EndedJobs> {
        let mut counted: BTreeMap<(i64, &'static str), EndedJobs> = BTreeMap::new();
        for view in self.jobs {
            let Some(end) = view.job.finished_at.filter(|end| *end >= self.cut.ended_since) else {
                continue;
            };
            let hour = end.as_micros() - end.as_micros() % HOUR.as_micros() as i64;
            let status = view.job.status;
            let found = counted.entry((hour, status.as_str())).or_insert(EndedJobs {
                hour: Timestamp::from_micros(hour),
                status,
                jobs: 0,
            });
            found.jobs += 1;
        }
        counted.into_values().collect()
    }
}
