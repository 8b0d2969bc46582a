//! Mounts: a machine's overlay root, and the tmpfs that nspawn asks for where no systemd has made one.

use std::fs;
use std::path::Path;

use jobs::{StepContext, StepError};

use super::host::Host;
use crate::failure::{Code, io_failed};
use crate::files::make_dir;
use crate::procfs::{Mount, mounts_under, parse_mountinfo};
use crate::record::MachineFolder;

/// nspawn keeps its locks and sockets here and refuses a disk.
const NSPAWN_RUN: &str = "/run/systemd/nspawn";

/// The source by which our tmpfs is told from another's.
const NSPAWN_SOURCE: &str = "pressluft-nspawn";

/// The mounts of this host, in the order of their making.
pub(crate) fn table(code: Code) -> Result<Vec<Mount>, StepError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).map_err(|error| io_failed(code, path, &error))?;
    Ok(parse_mountinfo(&text))
}

/// Mounts the machine's root over the image; a mount that stands is kept.
pub(crate) async fn mount_root(
    host: &Host,
    ctx: &StepContext,
    folder: &MachineFolder,
    lower: &Path,
) -> Result<(), StepError> {
    let code = Code::LocalAcquisitionFailed;
    let merged = folder.merged();
    if table(code)?
        .iter()
        .any(|mount| mount.target == merged && mount.fs_type == "overlay")
    {
        return Ok(());
    }
    for path in [folder.upper(), folder.work(), merged.clone()] {
        make_dir(&path, 0o755).map_err(|error| io_failed(code, &path, &error))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        folder.upper().display(),
        folder.work().display()
    );
    let merged = merged.to_string_lossy();
    host.expect(
        ctx,
        code,
        &["mount", "-t", "overlay", "overlay", "-o", &options, &merged],
    )
    .await?;
    Ok(())
}

/// Unmounts everything at and below `path`, the innermost first.
pub(crate) async fn unmount_all(host: &Host, ctx: &StepContext, code: Code, path: &Path) -> Result<(), StepError> {
    for mount in mounts_under(&table(code)?, path) {
        host.expect(ctx, code, &["umount", &mount.target.to_string_lossy()])
            .await?;
    }
    Ok(())
}

/// Sees to the tmpfs that nspawn asks for. The caller holds the host-wide lock.
pub(crate) async fn ensure_nspawn_run(host: &Host, ctx: &StepContext) -> Result<(), StepError> {
    let code = Code::LocalAcquisitionFailed;
    let path = Path::new(NSPAWN_RUN);
    make_dir(path, 0o755).map_err(|error| io_failed(code, path, &error))?;
    if is_tmpfs(path) {
        return Ok(());
    }
    host.expect(
        ctx,
        code,
        &["mount", "-t", "tmpfs", "-o", "mode=0755", NSPAWN_SOURCE, NSPAWN_RUN],
    )
    .await?;
    Ok(())
}

/// Takes the tmpfs away again, if it is ours and nobody's machine uses it. The caller holds the host-wide lock and has seen
/// that no machine of Pressluft's is left.
pub(crate) async fn drop_nspawn_run(host: &Host, ctx: &StepContext) -> Result<(), StepError> {
    let mounts = table(Code::NodeReleaseFailed)?;
    let ours = |mount: &&Mount| mount.target == Path::new(NSPAWN_RUN) && mount.source == NSPAWN_SOURCE;
    if !mounts.iter().any(|mount| ours(&mount)) || machines_of_others() {
        return Ok(());
    }
    host.expect(ctx, Code::NodeReleaseFailed, &["umount", NSPAWN_RUN])
        .await?;
    Ok(())
}

/// Whether nspawn's folder shows a machine, whoever started it.
fn machines_of_others() -> bool {
    let folder = Path::new(NSPAWN_RUN).join("propagate");
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Removes what a killed nspawn leaves in its run folder.
pub(crate) fn forget_machine(instance: &str) -> Result<(), StepError> {
    for kind in ["propagate", "unix-export"] {
        let path = Path::new(NSPAWN_RUN).join(kind).join(instance);
        crate::files::absent_is_fine(fs::remove_dir_all(&path))
            .map_err(|error| io_failed(Code::NodeReleaseFailed, &path, &error))?;
    }
    Ok(())
}

fn is_tmpfs(path: &Path) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == TMPFS_MAGIC)
}
