//! What of a machine's root does not go into an image of it: whatever belongs to that one machine, or lets another be taken
//! for it. Pure; [`crate::root::tree`] copies by these rules.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use jobs::StepError;

use crate::failure::Code;

/// What goes into the image of the things in a folder that have no rule of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    /// All of it.
    Everything,
    /// Folders, with their owners and modes.
    Folders,
    /// Folders, and files without their content: services expect both.
    EmptyFiles,
    /// Nothing.
    Nothing,
}

/// What becomes of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is not in the image.
    LeftOut,
    /// A file is there without its content.
    Emptied,
    /// It is copied; of a folder, this.
    Copied(Below),
}

/// Where what stands in the right column is all that is kept of a folder's content.
const FOLDERS: [(&str, Below); 24] = [
    // The kernel's, and what every start makes anew.
    ("dev", Below::Nothing),
    ("proc", Below::Nothing),
    ("run", Below::Nothing),
    ("sys", Below::Nothing),
    ("tmp", Below::Nothing),
    ("var/tmp", Below::Nothing),
    // Logs. Services want the folders of theirs, with owner and mode; some want the files.
    ("var/log", Below::EmptyFiles),
    ("var/log/journal", Below::Nothing),
    ("var/crash", Below::Nothing),
    ("var/lib/systemd/coredump", Below::Nothing),
    ("var/mail", Below::Nothing),
    ("var/backups", Below::Nothing),
    // What apt fetches again.
    ("var/lib/apt/lists", Below::Folders),
    ("var/cache/apt/archives", Below::Folders),
    // When apt's daily runs were last done: they would be skipped for a day. When their timers fired (`var/lib/systemd/timers`)
    // is kept, because a timer makes up only for what it knows to have missed.
    ("var/lib/apt/periodic", Below::Nothing),
    // Leases of addresses.
    ("var/lib/dhcp", Below::Nothing),
    ("var/lib/dhclient", Below::Nothing),
    ("var/lib/systemd/network", Below::Nothing),
    // What services keep of their visitors. A database's folder is kept: the roles give its accounts no passwords.
    ("var/lib/redis", Below::Nothing),
    ("var/lib/fail2ban", Below::Nothing),
    ("var/lib/php/sessions", Below::Nothing),
    ("var/lib/nginx", Below::Folders),
    ("var/cache/nginx", Below::Folders),
    // Private keys that packages make for one machine.
    ("etc/ssl/private", Below::Nothing),
];

/// Files that are not in an image. `acquire` writes the first three anew for each machine.
const LEFT_OUT: [&str; 9] = [
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/cache/ldconfig/aux-cache",
];

/// Files and folders that are not in an image wherever they are: keys of users and what their programs remember.
const LEFT_OUT_NAMES: [&str; 10] = [
    ".ssh",
    "authorized_keys",
    "authorized_keys2",
    ".gnupg",
    ".cache",
    ".ansible",
    ".lesshst",
    ".viminfo",
    ".wget-hsts",
    ".Xauthority",
];

/// An empty one makes a machine without one of its own write a new one.
const EMPTIED: &str = "etc/machine-id";

/// The rules for one root.
#[derive(Debug)]
pub(crate) struct Scrub {
    rules: HashMap<PathBuf, Fate>,
    secrets: Vec<PathBuf>,
    inodes: HashSet<(u64, u64)>,
}

impl Scrub {
    /// The rules, with what must not be shared between machines besides. Those paths have to be absolute and to name a file
    /// or folder by itself.
    pub(crate) fn new(secrets: &[String]) -> Result<Self, StepError> {
        let mut rules = HashMap::new();
        rules.extend(FOLDERS.map(|(path, below)| (path.into(), Fate::Copied(below))));
        rules.extend(LEFT_OUT.map(|path| (path.into(), Fate::LeftOut)));
        rules.insert(EMPTIED.into(), Fate::Emptied);
        let secrets = secrets.iter().map(|path| inside(path)).collect::<Result<Vec<_>, _>>()?;
        rules.extend(secrets.iter().map(|path| (path.clone(), Fate::LeftOut)));
        Ok(Self {
            rules,
            secrets,
            inodes: HashSet::new(),
        })
    }

    /// The paths that have rules, below the root.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.rules.keys().cloned().collect()
    }

    /// Extends the rule of `path` to where its symbolic links lead, unless that has one of its own. Of a secret it is
    /// extended in any case, and to every other name of the same file.
    pub(crate) fn is_really(&mut self, path: &Path, real: PathBuf, inode: (u64, u64)) {
        if self.secrets.iter().any(|secret| secret == path) {
            self.inodes.insert(inode);
            self.rules.insert(real, Fate::LeftOut);
        } else if let Some(fate) = self.rules.get(path).copied() {
            self.rules.entry(real).or_insert(fate);
        }
    }

    /// What becomes of a thing at `path` below the root. `inherited` is what its folder says.
    pub(crate) fn fate(&self, path: &Path, is_folder: bool, inode: (u64, u64), inherited: Below) -> Fate {
        if self.inodes.contains(&inode) || path.file_name().is_some_and(is_left_out_by_name) {
            return Fate::LeftOut;
        }
        if let Some(fate) = self.rules.get(path) {
            return *fate;
        }
        match inherited {
            Below::Everything => Fate::Copied(Below::Everything),
            Below::Folders if is_folder => Fate::Copied(Below::Folders),
            Below::EmptyFiles if is_folder => Fate::Copied(Below::EmptyFiles),
            Below::EmptyFiles if !is_rotated(path) => Fate::Emptied,
            Below::Folders | Below::EmptyFiles | Below::Nothing => Fate::LeftOut,
        }
    }
}

/// The path below the root.
fn inside(path: &str) -> Result<PathBuf, StepError> {
    let refused = || {
        StepError::failed(
            Code::LocalConfigInvalid,
            format!("{path:?} names no file or folder to keep out of images: it must be absolute and without `..`."),
        )
    };
    let below = Path::new(path).strip_prefix("/").map_err(|_| refused())?;
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || below.as_os_str().is_empty() || path.contains('\0') {
        return Err(refused());
    }
    Ok(below.to_path_buf())
}

fn is_left_out_by_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    LEFT_OUT_NAMES.iter().any(|known| name == *known)
        || (bytes.starts_with(b".") && bytes.ends_with(b"_history"))
        || bytes.starts_with(b"ssh_host_")
}

/// Logs that were put away, such as `a.log.1` and `a.log.2.gz`.
fn is_rotated(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().as_encoded_bytes();
    [&b"gz"[..], b"xz", b"zst", b"old"].contains(&ending)
        || (!ending.is_empty() && ending.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_INODE: (u64, u64) = (0, 0);

    /// The fate of a file as the walk finds it: every folder above has its say.
    fn fate_of(scrub: &Scrub, path: &str) -> Fate {
        let mut inherited = Below::Everything;
        let path = Path::new(path);
        let mut above: Vec<_> = path.ancestors().skip(1).collect();
        above.pop();
        for folder in above.into_iter().rev() {
            match scrub.fate(folder, true, NO_INODE, inherited) {
                Fate::Copied(below) => inherited = below,
                other => return other,
            }
        }
        scrub.fate(path, false, NO_INODE, inherited)
    }

    #[test]
    fn what_belongs_to_one_machine_is_left_out_and_the_rest_is_kept() {
        let scrub = Scrub::new(&["/etc/redis/secret.acl".to_owned(), "/etc/pressluft".to_owned()]).unwrap();
        for path in [
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_rsa_key.pub",
            "home/pressluft/.ssh/authorized_keys",
            "home/pressluft/.ssh/id_ed25519",
            "root/.bash_history",
            "var/www/.mysql_history",
            "root/.cache/x/y",
            "etc/hostname",
            "etc/hosts",
            "var/lib/dbus/machine-id",
            "var/lib/systemd/random-seed",
            "var/log/journal/0f/system.journal",
            "var/log/nginx/access.log.1",
            "var/log/dpkg.log.2.gz",
            "tmp/x",
            "var/tmp/systemd-private-1/tmp/x",
            "var/lib/apt/lists/archive_dists",
            "var/cache/apt/archives/a.deb",
            "var/lib/apt/periodic/upgrade-stamp",
            "var/lib/redis/dump.rdb",
            "var/lib/redis/appendonlydir/a.aof",
            "var/lib/fail2ban/fail2ban.sqlite3",
            "etc/redis/secret.acl",
            "etc/pressluft/a/b",
        ] {
            assert_eq!(fate_of(&scrub, path), Fate::LeftOut, "{path}");
        }
        for path in ["etc/machine-id", "var/log/nginx/access.log", "var/log/wtmp"] {
            assert_eq!(fate_of(&scrub, path), Fate::Emptied, "{path}");
        }
        for path in [
            "etc/redis/redis.conf",
            "etc/ssh/sshd_config",
            "usr/bin/ssh",
            "var/lib/mysql/ibdata1",
            "var/lib/dpkg/status",
            "var/lib/pressluft/runtime.json",
            "var/lib/systemd/timers/stamp-apt-daily.timer",
            "var/log.conf",
            "srv/tmp/x",
        ] {
            assert_eq!(fate_of(&scrub, path), Fate::Copied(Below::Everything), "{path}");
        }
        let folder = |path: &str, inherited| scrub.fate(Path::new(path), true, NO_INODE, inherited);
        assert_eq!(folder("tmp", Below::Everything), Fate::Copied(Below::Nothing));
        assert_eq!(
            folder("var/log/nginx", Below::EmptyFiles),
            Fate::Copied(Below::EmptyFiles)
        );
        assert_eq!(
            folder("var/log/journal", Below::EmptyFiles),
            Fate::Copied(Below::Nothing)
        );
        assert_eq!(
            folder("var/lib/apt/lists/partial", Below::Folders),
            Fate::Copied(Below::Folders)
        );
        assert_eq!(folder("etc/pressluft", Below::Everything), Fate::LeftOut);
    }

    #[test]
    fn a_secret_is_left_out_where_its_links_lead_and_under_its_other_names() {
        let mut scrub = Scrub::new(&["/etc/secret".to_owned()]).unwrap();
        scrub.is_really(Path::new("etc/secret"), "srv/secret".into(), (1, 7));
        scrub.is_really(Path::new("var/log"), "srv/log".into(), (1, 8));
        scrub.is_really(Path::new("var/lib/dbus/machine-id"), "etc/machine-id".into(), (1, 9));
        assert_eq!(fate_of(&scrub, "etc/machine-id"), Fate::Emptied);
        for path in ["etc/secret", "srv/secret"] {
            assert_eq!(fate_of(&scrub, path), Fate::LeftOut, "{path}");
        }
        assert_eq!(fate_of(&scrub, "srv/log/a.log"), Fate::Emptied);
        let other_name = |inode| scrub.fate(Path::new("srv/other"), false, inode, Below::Everything);
        assert_eq!(other_name((1, 7)), Fate::LeftOut);
        assert_eq!(other_name((1, 8)), Fate::Copied(Below::Everything));
    }

    #[test]
    fn a_path_that_could_lead_elsewhere_is_refused() {
        for bad in ["", "/", "etc/x", "/etc/../x", "/..", "../x", "/a\0b"] {
            let error = Scrub::new(&[bad.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with("LOCAL_CONFIG_INVALID"), "{bad}: {error}");
        }
        assert!(Scrub::new(&["/etc/redis//a.conf".to_owned()]).is_ok());
    }
}
