//! Gives a machine back: everything of it is removed, then looked for again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jobs::{StepContext, StepError};

use super::host::Host;
use super::leases::HostState;
use super::{cgroup, machine, mounts, network, runtime_image};
use crate::config::NspawnConfig;
use crate::failure::{Code, io_failed};
use crate::files::remove_if_there;
use crate::names::MachineNames;
use crate::procfs::mounts_under;
use crate::record::MachineFolder;

const CODE: Code = Code::NodeReleaseFailed;

/// Removes the machine. Every part may be gone already; each is removed whether or not the others are there. The lease goes
/// last, so that nobody gets the address while anything of the machine is left.
pub(crate) async fn release(
    host: &Host,
    ctx: &StepContext,
    config: &NspawnConfig,
    names: &MachineNames,
    folder: &MachineFolder,
) -> Result<(), StepError> {
    let instance = names.instance();
    if let Some(owner) = HostState::lock(ctx, config, CODE).await?.other_owner(config, &instance) {
        // Everything but the folder is the other's.
        ctx.log(&format!(
            "{instance} is a machine of {}; only its copy is removed.",
            owner.display()
        ))
        .await;
        mounts::unmount_all(host, ctx, CODE, folder.path()).await?;
        return remove_folder(host, ctx, folder).await;
    }
    machine::stop(ctx, CODE, names, folder, config.stop_limit).await?;
    ctx.point("release.machine_stopped").await;
    forget_root_lock(folder)?;
    mounts::unmount_all(host, ctx, CODE, folder.path()).await?;
    network::remove(host, ctx, names).await?;
    cgroup::remove(&instance)?;
    mounts::forget_machine(&instance)?;
    ctx.point("release.host_cleared").await;
    remove_folder(host, ctx, folder).await?;
    runtime_image::let_go(config, &instance)?;
    let left = leftovers(host, ctx, names, folder).await?;
    if !left.is_empty() {
        return Err(StepError::failed(
            CODE,
            format!("Left of {instance}: {}.", left.join(", ")),
        ));
    }
    let mut state = HostState::lock(ctx, config, CODE).await?;
    if state.give_back(&instance)? {
        mounts::drop_nspawn_run(host, ctx).await?;
    }
    Ok(())
}

async fn remove_folder(host: &Host, ctx: &StepContext, folder: &MachineFolder) -> Result<(), StepError> {
    let path = folder.path().to_string_lossy();
    host.expect(ctx, CODE, &["rm", "-rf", "--one-file-system", "--", &path])
        .await?;
    Ok(())
}

/// nspawn locks a root by a file named after its device and inode; a killed one leaves it.
fn forget_root_lock(folder: &MachineFolder) -> Result<(), StepError> {
    let Ok(root) = fs::metadata(folder.merged()) else {
        return Ok(());
    };
    let path = Path::new("/run/systemd/nspawn/locks").join(format!("inode-{}:{}", root.dev(), root.ino()));
    remove_if_there(&path).map_err(|error| io_failed(CODE, &path, &error))
}

async fn leftovers(
    host: &Host,
    ctx: &StepContext,
    names: &MachineNames,
    folder: &MachineFolder,
) -> Result<Vec<String>, StepError> {
    let instance = names.instance();
    let mut left = network::leftovers(host, ctx, names).await?;
    let table = mounts::table(CODE)?;
    left.extend(
        mounts_under(&table, folder.path())
            .iter()
            .map(|mount| format!("mount {}", mount.target.display())),
    );
    left.extend(
        cgroup::existing(CODE, &instance)?
            .iter()
            .map(|group| format!("cgroup {}", group.display())),
    );
    left.extend(
        cgroup::members(CODE, &instance)?
            .iter()
            .map(|pid| format!("process {pid}")),
    );
    if folder.path().exists() {
        left.push(format!("folder {}", folder.path().display()));
    }
    Ok(left)
}
