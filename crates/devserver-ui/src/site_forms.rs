//! What the forms of a site send.

use domain_kernel::EnvironmentId;
use operations::CreateEnv;
use serde::Deserialize;
use sites_domain::BackupSchedule;

use crate::create::{optional, read};
use crate::form::slug_of;
use crate::view::create::FieldErrors;
use crate::view::site_form::TypedDeletion;

/// The form of a copy.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CopyForm {
    pub(crate) form_key: String,
    pub(crate) name: String,
    pub(crate) slug: String,
    #[serde(rename = "type")]
    pub(crate) environment_type: String,
    pub(crate) source_environment_id: String,
    pub(crate) promotion_preset: String,
}

/// The form of a backup.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct BackupForm {
    pub(crate) form_key: String,
    pub(crate) environment_id: String,
    pub(crate) backup_scope: String,
    pub(crate) retention_days: String,
}

/// The form of a schedule.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScheduleForm {
    pub(crate) environment_id: String,
    pub(crate) every_hours: String,
    pub(crate) backup_scope: String,
    pub(crate) keep_days: String,
    /// Whether no backups are taken by themselves any more; the other fields do not count then.
    pub(crate) off: Option<String>,
}

/// What else is asked of an environment or a backup.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ActionForm {
    pub(crate) environment_id: String,
    pub(crate) backup_id: String,
    /// The slug of what is to be deleted.
    pub(crate) confirm: String,
    /// Whether the node is gone for good.
    pub(crate) abandon: Option<String>,
}

impl ActionForm {
    /// What a deletion was confirmed with, to be shown again.
    pub(crate) fn typed(&self) -> TypedDeletion {
        TypedDeletion {
            confirm: self.confirm.clone(),
            abandon: self.abandon.is_some(),
        }
    }
}

impl CopyForm {
    pub(crate) fn read(&self, source: EnvironmentId, errors: &mut FieldErrors) -> Option<CreateEnv> {
        let name = errors.take("name", read(&self.name));
        let slug = match self.slug.trim() {
            "" => slug_of(&self.name),
            typed => typed.to_owned(),
        };
        let slug = errors.take("slug", read(&slug));
        let environment_type = errors.take("type", read(&self.environment_type));
        let promotion_preset = errors.take("promotion_preset", optional(&self.promotion_preset, read));
        Some(CreateEnv {
            name: name?,
            slug: slug?,
            environment_type: environment_type?,
            source_environment_id: source,
            promotion_preset: promotion_preset?,
        })
    }

    pub(crate) fn texts<'a>(&'a self, place: &'a str) -> [&'a str; 6] {
        [
            place,
            &self.name,
            &self.slug,
            &self.environment_type,
            &self.source_environment_id,
            &self.promotion_preset,
        ]
    }
}

impl ScheduleForm {
    pub(crate) fn read(&self, errors: &mut FieldErrors) -> Option<BackupSchedule> {
        let hours = self.every_hours.trim().parse().ok();
        let hours = hours.filter(|hours| (1..=720).contains(hours));
        let every_hours = errors.take("every_hours", hours.ok_or_else(|| "expected 1 to 720 hours".to_owned()));
        let backup_scope = errors.take("backup_scope", read(&self.backup_scope));
        let keep_days = errors.take("keep_days", days(self.keep_days.trim()));
        Some(BackupSchedule {
            every_hours: every_hours?,
            keep_days: keep_days?,
            backup_scope: backup_scope?,
        })
    }
}

/// Days that a backup is kept.
pub(crate) fn days(typed: &str) -> Result<u32, String> {
    let days = typed.parse().ok().filter(|days| (1..=3650).contains(days));
    days.ok_or_else(|| "expected 1 to 3650 days".to_owned())
}
