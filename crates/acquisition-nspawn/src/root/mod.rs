//! Everything that is done as root on this host, and nothing else. What can be decided without touching the host is
//! decided outside of this module, where it is tested without root.

pub(crate) mod capability;
pub(crate) mod cgroup;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod injection;
pub(crate) mod leases;
pub(crate) mod machine;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod release;
pub(crate) mod rootfs;
pub(crate) mod runtime_image;
pub(crate) mod tree;
