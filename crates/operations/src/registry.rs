//! The providers that this server was built with.

use std::sync::Arc;

use nodes_domain::{AcquisitionSource, NodeProvider, ProviderId};

/// The providers, and which one makes new local nodes. An existing node keeps the provider that it was made by; there
/// is no second choice for either.
#[derive(Clone)]
pub struct ProviderRegistry {
    providers: Vec<Arc<dyn NodeProvider>>,
    local: ProviderId,
}

impl ProviderRegistry {
    /// A registry whose new local nodes are made by `local`.
    pub fn new(local: ProviderId) -> Self {
        Self {
            providers: Vec::new(),
            local,
        }
    }

    /// Adds a provider. One with the same id is replaced.
    #[must_use]
    pub fn with(mut self, provider: Arc<dyn NodeProvider>) -> Self {
        self.providers.retain(|known| known.id() != provider.id());
        self.providers.push(provider);
        self
    }

    /// The provider with an id.
    pub fn get(&self, id: &ProviderId) -> Option<Arc<dyn NodeProvider>> {
        self.providers.iter().find(|provider| provider.id() == *id).cloned()
    }

    /// The provider that makes new nodes of a source, if there is one.
    pub fn for_new(&self, source: AcquisitionSource) -> Option<Arc<dyn NodeProvider>> {
        match source {
            AcquisitionSource::Local => self.get(&self.local).filter(|provider| provider.source() == source),
            AcquisitionSource::Remote => self
                .providers
                .iter()
                .find(|provider| provider.source() == source)
                .cloned(),
        }
    }

    /// Every provider that makes new nodes.
    pub fn in_use(&self) -> Vec<Arc<dyn NodeProvider>> {
        let sources = [AcquisitionSource::Local, AcquisitionSource::Remote];
        sources.into_iter().filter_map(|source| self.for_new(source)).collect()
    }
}
