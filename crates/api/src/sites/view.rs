//! Sites, environments and backups as the API shows them.

use domain_kernel::{BackupId, EnvironmentId, JobId, NodeId, ShortId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};
use sites_domain::{
    Backup, BackupSchedule, BackupScope, BackupStatus, BackupTrigger, CreatedInSite, Environment, EnvironmentStatus,
    EnvironmentType, PromotionPreset, Site, SiteStatus,
};
use utoipa::ToSchema;

use crate::schema::{
    BackupScopeText, BackupStatusText, BackupTriggerText, EnvironmentStatusText, EnvironmentTypeText,
    PromotionPresetText, SiteStatusText,
};

/// A site.
#[derive(Serialize, ToSchema)]
#[schema(as = Site, example = json!({
    "id": "01970000-0000-7000-8000-0000000000aa",
    "short_id": "0000000000aa",
    "name": "Corner shop",
    "slug": "corner-shop",
    "status": "active",
    "primary_environment_id": "01970000-0000-7000-8000-0000000000ab",
    "created_at": "2030-01-31T12:00:00Z",
    "updated_at": "2030-01-31T12:00:04Z",
    "state_version": 2
}))]
pub(crate) struct SiteBody {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: SiteId,
    /// The last 12 hexadecimal digits of its id.
    #[schema(value_type = String)]
    short_id: ShortId,
    /// Its name for people.
    name: String,
    /// Its name for programs, unique among sites.
    slug: String,
    #[schema(value_type = SiteStatusText)]
    status: SiteStatus,
    /// Its production environment.
    #[schema(value_type = String, format = "uuid")]
    primary_environment_id: EnvironmentId,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Rises with every change.
    state_version: i64,
}

impl From<Site> for SiteBody {
    fn from(site: Site) -> Self {
        Self {
            id: site.id,
            short_id: site.short_id,
            name: site.name.into(),
            slug: site.slug.into(),
            status: site.status,
            primary_environment_id: site.primary_environment_id,
            created_at: site.created_at,
            updated_at: site.updated_at,
            state_version: site.state_version,
        }
    }
}

/// An environment: one WordPress of a site.
#[derive(Serialize, ToSchema)]
#[schema(as = Environment, example = json!({
    "id": "01970000-0000-7000-8000-0000000000ab",
    "short_id": "0000000000ab",
    "site_id": "01970000-0000-7000-8000-0000000000aa",
    "name": "Corner shop",
    "slug": "production",
    "environment_type": "production",
    "status": "active",
    "node_id": "01970000-0000-7000-8000-0123456789ab",
    "source_environment_id": null,
    "promotion_preset": null,
    "preview_url": "http://0000000000ab.192-0-2-7.sslip.io",
    "wordpress_version": "6.8.1",
    "backup_schedule": null,
    "created_at": "2030-01-31T12:00:00Z",
    "updated_at": "2030-01-31T12:00:04Z",
    "state_version": 2
}))]
pub(crate) struct EnvironmentBody {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: EnvironmentId,
    /// The last 12 hexadecimal digits of its id; its preview host begins with it.
    #[schema(value_type = String)]
    short_id: ShortId,
    /// Its site.
    #[schema(value_type = String, format = "uuid")]
    site_id: SiteId,
    /// Its name for people.
    name: String,
    /// Its name for programs, unique in its site.
    slug: String,
    #[schema(value_type = EnvironmentTypeText)]
    environment_type: EnvironmentType,
    #[schema(value_type = EnvironmentStatusText)]
    status: EnvironmentStatus,
    /// Its node.
    #[schema(value_type = String, format = "uuid")]
    node_id: NodeId,
    /// What it is a copy of; that may be gone.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    source_environment_id: Option<EnvironmentId>,
    /// What a promotion of it leaves alone.
    #[schema(required = true, value_type = Option<PromotionPresetText>)]
    promotion_preset: Option<PromotionPreset>,
    /// Where it answers.
    preview_url: String,
    /// The version of its WordPress, as last seen.
    #[schema(required = true)]
    wordpress_version: Option<String>,
    /// When backups of it are taken by themselves.
    #[schema(required = true)]
    backup_schedule: Option<ScheduleBody>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Rises with every change.
    state_version: i64,
}

impl From<Environment> for EnvironmentBody {
    fn from(environment: Environment) -> Self {
        Self {
            id: environment.id,
            short_id: environment.short_id,
            site_id: environment.site_id,
            name: environment.name.into(),
            slug: environment.slug.into(),
            environment_type: environment.environment_type,
            status: environment.status,
            node_id: environment.node_id,
            source_environment_id: environment.source_environment_id,
            promotion_preset: environment.promotion_preset,
            preview_url: environment.preview_url,
            wordpress_version: environment.wordpress_version,
            backup_schedule: environment.backup_schedule.map(ScheduleBody::from),
            created_at: environment.created_at,
            updated_at: environment.updated_at,
            state_version: environment.state_version,
        }
    }
}

/// When backups of an environment are taken by themselves.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BackupSchedule, example = json!({"every_hours": 24, "keep_days": 14, "backup_scope": "full"}))]
pub(crate) struct ScheduleBody {
    /// Hours from one to the next.
    #[schema(minimum = 1, maximum = 720)]
    every_hours: u32,
    /// Days that each is kept.
    #[schema(minimum = 1, maximum = 3650)]
    keep_days: u32,
    /// What each holds.
    #[schema(value_type = BackupScopeText)]
    backup_scope: BackupScope,
}

impl From<BackupSchedule> for ScheduleBody {
    fn from(schedule: BackupSchedule) -> Self {
        Self {
            every_hours: schedule.every_hours,
            keep_days: schedule.keep_days,
            backup_scope: schedule.backup_scope,
        }
    }
}

impl From<ScheduleBody> for BackupSchedule {
    fn from(body: ScheduleBody) -> Self {
        Self {
            every_hours: body.every_hours,
            keep_days: body.keep_days,
            backup_scope: body.backup_scope,
        }
    }
}

/// A backup of an environment.
#[derive(Serialize, ToSchema)]
#[schema(as = Backup, example = json!({
    "id": "01970000-0000-7000-8000-0000000000ba",
    "environment_id": "01970000-0000-7000-8000-0000000000ab",
    "backup_scope": "full",
    "status": "completed",
    "trigger": "manual",
    "storage_type": "local",
    "storage_path": "0000000000aa/0000000000ab/0000000000ba.tar.zst",
    "checksum": "0f343b0931126a20f133d67c2b018a3b5f0e5b8d0c0d0f5b6a5f2e9d7c1b3a49",
    "size_bytes": 27262976,
    "retention_until": "2030-03-02T12:00:00Z",
    "created_at": "2030-01-31T12:00:00Z",
    "completed_at": "2030-01-31T12:00:02Z"
}))]
pub(crate) struct BackupBody {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: BackupId,
    /// The environment that it is of.
    #[schema(value_type = String, format = "uuid")]
    environment_id: EnvironmentId,
    #[schema(value_type = BackupScopeText)]
    backup_scope: BackupScope,
    #[schema(value_type = BackupStatusText)]
    status: BackupStatus,
    #[schema(value_type = BackupTriggerText)]
    trigger: BackupTrigger,
    /// The storage that holds it; null until it is complete and when nothing of it is left.
    #[schema(required = true)]
    storage_type: Option<String>,
    /// Its key there.
    #[schema(required = true)]
    storage_path: Option<String>,
    /// SHA-256 of what is stored, lower-case hexadecimal.
    #[schema(required = true)]
    checksum: Option<String>,
    /// How much is stored, in bytes.
    #[schema(required = true)]
    size_bytes: Option<u64>,
    /// When it expires by itself; null where it does not.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    retention_until: Option<Timestamp>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was found complete.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    completed_at: Option<Timestamp>,
}

impl From<Backup> for BackupBody {
    fn from(backup: Backup) -> Self {
        Self {
            id: backup.id,
            environment_id: backup.environment_id,
            backup_scope: backup.scope,
            status: backup.status,
            trigger: backup.trigger,
            storage_type: backup.storage.map(|storage| storage.as_str().to_owned()),
            storage_path: backup.storage_path,
            checksum: backup.checksum,
            size_bytes: backup.size_bytes,
            retention_until: backup.retention_until,
            created_at: backup.created_at,
            completed_at: backup.completed_at,
        }
    }
}

/// A job that was accepted for a site.
#[derive(Serialize, ToSchema)]
#[schema(as = SiteJob, example = json!({
    "job_id": "01970000-0000-7000-8000-00000000000b",
    "site_id": "01970000-0000-7000-8000-0000000000aa",
    "environment_id": "01970000-0000-7000-8000-0000000000ab",
    "backup_id": null
}))]
pub(crate) struct SiteJobBody {
    /// The job.
    #[schema(value_type = String, format = "uuid")]
    job_id: JobId,
    /// The site.
    #[schema(value_type = String, format = "uuid")]
    site_id: SiteId,
    /// The environment; of a site's own creation and deletion its production environment.
    #[schema(value_type = String, format = "uuid")]
    environment_id: EnvironmentId,
    /// The backup that the job makes or restores.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    backup_id: Option<BackupId>,
}

impl From<CreatedInSite> for SiteJobBody {
    fn from(created: CreatedInSite) -> Self {
        Self {
            job_id: created.job_id,
            site_id: created.site_id,
            environment_id: created.environment_id,
            backup_id: created.backup_id,
        }
    }
}
