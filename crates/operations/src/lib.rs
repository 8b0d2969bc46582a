//! What Pressluft does: use cases for requests, workflows for jobs, the reconciler and the keepers, all over the traits of the
//! domain crates. The API and the pages call the same use cases. No transport, no SQL, no process is started here.

mod accounts;
mod backup_keeper;
mod backup_storages;
mod error;
mod housekeeper;
mod jobs_service;
mod nodes;
mod overview;
mod preview_keeper;
mod reconciler;
mod registry;
mod sites;
mod start_up;
mod throttle;
mod workflows;

pub use accounts::{Accounts, OpenedSession, SESSION_LIFETIME, check_password};
pub use backup_keeper::BackupKeeper;
pub use backup_storages::BackupStorages;
pub use error::UseCaseError;
pub use housekeeper::{Housekeeper, RetentionPolicy};
pub use jobs_service::{JobsService, Metrics, RetriedJob, Turn};
pub use nodes::{
    CreateLocalNode, CreateRemoteNode, NodeDeps, NodeJob, NodesService, ProviderStatus, present_readiness,
};
pub use overview::OverviewService;
pub use preview_keeper::PreviewKeeper;
pub use reconciler::Reconciler;
pub use registry::ProviderRegistry;
pub use sites::{CreateEnv, CreateSite, SiteDeps, SitesService, WordPressLogin};
pub use workflows::{
    BackupCreate, EnvCreate, EnvDelete, EnvReaddress, EnvRestore, NodeDecommission, NodeProvision, SiteCreate,
    SiteDelete, SiteWork,
};
