//! The tables behind [`MemorySites`](crate::MemorySites), and what each change does to them.

use std::collections::HashMap;
use std::time::Duration;

use accounts_domain::AuditAction;
use domain_kernel::{AccountId, BackupId, EnvironmentId, JobId, NodeId, SiteId, Timestamp};
use jobs::StoreError;
use nodes_domain::NodeStatus;
use serde_json::{Value, json};
use sites_domain::{
    Backup, BackupChange, BackupCut, BackupStatus, BackupTrigger, Change, CreatedInSite, DueBackups, Environment,
    EnvironmentStatus, Expected, NewBackup, NewEnvironment, NewSite, Saved, Site, SiteStatus,
};

use crate::MemoryNodes;

/// How many of each kind are told to be due at most.
const DUE_AT_ONCE: usize = 100;

/// How far ahead a clock may be that asked for a backup.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Clone)]
pub(crate) struct StoredEnvironment {
    pub(crate) environment: Environment,
    /// When a job or a reset last found it to work.
    pub(crate) proved_at: Option<Timestamp>,
    pub(crate) sealed_secrets: String,
}

#[derive(Debug, Clone)]
pub(crate) struct StoredBackup {
    pub(crate) backup: Backup,
    pub(crate) job_id: Option<JobId>,
}

/// A status event: the node that it belongs to, and its data.
pub(crate) type Told = (Option<NodeId>, Value);

#[derive(Clone, Default)]
pub(crate) struct Tables {
    pub(crate) sites: Vec<Site>,
    pub(crate) environments: Vec<StoredEnvironment>,
    pub(crate) backups: Vec<StoredBackup>,
    pub(crate) keys: HashMap<(AccountId, String), (String, CreatedInSite)>,
    pub(crate) audit: Vec<(AuditAction, String, AccountId)>,
}

impl Tables {
    pub(crate) fn site(&mut self, id: SiteId) -> Result<&mut Site, StoreError> {
        let found = self.sites.iter_mut().find(|site| site.id == id);
        found.ok_or(StoreError::NotFound("site"))
    }

    pub(crate) fn environment(&mut self, id: EnvironmentId) -> Result<&mut Environment, StoreError> {
        Ok(&mut self.stored(id)?.environment)
    }

    fn stored(&mut self, id: EnvironmentId) -> Result<&mut StoredEnvironment, StoreError> {
        let found = self.environments.iter_mut().find(|stored| stored.environment.id == id);
        found.ok_or(StoreError::NotFound("environment"))
    }

    /// What is saved of an environment.
    pub(super) fn saved(&self, id: EnvironmentId) -> Saved {
        let backups = self.backups.iter().map(|stored| &stored.backup);
        let stored = backups.filter(|backup| {
            backup.environment_id == id
                && backup.status == BackupStatus::Completed
                && backup.trigger != BackupTrigger::Checkpoint
        });
        let mut saved = Saved::default();
        for backup in stored {
            if let Some(at) = backup.completed_at {
                saved.add(backup.scope, at);
            }
        }
        saved
    }

    /// Whether a site needs a backup and has none.
    pub(super) fn is_unsaved(&self, site: &Site, cut: BackupCut) -> bool {
        let mut environments = self.environments.iter().map(|stored| &stored.environment);
        let is_active = environments.any(|environment| {
            environment.id == site.primary_environment_id && environment.status == EnvironmentStatus::Active
        });
        let whole = self.saved(site.primary_environment_id).whole();
        let is_saved = whole.is_some_and(|whole| whole >= cut.backed_up_since);
        is_active && site.created_at <= cut.made_before && !is_saved
    }

    fn backup(&mut self, id: BackupId) -> Result<&mut Backup, StoreError> {
        let found = self
            .backups
            .iter_mut()
            .map(|stored| &mut stored.backup)
            .find(|backup| backup.id == id);
        found.ok_or(StoreError::NotFound("backup"))
    }

    /// How many environments each node has.
    pub(crate) fn loads(&self) -> HashMap<NodeId, u64> {
        let mut loads = HashMap::new();
        for stored in &self.environments {
            *loads.entry(stored.environment.node_id).or_insert(0) += 1;
        }
        loads
    }

    pub(crate) fn check(&mut self, expected: &[Expected]) -> Result<(), StoreError> {
        for one in expected {
            let (what, stands, version) = match *one {
                Expected::Site(id, version) => ("site", self.site(id)?.state_version, version),
                Expected::Environment(id, version) => ("environment", self.environment(id)?.state_version, version),
            };
            if stands != version {
                return Err(StoreError::VersionConflict(what));
            }
        }
        Ok(())
    }

    /// Writes one change, and what is to be told of it. Where it is refused, the tables are not to be used any more.
    pub(crate) fn change(
        &mut self,
        change: Change,
        nodes: &MemoryNodes,
        now: Timestamp,
        told: &mut Vec<Told>,
    ) -> Result<(), StoreError> {
        match change {
            Change::AddSite(new) => self.add_site(new, now, told)?,
            Change::AddEnvironment(new) => self.add_environment(new, nodes, now, told)?,
            Change::AddBackup(new) => self.add_backup(new, now, told)?,
            Change::SiteStatus(id, status) => {
                let site = self.site(id)?;
                let before = site.status;
                if !before.may_become(status) {
                    return Err(StoreError::VersionConflict("site"));
                }
                site.status = status;
                (site.state_version, site.updated_at) = (site.state_version + 1, now);
                if before != status {
                    told.push(self.site_status(id)?);
                }
            }
            Change::EnvironmentStatus(id, status) => {
                self.move_environment(id, status, now, told)?;
                if status == EnvironmentStatus::Active {
                    self.stored(id)?.proved_at = Some(now);
                }
            }
            Change::EnvironmentRests(id) => {
                let status = self.environment(id)?.resting_status;
                self.move_environment(id, status, now, told)?;
            }
            Change::WordPressVersion(id, version) => {
                let environment = self.environment(id)?;
                if environment.wordpress_version.as_deref() != Some(&version) {
                    environment.wordpress_version = Some(version);
                    touch(environment, now);
                }
            }
            Change::PreviewUrl(id, url) => {
                let environment = self.environment(id)?;
                if environment.preview_url != url {
                    environment.preview_url = url;
                    touch(environment, now);
                }
            }
            Change::Schedule(id, schedule) => {
                let environment = self.environment(id)?;
                environment.backup_schedule = schedule;
                touch(environment, now);
            }
            Change::Backup(id, change) => self.change_backup(id, change, now, told)?,
            Change::RemoveEnvironment(id) => {
                self.environment(id)?;
                self.environments.retain(|stored| stored.environment.id != id);
                self.backups.retain(|stored| stored.backup.environment_id != id);
            }
            Change::RemoveSite(id) => {
                self.site(id)?;
                self.sites.retain(|site| site.id != id);
                self.environments.retain(|stored| stored.environment.site_id != id);
                self.backups.retain(|stored| stored.backup.site_id != id);
            }
        }
        Ok(())
    }

    fn add_site(&mut self, new: NewSite, now: Timestamp, told: &mut Vec<Told>) -> Result<(), StoreError> {
        if self.sites.iter().any(|site| site.slug == new.slug) {
            return Err(StoreError::Duplicate(format!(
                "There is a site with the slug `{}` already.",
                new.slug.as_str()
            )));
        }
        let id = new.id;
        self.sites.push(Site {
            id,
            short_id: id.short(),
            name: new.name,
            slug: new.slug,
            status: SiteStatus::Creating,
            primary_environment_id: new.primary_environment_id,
            created_at: now,
            updated_at: now,
            state_version: 1,
        });
        told.push(self.site_status(id)?);
        Ok(())
    }

    fn add_environment(
        &mut self,
        new: NewEnvironment,
        nodes: &MemoryNodes,
        now: Timestamp,
        told: &mut Vec<Told>,
    ) -> Result<(), StoreError> {
        self.site(new.site_id)?;
        let mut of_site = self.environments.iter().map(|stored| &stored.environment);
        if of_site.any(|known| known.site_id == new.site_id && known.slug == new.slug) {
            return Err(StoreError::Duplicate(format!(
                "The site has an environment with the slug `{}` already.",
                new.slug.as_str()
            )));
        }
        let node = nodes.find(new.node_id).ok_or(StoreError::NotFound("node"))?;
        if node.status != NodeStatus::Active {
            return Err(StoreError::VersionConflict("node"));
        }
        let environment = Environment {
            id: new.id,
            short_id: new.id.short(),
            site_id: new.site_id,
            name: new.name,
            slug: new.slug,
            environment_type: new.environment_type,
            status: match new.source_environment_id {
                None => EnvironmentStatus::Creating,
                Some(_) => EnvironmentStatus::Cloning,
            },
            resting_status: EnvironmentStatus::Failed,
            node_id: new.node_id,
            source_environment_id: new.source_environment_id,
            promotion_preset: new.promotion_preset,
            preview_url: new.preview_url,
            wordpress_version: None,
            backup_schedule: None,
            created_at: now,
            updated_at: now,
            state_version: 1,
        };
        told.push(environment_status(&environment));
        self.environments.push(StoredEnvironment {
            environment,
            proved_at: None,
            sealed_secrets: new.sealed_secrets,
        });
        Ok(())
    }

    fn add_backup(&mut self, new: NewBackup, now: Timestamp, told: &mut Vec<Told>) -> Result<(), StoreError> {
        if self.environment(new.environment_id)?.site_id != new.site_id {
            return Err(StoreError::NotFound("environment"));
        }
        let open_too = |stored: &StoredBackup| {
            stored.backup.environment_id == new.environment_id
                && stored.backup.trigger == BackupTrigger::Scheduled
                && matches!(stored.backup.status, BackupStatus::Pending | BackupStatus::Running)
        };
        if new.trigger == BackupTrigger::Scheduled && self.backups.iter().any(open_too) {
            return Err(StoreError::VersionConflict("backup"));
        }
        self.backups.push(StoredBackup {
            backup: Backup {
                id: new.id,
                environment_id: new.environment_id,
                site_id: new.site_id,
                scope: new.scope,
                status: BackupStatus::Pending,
                trigger: new.trigger,
                storage: None,
                storage_path: None,
                checksum: None,
                size_bytes: None,
                retention_until: new.retention_until,
                created_at: now,
                completed_at: None,
            },
            job_id: Some(new.job_id),
        });
        told.push(self.backup_status(new.id)?);
        Ok(())
    }

    fn move_environment(
        &mut self,
        id: EnvironmentId,
        status: EnvironmentStatus,
        now: Timestamp,
        told: &mut Vec<Told>,
    ) -> Result<(), StoreError> {
        let environment = self.environment(id)?;
        let before = environment.status;
        if !before.may_become(status) {
            return Err(StoreError::VersionConflict("environment"));
        }
        for rest in [before, status] {
            if EnvironmentStatus::RESTING.contains(&rest) {
                environment.resting_status = rest;
            }
        }
        environment.status = status;
        touch(environment, now);
        if before != status {
            told.push(environment_status(environment));
        }
        Ok(())
    }

    fn change_backup(
        &mut self,
        id: BackupId,
        change: BackupChange,
        now: Timestamp,
        told: &mut Vec<Told>,
    ) -> Result<(), StoreError> {
        let backup = self.backup(id)?;
        let before = backup.status;
        let after = match &change {
            BackupChange::Status(status) => *status,
            BackupChange::Completed { .. } => BackupStatus::Completed,
            BackupChange::Removed => BackupStatus::Expired,
        };
        if !before.may_become(after) {
            return Err(StoreError::VersionConflict("backup"));
        }
        backup.status = after;
        match change {
            BackupChange::Status(_) => {}
            BackupChange::Completed { storage, path, object } => {
                backup.storage = Some(storage);
                backup.storage_path = Some(path);
                backup.checksum = Some(object.sha256);
                backup.size_bytes = Some(object.size_bytes);
                backup.completed_at = Some(now);
            }
            BackupChange::Removed => backup.storage_path = None,
        }
        if before != after {
            told.push(self.backup_status(id)?);
        }
        Ok(())
    }

    fn site_status(&mut self, id: SiteId) -> Result<Told, StoreError> {
        let site = self.site(id)?;
        let (primary, status) = (site.primary_environment_id, site.status);
        let node_id = self.environment(primary).ok().map(|environment| environment.node_id);
        Ok((node_id, json!({"site_status": status, "site_id": id})))
    }

    fn backup_status(&mut self, id: BackupId) -> Result<Told, StoreError> {
        let backup = self.backup(id)?.clone();
        let node_id = self.environment(backup.environment_id)?.node_id;
        let data = json!({"backup_status": backup.status, "backup_id": id, "site_id": backup.site_id});
        Ok((Some(node_id), data))
    }

    /// Keeps a line of the audit log for each change that an account asks for.
    pub(crate) fn note(&mut self, changes: &[Change], by: AccountId) -> Result<(), StoreError> {
        let mut reset = Vec::new();
        for change in changes {
            match change {
                Change::EnvironmentStatus(id, _) | Change::EnvironmentRests(id) => reset.push(*id),
                Change::Schedule(id, _) => self.audit.push((AuditAction::BackupScheduled, id.to_string(), by)),
                Change::Backup(id, BackupChange::Status(BackupStatus::Expired) | BackupChange::Removed) => {
                    self.audit.push((AuditAction::BackupExpired, id.to_string(), by));
                }
                _ => {}
            }
        }
        if reset.is_empty() {
            for change in changes {
                if let Change::SiteStatus(id, _) = change {
                    reset.push(self.site(*id)?.primary_environment_id);
                }
            }
        }
        let lines = reset.into_iter().map(|id| (AuditAction::Reset, id.to_string(), by));
        self.audit.extend(lines);
        Ok(())
    }

    pub(crate) fn due(&self, now: Timestamp, after: Option<BackupId>) -> DueBackups {
        let mut scheduled: Vec<_> = self
            .environments
            .iter()
            .map(|stored| &stored.environment)
            .filter(|environment| environment.status == EnvironmentStatus::Active)
            .filter_map(|environment| {
                let schedule = environment.backup_schedule.as_ref()?;
                let of_schedule = self.backups.iter().map(|stored| &stored.backup).filter(|backup| {
                    backup.environment_id == environment.id && backup.trigger == BackupTrigger::Scheduled
                });
                let open = |backup: &&Backup| matches!(backup.status, BackupStatus::Pending | BackupStatus::Running);
                let times = of_schedule.clone().map(|backup| backup.created_at);
                let newest = times.filter(|at| *at <= now.plus(CLOCKS_DIFFER)).max();
                let waited = newest.is_none_or(|newest| newest.plus(schedule.interval()) <= now);
                let due = waited && !of_schedule.clone().any(|backup| open(&backup));
                due.then(|| (newest, environment.clone()))
            })
            .collect();
        scheduled.sort_by_key(|(newest, environment)| (*newest, environment.id));
        let over = |backup: &&Backup| match backup.status {
            BackupStatus::Completed => backup.retention_until.is_some_and(|until| until <= now),
            BackupStatus::Expired => backup.storage_path.is_some(),
            BackupStatus::Pending | BackupStatus::Running | BackupStatus::Failed => false,
        };
        let mut expired: Vec<_> = self
            .backups
            .iter()
            .map(|stored| &stored.backup)
            .filter(over)
            .filter(|backup| after.is_none_or(|after| backup.id > after))
            .cloned()
            .collect();
        expired.sort_by_key(|backup| backup.id);
        scheduled.truncate(DUE_AT_ONCE);
        expired.truncate(DUE_AT_ONCE);
        DueBackups {
            scheduled: scheduled.into_iter().map(|(_, environment)| environment).collect(),
            expired,
        }
    }
}

fn touch(environment: &mut Environment, now: Timestamp) {
    environment.state_version += 1;
    environment.updated_at = now;
}

fn environment_status(environment: &Environment) -> Told {
    let Environment {
        id, site_id, status, ..
    } = environment;
    let data = json!({"environment_status": status, "environment_id": id, "site_id": site_id});
    (Some(environment.node_id), data)
}
