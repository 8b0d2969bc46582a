//! Local nodes by Multipass: so far only the answer to whether this host could make them.
//!
//! The one command that is ever started here is `multipass version`, which changes nothing. No key of Multipass's own is
//! read, and nothing else stands in for what Multipass cannot do here.

mod capability;
mod provider;

pub use provider::MultipassProvider;

/// The provider's id, as stored with nodes.
pub const PROVIDER_ID: &str = "multipass";
