//! Keeps backups: in a folder of this host, or in a bucket of an S3-compatible server.
//!
//! One implementation of [`BackupStorage`](sites_domain::BackupStorage) over `object_store` serves both. An object is
//! written as `<key>.partial`, read back and compared, and only then moved to its own key. At most a part (8 MiB) is in memory
//! on either way. What `object_store` does not do for a folder (private modes, flushing to the disk, removing what a
//! crash left) is in `folder`.

mod folder;
mod place;
mod read;
mod s3;
mod storage;
mod upload;

#[cfg(test)]
mod tests;

pub use s3::S3Settings;
pub use storage::ObjectStorage;
