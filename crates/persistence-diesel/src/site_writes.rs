//! Writes to sites, environments and backups: what each [`Change`] does. All run inside their caller's transaction.

use ::jobs::StoreError;
use diesel::prelude::*;
use domain_kernel::{BackupId, EnvironmentId, SiteId, Timestamp};
use nodes_domain::NodeStatus;
use serde_json::{Value, json};
use sites_domain::{
    BackupChange, BackupStatus, BackupTrigger, Change, EnvironmentStatus, Expected, NewBackup, NewEnvironment, NewSite,
    SiteStatus,
};

use crate::connection::AnyConnection;
use crate::error::DbError;
use crate::event_log::{self, Subject};
use crate::node_writes::node_row;
use crate::rows::{BackupRow, EnvironmentRow, JobRow, SiteRow, to_json};
use crate::schema::{backups, environments, sites};

pub(crate) fn site_row(connection: &mut AnyConnection, id: SiteId) -> Result<SiteRow, DbError> {
    let row = sites::table.find(id.to_string()).select(SiteRow::as_select());
    let row = row.first(connection).optional()?;
    row.ok_or(DbError::Refused(StoreError::NotFound("site")))
}

pub(crate) fn environment_row(connection: &mut AnyConnection, id: &str) -> Result<EnvironmentRow, DbError> {
    let row = environments::table.find(id).select(EnvironmentRow::as_select());
    let row = row.first(connection).optional()?;
    row.ok_or(DbError::Refused(StoreError::NotFound("environment")))
}

pub(crate) fn backup_row(connection: &mut AnyConnection, id: BackupId) -> Result<BackupRow, DbError> {
    let row = backups::table.find(id.to_string()).select(BackupRow::as_select());
    let row = row.first(connection).optional()?;
    row.ok_or(DbError::Refused(StoreError::NotFound("backup")))
}

/// Refuses a decision that was made on other versions.
pub(crate) fn check(connection: &mut AnyConnection, expected: &[Expected]) -> Result<(), DbError> {
    for one in expected {
        let (what, stands, version) = match *one {
            Expected::Site(id, version) => ("site", site_row(connection, id)?.state_version, version),
            Expected::Environment(id, version) => {
                let row = environment_row(connection, &id.to_string())?;
                ("environment", row.state_version, version)
            }
        };
        if stands != version {
            return Err(conflict(what));
        }
    }
    Ok(())
}

/// Writes changes in their order, with an event for each status that is another one now. The events belong to `job` and
/// its node where there is one, otherwise to the node of what changed.
pub(crate) fn change_all(
    connection: &mut AnyConnection,
    now: Timestamp,
    job: Option<&JobRow>,
    changes: &[Change],
) -> Result<(), DbError> {
    let mut writer = Writer { connection, now, job };
    changes.iter().try_for_each(|change| writer.change(change))
}

/// A way that the state machine does not know: the row is not what the change was decided on.
fn conflict(what: &'static str) -> DbError {
    DbError::Refused(StoreError::VersionConflict(what))
}

fn duplicate(sentence: String) -> DbError {
    DbError::Refused(StoreError::Duplicate(sentence))
}

/// What an insertion says where an id, a short id or a slug is there already.
fn inserted(result: QueryResult<usize>, what: &str) -> Result<(), DbError> {
    match result.map_err(DbError::from) {
        Ok(_) => Ok(()),
        Err(taken) if taken.is_unique_violation() => Err(duplicate(format!(
            "There is a {what} with this id or short id already."
        ))),
        Err(error) => Err(error),
    }
}

struct Writer<'a> {
    connection: &'a mut AnyConnection,
    now: Timestamp,
    job: Option<&'a JobRow>,
}

impl Writer<'_> {
    fn change(&mut self, change: &Change) -> Result<(), DbError> {
        match change {
            Change::AddSite(new) => self.add_site(new),
            Change::AddEnvironment(new) => self.add_environment(new),
            Change::AddBackup(new) => self.add_backup(new),
            Change::SiteStatus(id, status) => self.move_site(*id, *status),
            Change::EnvironmentStatus(id, status) => {
                let mut row = self.environment(*id)?;
                if *status == EnvironmentStatus::Active {
                    row.proved_at = Some(self.now.as_micros());
                }
                self.move_environment(row, *status)
            }
            Change::EnvironmentRests(id) => {
                let row = self.environment(*id)?;
                let status = row.resting_status()?;
                self.move_environment(row, status)
            }
            Change::WordPressVersion(id, version) => {
                let mut row = self.environment(*id)?;
                if row.wordpress_version.as_ref() == Some(version) {
                    return Ok(());
                }
                row.wordpress_version = Some(version.clone());
                self.store_environment(row)
            }
            Change::PreviewUrl(id, url) => {
                let mut row = self.environment(*id)?;
                if row.preview_url == *url {
                    return Ok(());
                }
                row.preview_url.clone_from(url);
                self.store_environment(row)
            }
            Change::Schedule(id, schedule) => {
                let mut row = self.environment(*id)?;
                row.backup_schedule = schedule.as_ref().map(to_json).transpose()?;
                self.store_environment(row)
            }
            Change::Backup(id, change) => self.change_backup(*id, change),
            Change::RemoveEnvironment(id) => {
                let row = self.environment(*id)?;
                diesel::delete(environments::table.find(row.id)).execute(self.connection)?;
                Ok(())
            }
            Change::RemoveSite(id) => {
                let row = site_row(self.connection, *id)?;
                diesel::delete(sites::table.find(row.id)).execute(self.connection)?;
                Ok(())
            }
        }
    }

    fn environment(&mut self, id: EnvironmentId) -> Result<EnvironmentRow, DbError> {
        environment_row(self.connection, &id.to_string())
    }

    fn tell(&mut self, node_id: Option<&str>, data: Value) -> Result<(), DbError> {
        let subject = match self.job {
            Some(job) => Subject::job(job),
            None => Subject { job_id: None, node_id },
        };
        event_log::status_of(self.connection, self.now, subject, data)
    }

    fn add_site(&mut self, new: &NewSite) -> Result<(), DbError> {
        let slug = new.slug.as_str();
        let same_slug = sites::table.filter(sites::slug.eq(slug)).count();
        if same_slug.get_result::<i64>(self.connection)? > 0 {
            return Err(duplicate(format!("There is a site with the slug `{slug}` already.")));
        }
        let row = SiteRow::creating(new, self.now);
        let insertion = diesel::insert_into(sites::table).values(&row);
        inserted(insertion.execute(self.connection), "site")?;
        self.tell_site(&row)
    }

    fn add_environment(&mut self, new: &NewEnvironment) -> Result<(), DbError> {
        let site = site_row(self.connection, new.site_id)?;
        let slug = new.slug.as_str();
        let same_slug = environments::table
            .filter(environments::site_id.eq(&site.id))
            .filter(environments::slug.eq(slug))
            .count();
        if same_slug.get_result::<i64>(self.connection)? > 0 {
            return Err(duplicate(format!(
                "The site has an environment with the slug `{slug}` already."
            )));
        }
        if node_row(self.connection, new.node_id)?.status()? != NodeStatus::Active {
            return Err(conflict("node"));
        }
        let row = EnvironmentRow::new(new, self.now);
        let insertion = diesel::insert_into(environments::table).values(&row);
        inserted(insertion.execute(self.connection), "environment")?;
        self.tell_environment(&row)
    }

    fn add_backup(&mut self, new: &NewBackup) -> Result<(), DbError> {
        let environment = self.environment(new.environment_id)?;
        if environment.site_id != new.site_id.to_string() {
            return Err(DbError::Refused(StoreError::NotFound("environment")));
        }
        if new.trigger == BackupTrigger::Scheduled {
            // Two keepers may find the same backup due at the same time.
            let open = [BackupStatus::Pending.as_str(), BackupStatus::Running.as_str()];
            let open = backups::table
                .filter(backups::environment_id.eq(&environment.id))
                .filter(backups::trigger.eq(new.trigger.as_str()))
                .filter(backups::status.eq_any(open))
                .count();
            if open.get_result::<i64>(self.connection)? > 0 {
                return Err(conflict("backup"));
            }
        }
        let row = BackupRow::pending(new, self.now);
        let insertion = diesel::insert_into(backups::table).values(&row);
        inserted(insertion.execute(self.connection), "backup")?;
        self.tell_backup(&row, &environment)
    }

    fn move_site(&mut self, id: SiteId, after: SiteStatus) -> Result<(), DbError> {
        let mut row = site_row(self.connection, id)?;
        let before = row.status()?;
        if !before.may_become(after) {
            return Err(conflict("site"));
        }
        row.status = after.as_str().to_owned();
        row.updated_at = self.now.as_micros();
        row.state_version += 1;
        diesel::update(sites::table.find(&row.id))
            .set(&row)
            .execute(self.connection)?;
        if before == after { Ok(()) } else { self.tell_site(&row) }
    }

    fn move_environment(&mut self, mut row: EnvironmentRow, after: EnvironmentStatus) -> Result<(), DbError> {
        let before = row.status()?;
        if !before.may_become(after) {
            return Err(conflict("environment"));
        }
        for rest in [before, after] {
            if EnvironmentStatus::RESTING.contains(&rest) {
                row.resting_status = rest.as_str().to_owned();
            }
        }
        row.status = after.as_str().to_owned();
        self.store_environment(row.clone())?;
        if before == after {
            Ok(())
        } else {
            self.tell_environment(&row)
        }
    }

    /// Stores `row`, one version on.
    fn store_environment(&mut self, mut row: EnvironmentRow) -> Result<(), DbError> {
        row.updated_at = self.now.as_micros();
        row.state_version += 1;
        diesel::update(environments::table.find(&row.id))
            .set(&row)
            .execute(self.connection)?;
        Ok(())
    }

    fn change_backup(&mut self, id: BackupId, change: &BackupChange) -> Result<(), DbError> {
        let mut row = backup_row(self.connection, id)?;
        let before = row.status()?;
        let after = match change {
            BackupChange::Status(status) => *status,
            BackupChange::Completed { .. } => BackupStatus::Completed,
            BackupChange::Removed => BackupStatus::Expired,
        };
        if !before.may_become(after) {
            return Err(conflict("backup"));
        }
        row.status = after.as_str().to_owned();
        match change {
            BackupChange::Status(_) => {}
            BackupChange::Completed { storage, path, object } => {
                row.storage_type = Some(storage.as_str().to_owned());
                row.storage_path = Some(path.clone());
                row.checksum = Some(object.sha256.clone());
                row.size_bytes = Some(i64::try_from(object.size_bytes).unwrap_or(i64::MAX));
                row.completed_at = Some(self.now.as_micros());
            }
            BackupChange::Removed => row.storage_path = None,
        }
        diesel::update(backups::table.find(&row.id))
            .set(&row)
            .execute(self.connection)?;
        if before == after {
            return Ok(());
        }
        let environment = environment_row(self.connection, &row.environment_id)?;
        self.tell_backup(&row, &environment)
    }

    /// Tells a site's status: `{"site_status", "site_id"}`.
    fn tell_site(&mut self, row: &SiteRow) -> Result<(), DbError> {
        let node_id: Option<String> = environments::table
            .find(&row.primary_environment_id)
            .select(environments::node_id)
            .first(self.connection)
            .optional()?;
        let data = json!({"site_status": row.status, "site_id": row.id});
        self.tell(node_id.as_deref(), data)
    }

    /// Tells an environment's status: `{"environment_status", "environment_id", "site_id"}`.
    fn tell_environment(&mut self, row: &EnvironmentRow) -> Result<(), DbError> {
        let data = json!({"environment_status": row.status, "environment_id": row.id, "site_id": row.site_id});
        self.tell(Some(&row.node_id), data)
    }

    /// Tells a backup's status: `{"backup_status", "backup_id", "site_id"}`.
    fn tell_backup(&mut self, row: &BackupRow, environment: &EnvironmentRow) -> Result<(), DbError> {
        let data = json!({"backup_status": row.status, "backup_id": row.id, "site_id": row.site_id});
        self.tell(Some(&environment.node_id), data)
    }
}
