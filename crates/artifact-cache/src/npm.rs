//! A package of the npm registry that holds WordPress and WP-CLI: for hosts that reach that registry, or a mirror of it, and
//! not the projects' own servers.

use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use domain_kernel::JobErrorCode;
use jobs::{Failure, LogStream, StepContext, StepError};
use process_exec::{CommandRunner, CommandSpec, ExecError, Output};
use sha2::Sha512;
use sites_domain::ArtifactKind;

use crate::archive;
use crate::failure::{apart, io_failed, mismatch, unavailable};
use crate::files::{checksum, hex, private_folder};
use crate::source::{Needed, Wanted};

/// Where in the package WordPress is.
const WORDPRESS: &str = "package/dist/cli/wp-files/latest/wordpress";

/// Where in the package WP-CLI is.
const WP_CLI: &str = "package/dist/cli/wp-files/wp-cli/wp-cli.phar";

/// The variables that are handed on to npm: its user's settings, and the way out.
const HANDED_ON: &[&str] = &[
    "HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
];

/// A package, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it has to be, as npm writes it: `sha512-` and the checksum in Base64.
    pub integrity: String,
    /// Which WordPress it holds.
    pub wordpress_version: String,
    /// Which WP-CLI it holds.
    pub wp_cli_version: String,
}

impl NpmPackage {
    /// The package that this release was tested with.
    pub fn pinned() -> Self {
        Self {
            name: "wp-studio".to_owned(),
            version: "1.22.0".to_owned(),
            integrity:
                "sha512-boMtahkhgWDKKyNTBA1uTK5ghnAmxXhDY6KeQCO9FmcI3/o+YOSq8JwYW5ZYnxHCxH14Jf/mD6CJTBvTWl2Ytw=="
                    .to_owned(),
            wordpress_version: "7.1.1".to_owned(),
            wp_cli_version: "2.12.0".to_owned(),
        }
    }

    pub(crate) fn wanted(&self) -> Result<Vec<Wanted>, Failure> {
        let origin = self.origin()?;
        let wanted = |kind, version: &String| Wanted {
            kind,
            version: version.clone(),
            origin: Some(origin.clone()),
        };
        Ok(vec![
            wanted(ArtifactKind::WordPress, &self.wordpress_version),
            wanted(ArtifactKind::WpCli, &self.wp_cli_version),
        ])
    }

    fn origin(&self) -> Result<String, Failure> {
        let sum = self.integrity.strip_prefix("sha512-").unwrap_or_default();
        match Base64::decode_vec(sum) {
            Ok(sum) if sum.len() == 64 => Ok(format!("sha512:{}", hex(&sum))),
            _ => Err(mismatch(format!("`{}` is no sha512 as npm writes it.", self.integrity))),
        }
    }

    pub(crate) async fn fetch(
        &self,
        needed: &[Needed],
        scratch: &Path,
        runner: &dyn CommandRunner,
        context: &StepContext,
    ) -> Result<Vec<String>, StepError> {
        let expected = self.origin()?;
        let package = self.pack(scratch, runner, context).await?;
        let path = package.clone();
        let found = apart(&package, move || checksum::<Sha512>(&path)).await?;
        let found = format!("sha512:{found}");
        if found != expected {
            let spec = self.spec();
            let told = format!("npm gave {spec} with the checksum {found}, but {expected} is pinned.");
            return Err(mismatch(told).into());
        }
        for needed in needed {
            context.check()?;
            let (package, needed) = (package.clone(), needed.clone());
            let contents = scratch.join("contents");
            let made = apart(&package.clone(), move || match needed.wanted.kind {
                ArtifactKind::WordPress => {
                    archive::repack(&package, WORDPRESS, &contents, &needed.file)?;
                    fs::remove_file(&contents)?;
                    archive::check_wordpress(&needed.file, &needed.wanted.version)
                }
                ArtifactKind::WpCli => {
                    archive::take_file(&package, WP_CLI, &needed.file)?;
                    archive::check_phar(&needed.file)
                }
            });
            made.await?;
        }
        Ok(vec![found; needed.len()])
    }

    fn spec(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Has npm fetch the package as it is, without running anything of it. Says where it is.
    async fn pack(
        &self,
        scratch: &Path,
        runner: &dyn CommandRunner,
        context: &StepContext,
    ) -> Result<PathBuf, StepError> {
        let folder = scratch.join("npm");
        private_folder(&folder).map_err(|error| io_failed(&folder, &error))?;
        context.log(&format!("Fetching {} by npm", self.spec())).await;
        let mut command = CommandSpec::new("npm")
            .args(["pack", "--ignore-scripts", "--loglevel=error", "--pack-destination"])
            .arg(&folder)
            .arg(self.spec())
            .directory(&folder);
        for name in HANDED_ON {
            if let Some(value) = std::env::var_os(name) {
                command = command.env(name, value);
            }
        }
        let output = runner
            .run(command, &context.limits)
            .await
            .map_err(|error| not_run(&error))?;
        if !output.success() {
            return Err(self.refused(&output, context).await);
        }
        let tarball = fs::read_dir(&folder).and_then(|mut entries| entries.next().transpose());
        let tarball = tarball.map_err(|error| io_failed(&folder, &error))?;
        let missing = || unavailable(format!("npm said that it fetched {}, and did not.", self.spec()));
        Ok(tarball.ok_or_else(missing)?.path())
    }

    async fn refused(&self, output: &Output, context: &StepContext) -> StepError {
        let text = output.stderr_text();
        for line in text.lines().take(40) {
            context.output(LogStream::Stderr, line).await;
        }
        let code = text
            .lines()
            .find_map(|line| line.split_once(" code ").map(|(_, code)| code.trim()));
        let code = code.unwrap_or("no code");
        if code == "ENOSPC" {
            return StepError::failed(JobErrorCode::HostDiskFull, "npm has no room for the package.");
        }
        let spec = self.spec();
        let told = format!("npm does not give {spec} ({code}): try `npm pack {spec}` as the user of the server.");
        unavailable(told).into()
    }
}

fn not_run(error: &ExecError) -> StepError {
    match error {
        ExecError::NotFound { .. } => {
            let next = "install it (`apt-get install npm`), or choose another source by PRESSLUFT_ARTIFACT_SOURCE.";
            unavailable(format!("{error}: {next}")).into()
        }
        ExecError::TimedOut { .. } => StepError::DeadlineExceeded,
        ExecError::Stopped { reason, .. } => StepError::Stopped(*reason),
        ExecError::System { .. } | ExecError::Unkillable { .. } => unavailable(error.to_string()).into(),
    }
}
