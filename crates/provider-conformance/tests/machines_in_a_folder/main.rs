//! An example: a provider as another project may write one, and the suite over it. Its machines are folders, so there is
//! nothing to log in to; all else is as it is with a real one. `docs/adding-a-provider.md` walks through these files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers fail the test; the provider itself does not use it"
)]

mod provider;
mod world;

use std::sync::Arc;

use nodes_domain::{AcquisitionSource, ProviderId};
use operations::ProviderRegistry;

use crate::provider::{FolderProvider, PROVIDER_ID};

provider_conformance::conformance_tests!(world::Folders::new());

#[test]
fn a_server_that_is_built_with_it_makes_its_new_local_nodes_by_it() {
    let registry =
        ProviderRegistry::new(ProviderId::new(PROVIDER_ID)).with(Arc::new(FolderProvider::new("/srv/machines")));
    let for_new = registry.for_new(AcquisitionSource::Local).map(|provider| provider.id());
    assert_eq!(for_new, Some(ProviderId::new("folder")));
    assert!(registry.for_new(AcquisitionSource::Remote).is_none());
}
