//! Keeps WordPress and WP-CLI on the control plane, by version and checksum.
//!
//! A [`Cache`] is a folder that several processes and data directories share. Each artifact is an entry, a folder
//! `<kind>-<version>-<source>` of a file and its record, made whole beside and then moved into its place, under a lock of its
//! own. Where artifacts come from is an [`ArtifactSource`]: the official downloads, an npm package, or files of this host.

mod archive;
mod cache;
mod entry;
mod failure;
mod files;
mod folder;
mod npm;
mod official;
mod source;

pub use cache::{Cache, CachedFile, CheckedFile, FileState};
pub use npm::NpmPackage;
pub use official::OfficialSource;
pub use source::ArtifactSource;
