//! The provider's settings, and what makes them invalid.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::AddressRange;

/// Where host-wide state lives: the leases of addresses, shared by every data directory of this host.
pub const STATE_DIR: &str = "/var/lib/pressluft/nspawn";

/// The provider's settings.
#[derive(Debug, Clone)]
pub struct NspawnConfig {
    /// The installation's data directory; machines live in its `machines` folder. Absolute.
    pub data_dir: PathBuf,
    /// The cache that several data directories share; base images live in its `images` folder. Absolute.
    pub cache_dir: PathBuf,
    /// Host-wide state: see [`STATE_DIR`].
    pub state_dir: PathBuf,
    /// The code name of the nodes' release; the host's own where unset. It must be of the host's distribution.
    pub release: Option<String>,
    /// The private range that nodes get their addresses from.
    pub range: AddressRange,
    /// How long a machine may take to boot.
    pub boot_limit: Duration,
    /// How long a machine may take to shut down before it is killed.
    pub stop_limit: Duration,
}

/// Why settings cannot be used. The text names the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A folder is relative.
    #[error("{0} must be an absolute path")]
    Relative(&'static str),
    /// A folder's name cannot stand in the options of an overlay mount.
    #[error("{0} must not hold a comma, a colon, a backslash, a quote or a line break")]
    Unmountable(&'static str),
    /// Not a code name.
    #[error("the release of local nodes must be a code name in small letters, such as bookworm")]
    Release,
}

impl NspawnConfig {
    /// The standard settings for a data and a cache directory.
    pub fn new(data_dir: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cache_dir: cache_dir.into(),
            state_dir: PathBuf::from(STATE_DIR),
            release: None,
            range: AddressRange::standard(),
            boot_limit: Duration::from_secs(90),
            stop_limit: Duration::from_secs(20),
        }
    }

    /// Says what is wrong with the settings.
    pub fn check(&self) -> Result<(), ConfigError> {
        mountable("the data directory (DATA_DIR)", &self.data_dir)?;
        mountable("the cache directory (CACHE_DIR)", &self.cache_dir)?;
        mountable("the state directory", &self.state_dir)?;
        match &self.release {
            Some(release) if release.is_empty() || !release.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                Err(ConfigError::Release)
            }
            _ => Ok(()),
        }
    }
}

fn mountable(setting: &'static str, path: &Path) -> Result<(), ConfigError> {
    if !path.is_absolute() {
        return Err(ConfigError::Relative(setting));
    }
    let foreign = |byte: &u8| b",:\\\"'\n".contains(byte);
    if path.as_os_str().as_encoded_bytes().iter().any(foreign) {
        return Err(ConfigError::Unmountable(setting));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_overlayfs_cannot_name_are_refused() {
        assert_eq!(NspawnConfig::new("/srv/a b", "/var/cache/x").check(), Ok(()));
        for bad in ["/srv/a,b", "/srv/a:b", "/srv/a\\b", "/srv/a\nb"] {
            let error = NspawnConfig::new("/srv", bad).check().unwrap_err();
            assert_eq!(
                error,
                ConfigError::Unmountable("the cache directory (CACHE_DIR)"),
                "{bad:?}"
            );
        }
        let error = NspawnConfig::new("./.pressluft", "/c").check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the data directory (DATA_DIR) must be an absolute path"
        );
    }

    #[test]
    fn a_release_is_a_code_name() {
        for (release, good) in [("trixie", true), ("", false), ("../x", false), ("Trixie", false)] {
            let config = NspawnConfig {
                release: Some(release.into()),
                ..NspawnConfig::new("/d", "/c")
            };
            assert_eq!(config.check().is_ok(), good, "{release}");
        }
    }
}
