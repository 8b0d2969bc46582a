//! A site and the states it can be in.

use domain_kernel::{EnvironmentId, ShortId, SiteId, Timestamp};
use jobs::text_enum;

use crate::{SiteName, Slug};

text_enum!(
    /// Where a site stands. A site that was deleted is gone; its jobs remain for the record.
    SiteStatus {
        /// A job makes its production environment.
        Creating = "creating",
        /// Its environments can be worked on.
        Active = "active",
        /// A job makes a further environment of it.
        Cloning = "cloning",
        /// A job restores an environment of it.
        Restoring = "restoring",
        /// A job removes an environment of it, or all of it.
        Deleting = "deleting",
        /// Its creation or its deletion failed. It can be reset, created again or deleted.
        Failed = "failed",
    }
);

impl SiteStatus {
    /// No job is at work: these can be deleted.
    pub const RESTING: &'static [Self] = &[Self::Active, Self::Failed];

    /// Whether a site of this status may come to the next.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Creating => matches!(next, Self::Creating | Self::Active | Self::Failed),
            // Failed: its production environment could not be moved to the address that its node has now.
            Self::Active => matches!(
                next,
                Self::Active | Self::Cloning | Self::Restoring | Self::Deleting | Self::Failed
            ),
            Self::Cloning | Self::Restoring => {
                matches!(next, Self::Cloning | Self::Restoring | Self::Active | Self::Failed)
            }
            Self::Deleting => matches!(next, Self::Deleting | Self::Active | Self::Failed),
            Self::Failed => matches!(
                next,
                Self::Failed | Self::Active | Self::Creating | Self::Restoring | Self::Deleting
            ),
        }
    }
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// The id's short form; its folder on a node is named by it.
    pub short_id: ShortId,
    /// Its name for people.
    pub name: SiteName,
    /// Its name for programs, unique among sites.
    pub slug: Slug,
    /// Where it stands.
    pub status: SiteStatus,
    /// Its production environment.
    pub primary_environment_id: EnvironmentId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Rises with every change.
    pub state_version: i64,
}
