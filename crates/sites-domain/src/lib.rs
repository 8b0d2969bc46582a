//! Sites: WordPress on nodes. What a site, its environments and its backups are, and what adapters must do for them.
//!
//! Here live plain types and the traits that adapters implement: [`SiteStore`], [`SiteRuntime`], [`PreviewProbe`],
//! [`ArtifactCache`], [`BackupStorage`], [`OverviewStore`]. No runtime, no SQL, no process is started here. Sites live on
//! nodes, so this crate alone of its level sees `nodes-domain` (docs/decisions/0013-sites-see-nodes.md).

mod artifact;
mod backup;
mod change;
mod environment;
mod names;
mod overview;
mod preview;
mod runtime;
mod secrets;
mod site;
mod size;
mod storage;
mod store;

pub use artifact::{Artifact, ArtifactCache, ArtifactKind, Artifacts};
pub use backup::{Backup, BackupSchedule, BackupScope, BackupStatus, BackupTrigger};
pub use change::{BackupChange, Change, Expected, NewBackup, NewEnvironment, NewSite};
pub use environment::{Environment, EnvironmentStatus, EnvironmentType, PromotionPreset};
pub use names::{SiteName, SiteNameError, Slug, SlugError};
pub use overview::{
    BackupCut, Counted, EndedJobs, EnvironmentOfSite, NamedJob, Overview, OverviewCut, OverviewStore, Saved, Totals,
    Troubled, UnsavedSite,
};
pub use preview::{PREVIEW_NONCE_HEADER, PREVIEW_PROOF_HEADER, PreviewError, PreviewProbe, preview_url, proof_of};
pub use runtime::{
    CloneSource, CreateEnvironment, CreatedEnvironment, EnvironmentPlace, RestoreEnd, RestoreRequest, SiteRuntime,
    StageBackup, StagedBackup,
};
pub use secrets::EnvironmentSecrets;
pub use site::{Site, SiteStatus};
pub use size::size_words;
pub use storage::{BackupStorage, StorageError, StorageId, StoredObject, Upload};
pub use store::{BackupFilter, CreatedInSite, DueBackups, NodeLoad, SiteFilter, SiteStore};
