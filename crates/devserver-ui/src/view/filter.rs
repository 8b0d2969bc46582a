//! What the filters of lists offer.

use domain_kernel::NodeId;
use jobs::SearchText;
use nodes_domain::{NodeFilter, NodeName, NodeStatus};
use serde::Serialize;
use sites_domain::{SiteFilter, SiteStatus};

use super::{node, site};
use crate::filter::and;

/// Something that can be chosen.
#[derive(Serialize)]
pub(crate) struct Choice {
    value: String,
    words: String,
    is_chosen: bool,
}

impl Choice {
    /// A value among others.
    pub(crate) fn new<T: PartialEq + ToString>(value: T, words: impl Into<String>, chosen: Option<T>) -> Self {
        Self {
            value: value.to_string(),
            words: words.into(),
            is_chosen: chosen == Some(value),
        }
    }
}

/// What is chosen stays so, if nothing has this id any more.
pub(crate) fn with_gone<T: ToString>(mut choices: Vec<Choice>, chosen: Option<T>) -> Vec<Choice> {
    if let Some(id) = chosen
        && !choices.iter().any(|choice| choice.is_chosen)
    {
        choices.push(Choice {
            value: id.to_string(),
            words: format!("gone ({})", id.to_string()),
            is_chosen: true,
        });
    }
    choices
}

/// Where the newest things of a filter are listed.
#[derive(Serialize)]
struct Place {
    address: String,
    /// What the address of a further page goes on with.
    and: &'static str,
}

impl Place {
    fn new(address: String) -> Self {
        Self {
            and: and(&address),
            address,
        }
    }
}

/// The filter of nodes.
#[derive(Serialize)]
pub(crate) struct NodeFilterView {
    #[serde(flatten)]
    place: Place,
    is_any: bool,
    q: String,
    statuses: Vec<Choice>,
    attention: bool,
}

impl NodeFilterView {
    /// A filter that is at this address.
    pub(crate) fn new(filter: &NodeFilter, address: String) -> Self {
        let listed = NodeStatus::ALL.iter().filter(|status| node::is_listed(**status));
        let statuses = listed.map(|status| Choice::new(*status, node::status_words(*status), filter.status));
        Self {
            place: Place::new(address),
            is_any: *filter != NodeFilter::default(),
            q: typed(filter.search.as_ref()),
            statuses: statuses.collect(),
            attention: filter.needs_attention,
        }
    }
}

/// The filter of sites.
#[derive(Serialize)]
pub(crate) struct SiteFilterView {
    #[serde(flatten)]
    place: Place,
    is_any: bool,
    q: String,
    statuses: Vec<Choice>,
    nodes: Vec<Choice>,
    unsaved: bool,
}

impl SiteFilterView {
    /// A filter that is at this address, with the names of nodes that can be chosen.
    pub(crate) fn new(filter: &SiteFilter, address: String, nodes: &[(NodeId, NodeName)]) -> Self {
        let statuses = SiteStatus::ALL.iter();
        let statuses = statuses.map(|status| Choice::new(*status, site::status_words(*status), filter.status));
        let nodes = nodes.iter();
        let nodes = nodes.map(|(id, name)| Choice::new(*id, name.as_str(), filter.node_id));
        Self {
            place: Place::new(address),
            is_any: *filter != SiteFilter::default(),
            q: typed(filter.search.as_ref()),
            statuses: statuses.collect(),
            nodes: with_gone(nodes.collect(), filter.node_id),
            unsaved: filter.unsaved.is_some(),
        }
    }
}

fn typed(search: Option<&SearchText>) -> String {
    search.map(|search| search.as_str().to_owned()).unwrap_or_default()
}
