//! What makes one machine's root its own: name, identity, host key, resolver. Written into the upper layer before the
//! machine first runs; afterwards the root belongs to the machine and nothing is written into it from outside.

use std::fs;
use std::path::{Path, PathBuf};

use jobs::{StepContext, StepError};
use nodes_domain::{HostKey, Instance};
use ssh_key::rand_core::{OsRng, RngCore};
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use super::host::Host;
use super::image::Image;
use super::mounts;
use crate::failure::{Code, io_failed};
use crate::files::{make_dir, refuse_full_disk, write_atomic};
use crate::recipe::node_resolv_conf;
use crate::record::{MachineFolder, MachineRecord};

const CODE: Code = Code::LocalAcquisitionFailed;

/// What a node's provisioning and first sites take at least.
const NODE_BYTES: u64 = 1_000_000_000;

/// Prepares the root of a machine that has no record yet, and records it. What an interrupted attempt left is discarded.
pub(crate) async fn prepare(
    host: &Host,
    ctx: &StepContext,
    folder: &MachineFolder,
    instance: &Instance,
    image: &Image,
) -> Result<MachineRecord, StepError> {
    refuse_full_disk(folder.path(), NODE_BYTES, "A node")?;
    mounts::unmount_all(host, ctx, CODE, folder.path()).await?;
    for path in [folder.upper(), folder.work()] {
        host.expect(
            ctx,
            CODE,
            &["rm", "-rf", "--one-file-system", "--", &path.to_string_lossy()],
        )
        .await?;
    }
    let upper = folder.upper();
    let host_key = write_identity(&upper, &instance.name())?;
    let record = MachineRecord {
        node_id: instance.node_id,
        image: image.key.clone(),
        base: Some(image.base.clone()),
        lower: image.rootfs.clone(),
        host_key,
    };
    folder.store(&record)?;
    Ok(record)
}

fn write_identity(upper: &Path, name: &str) -> Result<HostKey, StepError> {
    let etc = upper.join("etc");
    // Folders of the upper layer replace the mode of those below.
    for path in [upper, &etc, &etc.join("ssh")] {
        make_dir(path, 0o755).map_err(|error| io_failed(CODE, path, &error))?;
    }
    let (private, public) = new_host_key()?;
    let files = [
        ("hostname", format!("{name}\n"), 0o644),
        // sudo complains where the machine's own name has no address.
        (
            "hosts",
            format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost\n"),
            0o644,
        ),
        ("machine-id", format!("{}\n", machine_id()), 0o444),
        ("resolv.conf", resolv_conf()?, 0o644),
        ("ssh/ssh_host_ed25519_key", private, 0o600),
        ("ssh/ssh_host_ed25519_key.pub", format!("{public} {name}\n"), 0o644),
    ];
    for (file, content, mode) in files {
        let path = etc.join(file);
        write_atomic(&path, content.as_bytes(), mode).map_err(|error| io_failed(CODE, &path, &error))?;
    }
    Ok(public)
}

fn new_host_key() -> Result<(String, HostKey), StepError> {
    let failed =
        |error: ssh_key::Error| StepError::failed(CODE, format!("the machine's host key cannot be made: {error}"));
    let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?.to_string();
    let public = key.public_key().to_openssh().map_err(failed)?;
    let public = public
        .parse()
        .map_err(|error| StepError::failed(CODE, format!("the machine's host key: {error}")))?;
    Ok((private, public))
}

/// 128 random bits in the form that systemd writes.
fn machine_id() -> String {
    let mut bytes = [0_u8; 16];
    OsRng.fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The host's resolver as a node can use it; behind systemd-resolved's stub stand the real servers.
fn resolv_conf() -> Result<String, StepError> {
    let places = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"].map(PathBuf::from);
    let usable = places
        .iter()
        .find_map(|path| node_resolv_conf(&fs::read_to_string(path).ok()?));
    usable.ok_or_else(|| {
        StepError::failed(
            Code::LocalConfigInvalid,
            "/etc/resolv.conf names no resolver that a node can reach: add one that is not on the loopback.",
        )
    })
}
