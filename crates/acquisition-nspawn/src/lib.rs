//! Local nodes by systemd-nspawn: each node is a container that boots its own systemd and sshd, has its own address and
//! is provisioned over SSH like any other. It needs root and no virtualization.
//!
//! A machine is named `pressluft-<short id>` and is made of
//! - `<data dir>/machines/<name>/`: its record, its upper layer, its console; the lower layer is an image in
//!   `<cache dir>/images`, shared by all and never written to: a base image, or a scrubbed copy of a machine that was
//!   provisioned (`keep_image`);
//! - a network namespace of its name, a pair of interfaces `pl<short id>` and `eth0` with a /30 of the configured range,
//!   and one nftables table `inet pressluft_<short id>`: out into the world behind the host's address, nothing towards the
//!   host or other nodes but replies;
//! - a cgroup of its name in every hierarchy (on a host with systemd a transient unit instead; not tested so far);
//! - a lease in `/var/lib/pressluft/nspawn/addresses.json`, host-wide, because several data directories may run on one host.
//!
//! The machine outlives the server. It is found again by the pid, start time and boot that its start script wrote down,
//! never by a name. Every step looks at the world first, so `acquire` and `release` go on from wherever the last one ended.
//!
//! Shared by all machines and left in place: `net.ipv4.ip_forward=1`, `/run/netns`, finished images. The tmpfs on
//! `/run/systemd/nspawn` is removed with the last machine. Another firewall of the host may still refuse forwarded packets
//! (Docker sets the forward policy of iptables to drop): an accept here does not overrule it.
//!
//! Machines run as root on the host's kernel: they are for sites that the operator trusts.
//!
//! What lives here: acquisition only. Nothing in this crate logs in by SSH, provisions, or knows of jobs' storage. All that
//! touches the host as root is in `root`; the rest is pure.

mod address;
mod apt;
mod config;
mod failure;
mod files;
mod keep;
mod names;
mod procfs;
mod provider;
mod recipe;
mod record;
mod root;
mod rules;
mod scrub;

pub use address::{AddressRange, RangeError};
pub use config::{ConfigError, NspawnConfig, STATE_DIR};
pub use provider::NspawnProvider;

/// The provider's id, as stored with its nodes.
pub const PROVIDER_ID: &str = "nspawn";

/// The login user of every node; may use sudo without a password.
pub const ADMIN_USER: &str = "pressluft";
