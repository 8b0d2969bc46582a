//! Artifacts as files of this host, with their checksums.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use jobs::Failure;
use sha2::Sha256;
use sites_domain::ArtifactKind;

use crate::archive;
use crate::failure::{apart, mismatch, unavailable};
use crate::files::{checksum, private_file};
use crate::source::{Needed, Wanted, title};

const CHECKSUMS: &str = "SHA256SUMS";

/// A line of `SHA256SUMS` that names an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    kind: ArtifactKind,
    version: String,
    name: String,
    sha256: String,
}

/// What the folder gives: the newest of each.
pub(crate) async fn wanted(folder: &Path) -> Result<Vec<Wanted>, Failure> {
    let listed = listed(folder).await?;
    let wanted = |listed: Listed| Wanted {
        kind: listed.kind,
        version: listed.version,
        origin: Some(format!("sha256:{}", listed.sha256)),
    };
    let newest = |kind| newest(&listed, kind).map(wanted).ok_or_else(|| missing(folder, kind));
    Ok(vec![newest(ArtifactKind::WordPress)?, newest(ArtifactKind::WpCli)?])
}

/// Copies and checks what is needed.
pub(crate) async fn fetch(folder: &Path, needed: &[Needed]) -> Result<Vec<String>, Failure> {
    let listed = listed(folder).await?;
    let mut origins = Vec::new();
    for needed in needed {
        let kind = needed.wanted.kind;
        let found = listed
            .iter()
            .find(|listed| listed.kind == kind && listed.version == needed.wanted.version);
        let found = found.ok_or_else(|| missing(folder, kind))?;
        let (from, to) = (folder.join(&found.name), needed.file.clone());
        let version = found.version.clone();
        // Copied first and checked then: what is used is what was checked, whatever happens to the folder.
        let copy = to.with_extension("copy");
        let sum = apart(&from.clone(), {
            let copy = copy.clone();
            move || {
                io::copy(&mut File::open(&from)?, &mut private_file(&copy)?)?;
                checksum::<Sha256>(&copy)
            }
        });
        let sum = sum.await?;
        if sum != found.sha256 {
            let (name, listed) = (folder.join(&found.name), &found.sha256);
            let told = format!("{}: {CHECKSUMS} says {listed}, the file is {sum}.", name.display());
            return Err(mismatch(told));
        }
        let name = folder.join(&found.name);
        let made = apart(&name, move || match kind {
            ArtifactKind::WordPress => {
                archive::plain_tar(&copy, &to)?;
                fs::remove_file(&copy)?;
                archive::check_wordpress(&to, &version)
            }
            ArtifactKind::WpCli => {
                fs::rename(&copy, &to)?;
                archive::check_phar(&to)
            }
        });
        made.await?;
        origins.push(format!("sha256:{sum}"));
    }
    Ok(origins)
}

fn missing(folder: &Path, kind: ArtifactKind) -> Failure {
    let name = match kind {
        ArtifactKind::WordPress => "wordpress-<version>.tar",
        ArtifactKind::WpCli => "wp-cli-<version>.phar",
    };
    let place = folder.join(CHECKSUMS);
    unavailable(format!(
        "{} names no `{name}`: put {} into that folder, then list it by `sha256sum wordpress-* wp-cli-* > {CHECKSUMS}`.",
        place.display(),
        title(kind),
    ))
}

async fn listed(folder: &Path) -> Result<Vec<Listed>, Failure> {
    let path = folder.join(CHECKSUMS);
    let text = apart(&path, {
        let path = path.clone();
        move || fs::read_to_string(path)
    });
    Ok(text.await?.lines().filter_map(parse_line).collect())
}

/// Reads a line as `sha256sum` writes it: the checksum, a space, a space or an asterisk, the name.
fn parse_line(line: &str) -> Option<Listed> {
    let (sha256, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?.trim_end();
    let name = name.strip_prefix("./").unwrap_or(name);
    let sha256 = sha256.to_ascii_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let of_wordpress = name.strip_prefix("wordpress-").and_then(|rest| {
        let rest = rest.strip_suffix(".gz").unwrap_or(rest);
        rest.strip_suffix(".tar")
    });
    let of_wp_cli = name.strip_prefix("wp-cli-").and_then(|rest| rest.strip_suffix(".phar"));
    let (kind, version) = match (of_wordpress, of_wp_cli) {
        (Some(version), _) => (ArtifactKind::WordPress, version),
        (None, Some(version)) => (ArtifactKind::WpCli, version),
        (None, None) => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !version.starts_with(|first: char| first.is_ascii_digit()) || !version.bytes().all(plain) {
        return None;
    }
    Some(Listed {
        kind,
        version: version.to_owned(),
        name: name.to_owned(),
        sha256,
    })
}

fn newest(listed: &[Listed], kind: ArtifactKind) -> Option<Listed> {
    let of_kind = listed.iter().filter(|listed| listed.kind == kind);
    of_kind.max_by(|a, b| compare(&a.version, &b.version)).cloned()
}

/// Compares versions number by number; a release is newer than its own previews (`6.9-beta1`).
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |version: &str| {
        let (release, preview) = match version.split_once('-') {
            Some((release, preview)) => (release, Some(preview.to_owned())),
            None => (version, None),
        };
        let numbers: Vec<u64> = release.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        (numbers, preview.is_none(), preview)
    };
    parts(a).cmp(&parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_is_chosen() {
        let sum = "a".repeat(64);
        let text = format!(
            "{sum}  wordpress-6.9.tar.gz\n{sum} *wordpress-6.10.tar\n{sum}  wordpress-6.10-RC1.tar\n{sum}  ./wp-cli-2.12.0.phar\n\
             {sum}  wordpress-../../x.tar\nshort  wordpress-9.tar\n{sum}  README\n"
        );
        let listed: Vec<_> = text.lines().filter_map(parse_line).collect();
        assert_eq!(listed.len(), 4, "{listed:?}");
        let name = |kind| newest(&listed, kind).unwrap().name;
        assert_eq!(name(ArtifactKind::WordPress), "wordpress-6.10.tar");
        assert_eq!(name(ArtifactKind::WpCli), "wp-cli-2.12.0.phar");
    }
}
