//! The commands, one file each.

pub(crate) mod admin;
pub(crate) mod artifacts;
pub(crate) mod audit;
pub(crate) mod doctor;
pub(crate) mod migrate;
pub(crate) mod openapi;
pub(crate) mod serve;
