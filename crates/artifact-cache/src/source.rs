//! Where artifacts come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobs::{Failure, StepContext, StepError};
use process_exec::CommandRunner;
use sites_domain::ArtifactKind;

use crate::folder;
use crate::npm::NpmPackage;
use crate::official::OfficialSource;

/// Where artifacts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactSource {
    /// The downloads of the projects themselves.
    Official(OfficialSource),
    /// A package of the npm registry that the host's `npm` is set up for.
    Npm(NpmPackage),
    /// A folder of this host: `wordpress-<version>.tar` or `.tar.gz` and `wp-cli-<version>.phar`, the newest of each, with a
    /// file `SHA256SUMS`.
    Folder(PathBuf),
}

/// What a source gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) kind: ArtifactKind,
    pub(crate) version: String,
    /// The checksum of what the source gives, as `sha512:<hex>`; None where only fetching tells it.
    pub(crate) origin: Option<String>,
}

/// What is to be fetched, and the file that it is to become.
#[derive(Debug, Clone)]
pub(crate) struct Needed {
    pub(crate) wanted: Wanted,
    pub(crate) file: PathBuf,
}

impl ArtifactSource {
    /// Its name, as in records and in the setting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Official(_) => "official",
            Self::Npm(_) => "npm",
            Self::Folder(_) => "folder",
        }
    }

    /// What it gives.
    pub(crate) async fn wanted(&self) -> Result<Vec<Wanted>, Failure> {
        match self {
            Self::Official(official) => Ok(official.wanted()),
            Self::Npm(package) => package.wanted(),
            Self::Folder(path) => folder::wanted(path).await,
        }
    }

    /// Fetches and checks what is needed, by way of the folder `scratch`. Says the origin of each.
    pub(crate) async fn fetch(
        &self,
        needed: &[Needed],
        scratch: &Path,
        runner: &Arc<dyn CommandRunner>,
        context: &StepContext,
    ) -> Result<Vec<String>, StepError> {
        match self {
            Self::Official(official) => official.fetch(needed, scratch, context).await,
            Self::Npm(package) => package.fetch(needed, scratch, runner.as_ref(), context).await,
            Self::Folder(path) => Ok(folder::fetch(path, needed).await?),
        }
    }
}

/// What an artifact is called to an operator.
pub(crate) fn title(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::WordPress => "WordPress",
        ArtifactKind::WpCli => "WP-CLI",
    }
}
