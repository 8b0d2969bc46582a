//! Whether this host can run local nodes, found out by trying: what is missing comes with the command that brings it.

use std::fs;
use std::path::{Path, PathBuf};

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::{Capability, Unavailable};
use process_exec::find_program;

use super::host::Host;
use super::mounts;
use crate::config::NspawnConfig;
use crate::failure::Code;
use crate::procfs::hierarchies;

/// The programs that are needed, and the Debian package of each.
const PROGRAMS: [(&str, &str); 7] = [
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("apt-config", "apt"),
];

/// Tried in namespaces of its own, so that nothing of it stays: an overlay on the data directory's disk, a link between two
/// network namespaces, and the firewall table of a node. $1: a folder on that disk.
const TRIAL: &str = "\
set -e
cd \"$1\"
mkdir lower upper work merged
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged || exit 11
ip link add pltrial0 type veth peer name pltrial1 || exit 12
printf 'table inet pressluft_trial {\\n chain c {\\n type nat hook postrouting priority srcnat;\\n masquerade\\n }\\n}\\n' |
    nft -f - || exit 13
umount merged
";

/// Checks the settings and the host.
pub(crate) async fn check(host: &Host, ctx: &StepContext, config: &NspawnConfig) -> Result<Capability, StepError> {
    if let Err(error) = config.check() {
        return Ok(unavailable(
            Code::LocalConfigInvalid,
            format!("The settings of the nspawn provider are not valid: {error}."),
            "Correct the setting and restart Pressluft.",
        ));
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(unavailable(
            Code::LocalProviderUnavailable,
            "Local nodes by systemd-nspawn need root.".to_owned(),
            "Run Pressluft as root, as in `sudo -E pressluft dev`.",
        ));
    }
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| find_program(program.as_ref()).is_none())
        .collect();
    if !missing.is_empty() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        return Ok(unavailable(
            Code::LocalProviderUnavailable,
            format!("Not installed: {}.", programs.join(", ")),
            &format!("Run `apt-get install {}`.", packages.join(" ")),
        ));
    }
    if let Some(reason) = cgroups_unusable()? {
        return Ok(unavailable(
            Code::LocalProviderUnavailable,
            reason,
            "Run Pressluft where cgroups are mounted and writable, in a container with `--privileged --cgroupns=host`.",
        ));
    }
    try_out(host, ctx, config).await
}

fn cgroups_unusable() -> Result<Option<String>, StepError> {
    let found = hierarchies(&mounts::table(Code::LocalProviderUnavailable)?);
    if found.is_empty() {
        return Ok(Some("No cgroup hierarchy is mounted.".to_owned()));
    }
    let closed = found
        .iter()
        .find(|hierarchy| rustix::fs::access(&hierarchy.root, rustix::fs::Access::WRITE_OK).is_err());
    Ok(closed.map(|hierarchy| format!("The cgroup hierarchy {} is read-only.", hierarchy.root.display())))
}

async fn try_out(host: &Host, ctx: &StepContext, config: &NspawnConfig) -> Result<Capability, StepError> {
    let disk = nearest_folder(&config.data_dir);
    let trial = match tempfile::Builder::new().prefix(".pressluft-trial-").tempdir_in(&disk) {
        Ok(trial) => trial,
        Err(error) => {
            return Ok(unavailable(
                Code::LocalProviderUnavailable,
                format!("{} cannot be written to: {error}.", disk.display()),
                "Set DATA_DIR to a folder on a writable disk.",
            ));
        }
    };
    let path = trial.path().to_string_lossy();
    let status = host
        .status(
            ctx,
            &[
                "unshare",
                "--mount",
                "--net",
                "sh",
                "-c",
                TRIAL,
                "pressluft-trial",
                &path,
            ],
        )
        .await?;
    let (reason, remedy) = match status {
        0 => return Ok(Capability::Available),
        11 => (
            format!("An overlay cannot be mounted on the disk of {}.", disk.display()),
            "Run `modprobe overlay`, or set DATA_DIR to a folder on ext4 or xfs (not itself on an overlay).",
        ),
        12 => (
            "A pair of network interfaces cannot be made.".to_owned(),
            "Run `modprobe veth`.",
        ),
        13 => (
            "The firewall rules of a node cannot be set.".to_owned(),
            "Run `modprobe nf_tables nft_chain_nat nft_masq`.",
        ),
        _ => (
            "Namespaces for mounts and networks cannot be made.".to_owned(),
            "Run Pressluft as root outside of a container, or in one with `--privileged`.",
        ),
    };
    Ok(unavailable(Code::LocalProviderUnavailable, reason, remedy))
}

/// The folder itself, or the nearest one above that exists: the data directory may not have been made yet.
fn nearest_folder(path: &Path) -> PathBuf {
    let existing = path
        .ancestors()
        .find(|folder| fs::metadata(folder).is_ok_and(|data| data.is_dir()));
    existing.unwrap_or(Path::new("/")).to_path_buf()
}

fn unavailable(code: JobErrorCode, reason: String, remedy: &str) -> Capability {
    Capability::Unavailable(Unavailable {
        code,
        reason,
        remedy: remedy.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use process_exec::fake::ScriptedRunner;
    use test_support::ManualClock;

    use super::*;

    #[tokio::test]
    async fn each_thing_that_a_host_lacks_comes_with_its_remedy() {
        let data = tempfile::tempdir().unwrap();
        let config = NspawnConfig::new(data.path().join("not-made-yet"), "/c");
        let ctx = StepContext::outside_job("test", Duration::from_secs(9), Arc::new(ManualClock::new()));
        for (status, reason, remedy) in [
            (11, "overlay", "modprobe overlay"),
            (12, "interfaces", "modprobe veth"),
            (1, "Namespaces", "--privileged"),
        ] {
            let host = Host::new(Arc::new(ScriptedRunner::new().answer(status, "", "")));
            let Capability::Unavailable(missing) = try_out(&host, &ctx, &config).await.unwrap() else {
                panic!("status {status} is no success")
            };
            assert_eq!(missing.code, Code::LocalProviderUnavailable);
            assert!(
                missing.reason.contains(reason) && missing.remedy.contains(remedy),
                "{missing:?}"
            );
        }
        let host = Host::new(Arc::new(ScriptedRunner::new().answer(0, "", "")));
        assert_eq!(try_out(&host, &ctx, &config).await.unwrap(), Capability::Available);
        assert_eq!(
            fs::read_dir(data.path()).unwrap().count(),
            0,
            "nothing of the trial stays"
        );
    }

    #[tokio::test]
    async fn a_bad_setting_is_told_before_the_host_is_looked_at() {
        let ctx = StepContext::outside_job("test", Duration::from_secs(9), Arc::new(ManualClock::new()));
        let host = Host::new(Arc::new(ScriptedRunner::new()));
        let told = check(&host, &ctx, &NspawnConfig::new("/srv/a,b", "/c")).await.unwrap();
        let Capability::Unavailable(missing) = told else {
            panic!("{told:?}")
        };
        assert_eq!(missing.code, Code::LocalConfigInvalid);
        assert!(missing.reason.contains("DATA_DIR"), "{}", missing.reason);
    }
}
