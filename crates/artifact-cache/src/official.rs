//! The downloads of WordPress and of WP-CLI themselves, checked by the checksums that they publish beside them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jobs::{Failure, StepContext, StepError};
use reqwest::Client;
use sha1::Sha1;
use sha2::Sha512;
use sites_domain::ArtifactKind;

use crate::archive;
use crate::failure::{apart, io_failed, mismatch, stoppable, unavailable};
use crate::files::{checksum, private_file};
use crate::source::{Needed, Wanted, title};

/// The WordPress of this release of Pressluft.
const WORDPRESS_VERSION: &str = "7.1.1";

/// Its WP-CLI.
const WP_CLI_VERSION: &str = "2.12.0";

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// No artifact is larger.
const MAX_ARTIFACT: u64 = 512 * 1024 * 1024;

/// No published checksum is longer.
const MAX_CHECKSUM: u64 = 4 * 1024;

/// Where the projects publish their releases, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfficialSource {
    /// The URL that `/wordpress-<version>.tar.gz` and its `.sha1` are below.
    pub wordpress_url: String,
    /// The URL that `/v<version>/wp-cli-<version>.phar` and its `.sha512` are below.
    pub wp_cli_url: String,
    /// Which WordPress.
    pub wordpress_version: String,
    /// Which WP-CLI.
    pub wp_cli_version: String,
}

impl OfficialSource {
    /// The projects' own servers, and the versions that this release was tested with.
    pub fn pinned() -> Self {
        Self {
            wordpress_url: "https://downloads.wordpress.org/release".to_owned(),
            wp_cli_url: "https://github.com/wp-cli/wp-cli/releases/download".to_owned(),
            wordpress_version: WORDPRESS_VERSION.to_owned(),
            wp_cli_version: WP_CLI_VERSION.to_owned(),
        }
    }

    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let wanted = |kind, version: &String| Wanted {
            kind,
            version: version.clone(),
            origin: None,
        };
        vec![
            wanted(ArtifactKind::WordPress, &self.wordpress_version),
            wanted(ArtifactKind::WpCli, &self.wp_cli_version),
        ]
    }

    pub(crate) async fn fetch(
        &self,
        needed: &[Needed],
        scratch: &Path,
        context: &StepContext,
    ) -> Result<Vec<String>, StepError> {
        let mut origins = Vec::new();
        for needed in needed {
            origins.push(self.fetch_one(needed, scratch, context).await?);
        }
        Ok(origins)
    }

    async fn fetch_one(&self, needed: &Needed, scratch: &Path, context: &StepContext) -> Result<String, StepError> {
        let (kind, version) = (needed.wanted.kind, needed.wanted.version.clone());
        let (url, algorithm) = match kind {
            ArtifactKind::WordPress => (format!("{}/wordpress-{version}.tar.gz", self.wordpress_url), "sha1"),
            ArtifactKind::WpCli => (
                format!("{}/v{version}/wp-cli-{version}.phar", self.wp_cli_url),
                "sha512",
            ),
        };
        context
            .log(&format!("Fetching {} {version} from {url}", title(kind)))
            .await;
        let (file, published) = (scratch.join(kind.as_str()), scratch.join(format!("{kind}.{algorithm}")));
        let sum_url = format!("{url}.{algorithm}");
        download(&sum_url, &published, MAX_CHECKSUM, context).await?;
        download(&url, &file, MAX_ARTIFACT, context).await?;
        let expected = read_checksum(&sum_url, &published, algorithm)?;
        let (from, to) = (file.clone(), needed.file.clone());
        let found = apart(&file, move || match kind {
            ArtifactKind::WordPress => checksum::<Sha1>(&from),
            ArtifactKind::WpCli => checksum::<Sha512>(&from),
        });
        let found = found.await?;
        if found != expected {
            let told = format!("{url} has the {algorithm} {found}, but {expected} is published for it.");
            return Err(mismatch(told).into());
        }
        let made = apart(&file.clone(), move || match kind {
            ArtifactKind::WordPress => {
                archive::plain_tar(&file, &to)?;
                archive::check_wordpress(&to, &version)
            }
            ArtifactKind::WpCli => {
                fs::rename(&file, &to)?;
                archive::check_phar(&to)
            }
        });
        made.await?;
        Ok(format!("{algorithm}:{found}"))
    }
}

fn read_checksum(url: &str, path: &Path, algorithm: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| io_failed(path, &error))?;
    let sum = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let length = if algorithm == "sha1" { 40 } else { 128 };
    if sum.len() != length || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unavailable(format!("{url} is no {algorithm}.")));
    }
    Ok(sum)
}

/// Fetches a URL into a file.
async fn download(url: &str, to: &Path, limit: u64, context: &StepContext) -> Result<(), StepError> {
    stoppable(context, async { Ok(save(url, to, limit).await?) }).await
}

async fn save(url: &str, to: &Path, limit: u64) -> Result<(), Failure> {
    let next = "Check that this host reaches it, or choose another source by PRESSLUFT_ARTIFACT_SOURCE.";
    let failed = |error: reqwest::Error| unavailable(format!("{url}: {}. {next}", causes(&error.without_url())));
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .user_agent(concat!("pressluft/", env!("CARGO_PKG_VERSION")))
        // A server that is asked by TLS must not send elsewhere without it.
        .https_only(url.starts_with("https://"))
        .build()
        .map_err(failed)?;
    let mut response = client.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(unavailable(format!("{url} answers {}. {next}", response.status())));
    }
    let write = |error: std::io::Error| io_failed(to, &error);
    let mut file = private_file(to).map_err(write)?;
    let mut size = 0;
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        size += chunk.len() as u64;
        if size > limit {
            return Err(unavailable(format!("{url} is larger than {limit} bytes.")));
        }
        file.write_all(&chunk).map_err(write)?;
    }
    Ok(())
}

/// An error with its causes: the first alone says nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}
