//! What the templates are given: plain texts, already in the words that people read.

pub(crate) mod activity;
pub(crate) mod create;
pub(crate) mod job;
pub(crate) mod node;
pub(crate) mod provider;
pub(crate) mod text;
pub(crate) mod when;
