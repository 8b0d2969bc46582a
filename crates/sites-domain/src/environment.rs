//! An environment: one WordPress of a site, on one node.

use domain_kernel::{EnvironmentId, NodeId, ShortId, SiteId, Timestamp};
use jobs::text_enum;

use crate::{BackupSchedule, SiteName, Slug};

text_enum!(
    /// Where an environment stands. One that was deleted is gone.
    EnvironmentStatus {
        /// A job makes it, with a new WordPress.
        Creating = "creating",
        /// Its preview was proved.
        Active = "active",
        /// A job makes it, as a copy of another environment.
        Cloning = "cloning",
        /// A job brings it back to what a backup holds.
        Restoring = "restoring",
        /// A job removes it.
        Deleting = "deleting",
        /// A job on it failed. It can be reset, restored or deleted.
        Failed = "failed",
    }
);

impl EnvironmentStatus {
    /// No job is at work that changes it: these can be restored and deleted.
    pub const RESTING: &'static [Self] = &[Self::Active, Self::Failed];

    /// Whether an environment of this status may come to the next.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Creating => matches!(next, Self::Creating | Self::Active | Self::Failed),
            Self::Cloning => matches!(next, Self::Cloning | Self::Active | Self::Failed),
            // Failed: it could not be moved to the address that its node has now.
            Self::Active => matches!(next, Self::Active | Self::Restoring | Self::Deleting | Self::Failed),
            Self::Restoring => matches!(next, Self::Restoring | Self::Active | Self::Failed),
            Self::Deleting => matches!(next, Self::Deleting | Self::Failed),
            Self::Failed => matches!(
                next,
                Self::Failed | Self::Active | Self::Creating | Self::Cloning | Self::Restoring | Self::Deleting
            ),
        }
    }
}

text_enum!(
    /// What an environment is for.
    EnvironmentType {
        /// The site that visitors see. Each site has one, made with it.
        Production = "production",
        /// A copy to try changes on. Search engines are told to leave it alone, nothing of it is cached.
        Staging = "staging",
        /// A copy of its own standing. Search engines are told to leave it alone.
        Clone = "clone",
    }
);

text_enum!(
    /// What a later promotion of an environment leaves as it is in production. Kept for then; nothing acts on it yet.
    PromotionPreset {
        /// Posts, pages, comments and uploads of production stay.
        ContentProtect = "content-protect",
        /// Those, and orders, customers and stock.
        CommerceProtect = "commerce-protect",
    }
);

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// The id's short form: its system user, database and preview host are named by it.
    pub short_id: ShortId,
    /// Its site.
    pub site_id: SiteId,
    /// Its name for people.
    pub name: SiteName,
    /// Its name for programs, unique in its site.
    pub slug: Slug,
    /// What it is for.
    pub environment_type: EnvironmentType,
    /// Where it stands.
    pub status: EnvironmentStatus,
    /// Where it stood before its present job; what a restore that was rolled back returns to.
    pub resting_status: EnvironmentStatus,
    /// Its node.
    pub node_id: NodeId,
    /// What it is a copy of, if it is one. That may be gone.
    pub source_environment_id: Option<EnvironmentId>,
    /// What a promotion of it leaves alone.
    pub promotion_preset: Option<PromotionPreset>,
    /// Where it answers: `http://` and a host name, without a path.
    pub preview_url: String,
    /// The version of its WordPress, as last seen.
    pub wordpress_version: Option<String>,
    /// When backups of it are taken by themselves.
    pub backup_schedule: Option<BackupSchedule>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Rises with every change.
    pub state_version: i64,
}
