//! Which node a new site comes to.

use std::collections::HashMap;
use std::time::Duration;

use domain_kernel::NodeId;
use jobs::PageRequest;
use nodes_domain::{Node, NodeFilter, NodeStatus, Readiness, readiness};

use super::SitesService;
use crate::UseCaseError;

/// A readiness older than this is looked at anew before something is put on a node.
pub(crate) const READINESS_AGE: Duration = Duration::from_secs(30);

impl SitesService {
    /// The node that was named, or the best one.
    pub(super) async fn node_for_site(&self, named: Option<NodeId>) -> Result<Node, UseCaseError> {
        match named {
            Some(id) => self.ready_node(id).await,
            None => self.best_node().await,
        }
    }

    /// A node, if it is active and ready.
    pub(super) async fn ready_node(&self, id: NodeId) -> Result<Node, UseCaseError> {
        let node = self.deps.nodes.get(id).await?;
        let seen = self.readiness_now(&node).await?;
        if seen.is_ready {
            return Ok(node);
        }
        Err(UseCaseError::NodeNotReady {
            text: format!("The node `{}` is not ready for sites.", node.name.as_str()),
            reasons: seen.guidance,
        })
    }

    /// The active, ready node with the fewest environments; of several, the oldest.
    async fn best_node(&self) -> Result<Node, UseCaseError> {
        let loads: HashMap<_, _> = self
            .deps
            .sites
            .node_loads()
            .await?
            .into_iter()
            .map(|load| (load.node_id, load.environments))
            .collect();
        let mut nodes = self.active_nodes().await?;
        nodes.sort_by_key(|node| (loads.get(&node.id).copied().unwrap_or(0), node.id));
        for node in nodes {
            if self.readiness_now(&node).await?.is_ready {
                return Ok(node);
            }
        }
        Err(UseCaseError::NoNodeAvailable)
    }

    async fn active_nodes(&self) -> Result<Vec<Node>, UseCaseError> {
        let filter = NodeFilter {
            status: Some(NodeStatus::Active),
            ..NodeFilter::default()
        };
        let mut active = Vec::new();
        let mut page = PageRequest {
            limit: 100,
            after: None,
        };
        loop {
            let found = self.deps.node_store.nodes(&filter, &page).await?;
            active.extend(found.items);
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok(active),
            }
        }
    }

    /// What is known of a node's readiness, looked at anew where that is old or was bad.
    async fn readiness_now(&self, node: &Node) -> Result<Readiness, UseCaseError> {
        let now = self.deps.clock.now();
        if node.status != NodeStatus::Active {
            return Ok(readiness(node, node.status, None, now));
        }
        match &node.readiness {
            Some(seen) if seen.is_ready && now.since(seen.checked_at) <= READINESS_AGE => Ok(seen.clone()),
            _ => self.deps.nodes.check_readiness(node.id).await,
        }
    }
}
