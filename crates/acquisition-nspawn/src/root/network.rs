//! A machine's network: a namespace of its own, a pair of interfaces into it, the firewall table, forwarding.

use std::fs;
use std::path::{Path, PathBuf};

use jobs::{StepContext, StepError};

use super::host::Host;
use super::mounts;
use crate::address::Link;
use crate::failure::{Code, io_failed};
use crate::files::remove_if_there;
use crate::names::MachineNames;
use crate::rules;

/// The interface inside. Not `host0`: that name is claimed by a rule of systemd-networkd.
const INNER: &str = "eth0";

/// Where the kernel shows whether this host forwards packets.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// The namespace's file, which nspawn is given.
pub(crate) fn namespace_path(names: &MachineNames) -> PathBuf {
    Path::new("/run/netns").join(names.instance())
}

fn interface_path(names: &MachineNames) -> PathBuf {
    Path::new("/sys/class/net").join(names.interface())
}

/// Whether the host's end and the namespace are there.
pub(crate) fn is_whole(names: &MachineNames) -> bool {
    interface_path(names).exists() && namespace_path(names).exists()
}

/// Makes the namespace and the interfaces of a machine that does not run, from nothing, whatever is there.
pub(crate) async fn build(host: &Host, ctx: &StepContext, names: &MachineNames) -> Result<(), StepError> {
    let code = Code::LocalAcquisitionFailed;
    remove_links(host, ctx, code, names).await?;
    let (instance, interface) = (names.instance(), names.interface());
    host.expect(ctx, code, &["ip", "netns", "add", &instance]).await?;
    let pair = ["type", "veth", "peer", "name", INNER, "netns", &instance];
    host.expect(ctx, code, &[&["ip", "link", "add", &interface][..], &pair].concat())
        .await?;
    Ok(())
}

/// Sees to the addresses, the route, the firewall table and forwarding. Changes nothing where all of it is in place, so it
/// is done to running machines too.
pub(crate) async fn configure(
    host: &Host,
    ctx: &StepContext,
    names: &MachineNames,
    link: Link,
) -> Result<(), StepError> {
    let code = Code::LocalAcquisitionFailed;
    // The rules come first: there is no moment in which the machine could reach what it must not.
    host.feed(ctx, code, &["nft", "-f", "-"], &rules::replace_table(names, link))
        .await?;
    let outside = format!(
        "addr replace {host_end}/30 dev {interface}\n\
         link set {interface} up\n",
        interface = names.interface(),
        host_end = link.host()
    );
    host.feed(ctx, code, &["ip", "-batch", "-"], &outside).await?;
    let inside = format!(
        "link set lo up\n\
         addr replace {node}/30 dev {INNER}\n\
         link set {INNER} up\n\
         route replace default via {host_end}\n",
        node = link.node(),
        host_end = link.host()
    );
    host.feed(ctx, code, &["ip", "-n", &names.instance(), "-batch", "-"], &inside)
        .await?;
    let path = Path::new(FORWARD);
    let now = fs::read_to_string(path).map_err(|error| io_failed(code, path, &error))?;
    if now.trim() != "1" {
        fs::write(path, "1").map_err(|error| io_failed(code, path, &error))?;
    }
    Ok(())
}

/// Removes all of it: interfaces, namespace, firewall table.
pub(crate) async fn remove(host: &Host, ctx: &StepContext, names: &MachineNames) -> Result<(), StepError> {
    let code = Code::NodeReleaseFailed;
    remove_links(host, ctx, code, names).await?;
    if has_table(host, ctx, code, names).await? {
        host.expect(ctx, code, &["nft", "delete", "table", "inet", &names.table()])
            .await?;
    }
    Ok(())
}

async fn remove_links(host: &Host, ctx: &StepContext, code: Code, names: &MachineNames) -> Result<(), StepError> {
    if interface_path(names).exists() {
        // The pair's other end goes with it.
        host.expect(ctx, code, &["ip", "link", "delete", &names.interface()])
            .await?;
    }
    let path = namespace_path(names);
    if path.exists() {
        if mounts::table(code)?.iter().any(|mount| mount.target == path) {
            host.expect(ctx, code, &["ip", "netns", "delete", &names.instance()])
                .await?;
        }
        // A crash between the two halves of `ip netns add` leaves the bare file.
        remove_if_there(&path).map_err(|error| io_failed(code, &path, &error))?;
    }
    Ok(())
}

async fn has_table(host: &Host, ctx: &StepContext, code: Code, names: &MachineNames) -> Result<bool, StepError> {
    let listing = host.expect(ctx, code, &["nft", "list", "tables"]).await?;
    let wanted = format!("table inet {}", names.table());
    Ok(listing.lines().any(|line| line.trim() == wanted))
}

/// What is left of it, named for the operator.
pub(crate) async fn leftovers(host: &Host, ctx: &StepContext, names: &MachineNames) -> Result<Vec<String>, StepError> {
    let mut left = Vec::new();
    if interface_path(names).exists() {
        left.push(format!("interface {}", names.interface()));
    }
    if namespace_path(names).exists() {
        left.push(format!("network namespace {}", names.instance()));
    }
    if has_table(host, ctx, Code::NodeReleaseFailed, names).await? {
        left.push(format!("firewall table inet {}", names.table()));
    }
    Ok(left)
}
