//! What a base image is made of, and the key that it is cached under. Pure: [`crate::root::image`] reads the host and builds.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::ADMIN_USER;

/// The packages of every base image: what boots, what Ansible needs to log in, and what the node's first `apt-get` needs.
pub(crate) const PACKAGES: [&str; 10] = [
    "apt",
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "python3",
    "iproute2",
    "ca-certificates",
    "udev",
];

/// What is run inside the image at its end.
pub(crate) const BAKE_SCRIPT: &str = include_str!("root/bake.sh");

/// A file of the host that every node shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedFile {
    /// Where it lies, on the host and in the image.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) content: Vec<u8>,
}

/// Everything that decides what a base image holds, but for the day on which its packages are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The distribution, as `ID` of os-release names it.
    pub(crate) distribution: String,
    /// The release's code name.
    pub(crate) release: String,
    /// The machine's architecture, as Rust names it.
    pub(crate) architecture: String,
    /// The apt sources of the image.
    pub(crate) sources: String,
    /// apt's transport settings on the nodes.
    pub(crate) node_settings: Vec<String>,
    /// apt's transport settings while the image is built, on the host.
    pub(crate) build_settings: Vec<String>,
    /// Keyrings and certificate authorities of the host.
    pub(crate) files: Vec<SharedFile>,
}

impl Recipe {
    /// The folder's name in the image cache: the release and a hash of all that decides the content.
    pub(crate) fn key(&self) -> String {
        let mut hash = Sha256::new();
        // Every part is preceded by its length, so that no two recipes read the same.
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for text in [&self.distribution, &self.release, &self.architecture, &self.sources] {
            part(text.as_bytes());
        }
        part(PACKAGES.join(" ").as_bytes());
        part(BAKE_SCRIPT.as_bytes());
        part(ADMIN_USER.as_bytes());
        part(self.node_settings.join("\n").as_bytes());
        for file in &self.files {
            part(file.path.as_os_str().as_encoded_bytes());
            part(&file.content);
        }
        let digest = hash.finalize();
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{short}", self.release)
    }

    /// The packages for mmdebstrap; Ubuntu's minimal variant lacks the keys of its own archive.
    pub(crate) fn packages(&self) -> String {
        let mut packages = PACKAGES.to_vec();
        if self.distribution == "ubuntu" {
            packages.push("ubuntu-keyring");
        }
        packages.join(",")
    }
}

/// What os-release says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OsRelease {
    /// `ID`, as `debian` or `ubuntu`.
    pub(crate) id: String,
    /// `VERSION_CODENAME`, as `bookworm` or `noble`.
    pub(crate) codename: String,
}

/// Reads `/etc/os-release`. None where it names no release, as rolling distributions do.
pub(crate) fn parse_os_release(text: &str) -> Option<OsRelease> {
    let field = |name: &str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        let plain = value.trim().trim_matches(['"', '\'']);
        (!plain.is_empty()).then(|| plain.to_owned())
    };
    Some(OsRelease {
        id: field("ID")?,
        codename: field("VERSION_CODENAME")?,
    })
}

/// The resolver configuration for a node, out of the host's: the servers that a node can reach. None where all of them are
/// on the host's own loopback.
pub(crate) fn node_resolv_conf(host: &str) -> Option<String> {
    let local = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        words.next() == Some("nameserver")
            && words
                .next()
                .is_none_or(|server| server.starts_with("127.") || server == "::1")
    };
    let kept: Vec<_> = host
        .lines()
        .filter(|line| !local(line) && !line.trim_start().starts_with('#'))
        .collect();
    kept.iter()
        .any(|line| line.starts_with("nameserver"))
        .then(|| format!("{}\n", kept.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            distribution: "debian".into(),
            release: "bookworm".into(),
            architecture: "x86_64".into(),
            sources: "Types: deb\n".into(),
            node_settings: vec!["Acquire::Retries \"3\";".into()],
            build_settings: Vec::new(),
            files: vec![SharedFile {
                path: "/etc/a".into(),
                content: b"bc".to_vec(),
            }],
        }
    }

    #[test]
    fn an_image_is_keyed_by_its_release_and_all_that_decides_its_content() {
        let key = recipe().key();
        assert!(
            key.starts_with("bookworm-") && key.len() == "bookworm-".len() + 16,
            "{key}"
        );
        assert_eq!(key, recipe().key());
        let changes: [fn(&mut Recipe); 6] = [
            |recipe| recipe.release = "trixie".into(),
            |recipe| recipe.architecture = "aarch64".into(),
            |recipe| recipe.sources.push('\n'),
            |recipe| recipe.node_settings.clear(),
            |recipe| recipe.files[0].content.push(b'!'),
            |recipe| {
                recipe.files[0] = SharedFile {
                    path: "/etc/ab".into(),
                    content: b"c".to_vec(),
                }
            },
        ];
        for change in changes {
            let mut other = recipe();
            change(&mut other);
            assert_ne!(other.key(), key, "{other:?}");
        }
    }

    #[test]
    fn how_the_host_reaches_the_archive_does_not_change_the_image() {
        let mut other = recipe();
        other
            .build_settings
            .push("Acquire::http::Proxy \"http://127.0.0.1:3142\";".into());
        assert_eq!(other.key(), recipe().key());
    }

    #[test]
    fn ubuntu_gets_the_keys_of_its_archive() {
        assert!(!recipe().packages().contains("keyring"));
        let ubuntu = Recipe {
            distribution: "ubuntu".into(),
            ..recipe()
        };
        assert!(ubuntu.packages().ends_with(",udev,ubuntu-keyring"));
    }

    #[test]
    fn the_release_is_read_from_os_release() {
        let text = "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=\"debian\"\nID_LIKE=x\n";
        assert_eq!(
            parse_os_release(text),
            Some(OsRelease {
                id: "debian".into(),
                codename: "bookworm".into()
            })
        );
        assert_eq!(parse_os_release("ID=arch\n"), None);
    }

    #[test]
    fn a_resolver_on_the_hosts_loopback_does_not_reach_a_node() {
        let host = "# made by x\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch example\n";
        assert_eq!(
            node_resolv_conf(host).as_deref(),
            Some("nameserver 192.0.2.53\nsearch example\n")
        );
        assert_eq!(node_resolv_conf("nameserver 127.0.0.53\nnameserver ::1\n"), None);
        assert_eq!(node_resolv_conf(""), None);
    }
}
