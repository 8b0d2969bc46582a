//! Images of provisioned machines: kept in the cache beside the base images, so that the next machine of the same release and
//! runtime key starts from one.
//!
//! `images/runtime-<release>-<recipe hash>-<start of the key>/` is complete as soon as it exists: it is made beside and
//! renamed. It holds
//! - `rootfs`, a whole root: it needs no base image below it;
//! - `image.json`, the whole key and when it was made;
//! - `users/<machine>`, one file for each machine made from it, which holds its data directory: several share the cache, and
//!   a machine of another one that does not run is seen by nothing else.
//!
//! Who uses, finishes or removes an image holds its `.lock`; who makes one holds its `.building` all along.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain_kernel::Timestamp;
use jobs::{StepContext, StepError};
use nodes_domain::RuntimeImage;
use serde::{Deserialize, Serialize};

use super::host::Host;
use super::image::{Image, remove_partial_builds};
use super::{mounts, tree};
use crate::config::NspawnConfig;
use crate::failure::{Code, io_failed};
use crate::files::{Lock, absent_is_fine, make_dir, read_if_there, refuse_full_disk, spread_trees, write_atomic};
use crate::procfs::{Mount, lower_layers};
use crate::record::MachineFolder;

const CODE: Code = Code::LocalAcquisitionFailed;

/// What an image takes at least.
const IMAGE_BYTES: u64 = 1_500_000_000;

/// How many characters of a runtime key are in an entry's name.
const KEY_PREFIX: usize = 16;

/// For how long an image is good for new machines: their packages are as old as it is until they have upgraded themselves for
/// the first time, up to a day later. Making a new one each week costs one node its fast start.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Where provisioning records on a machine what it made of it; see `ansible/library/pressluft_runtime.py`.
const RUNTIME_RECORD: &str = "var/lib/pressluft/runtime.json";

/// An entry of the cache, there or not.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    images: PathBuf,
    name: String,
    base: String,
    key: String,
}

/// `image.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// The runtime key.
    key: String,
    /// The key of the base image that the machine was first made from.
    base: String,
    /// When its machine was stopped to be copied.
    created_at: Timestamp,
}

/// What counts of [`RUNTIME_RECORD`].
#[derive(Debug, Deserialize)]
struct RuntimeRecord {
    key: String,
}

/// What is there of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Absent,
    /// A whole image of this key.
    Finished,
    /// One that is too old for new machines; there may be machines that were made from it.
    Outdated,
    /// Something that no machine can start from, and why.
    Unusable(String),
}

impl Entry {
    /// The entry for machines of the base image `base` that were provisioned to `runtime`.
    pub(crate) fn new(config: &NspawnConfig, base: &str, runtime: &RuntimeImage) -> Result<Self, StepError> {
        let key = runtime.key.clone();
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if key.len() < KEY_PREFIX || !key.bytes().all(hexadecimal) {
            return Err(StepError::failed(
                Code::Internal,
                format!("{key:?} is no runtime key: it must be a hash in small hexadecimal digits"),
            ));
        }
        Ok(Self {
            images: config.cache_dir.join("images"),
            name: format!("runtime-{base}-{}", &key[..KEY_PREFIX]),
            base: base.to_owned(),
            key,
        })
    }

    fn folder(&self) -> PathBuf {
        self.images.join(&self.name)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.images.join(format!("{}.{ending}", self.name))
    }

    /// What is there of it.
    pub(crate) fn state(&self, now: Timestamp) -> Result<State, StepError> {
        let folder = self.folder();
        if !folder.exists() {
            return Ok(State::Absent);
        }
        let path = folder.join("image.json");
        let text = read_if_there(&path).map_err(|error| io_failed(CODE, &path, &error))?;
        let described: Option<Description> = text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let program = folder.join("rootfs/usr/lib/systemd/systemd");
        Ok(match described {
            None => State::Unusable("its image.json cannot be read".to_owned()),
            Some(described) if described.key != self.key => State::Unusable("it is of another key".to_owned()),
            Some(_) if !program.exists() => State::Unusable("parts of its root are missing".to_owned()),
            Some(described) if now.since(described.created_at) > GOOD_FOR => State::Outdated,
            Some(_) => State::Finished,
        })
    }

    /// Waits until nobody else makes this image.
    pub(crate) async fn lock_building(&self, ctx: &StepContext) -> Result<Lock, StepError> {
        make_dir(&self.images, 0o700)
            .and_then(|()| spread_trees(&self.images))
            .map_err(|error| io_failed(CODE, &self.images, &error))?;
        Lock::file(ctx, CODE, &self.beside("building")).await
    }

    async fn lock(&self, ctx: &StepContext) -> Result<Lock, StepError> {
        Lock::file(ctx, CODE, &self.beside("lock")).await
    }

    /// Makes the folder that it is made in, but for its root. What an earlier attempt left is removed, and so is what
    /// stands in the way. The caller holds `lock_building`.
    pub(crate) async fn begin(&self, host: &Host, ctx: &StepContext) -> Result<(), StepError> {
        remove_partial_builds(host, ctx, &self.images, &self.name).await?;
        refuse_full_disk(&self.images, IMAGE_BYTES, "The image of a node")?;
        if self.folder().exists() && !self.remove(host, ctx).await? {
            return Err(StepError::failed(
                CODE,
                format!("{} is in use and cannot be replaced", self.folder().display()),
            ));
        }
        let partial = self.beside("partial");
        let described = Description {
            key: self.key.clone(),
            base: self.base.clone(),
            created_at: ctx.now(),
        };
        let text = serde_json::to_vec_pretty(&described)
            .map_err(|error| StepError::failed(Code::Internal, format!("{}: {error}", partial.display())))?;
        make_dir(&partial, 0o700)
            .and_then(|()| make_dir(&partial.join("users"), 0o700))
            .and_then(|()| write_atomic(&partial.join("image.json"), &text, 0o600))
            .map_err(|error| io_failed(CODE, &partial, &error))
    }

    /// Where its root is made.
    pub(crate) fn partial_root(&self) -> PathBuf {
        self.beside("partial").join("rootfs")
    }

    /// Fails where the machine's own record says that it was provisioned to another key: `ansible/` may have changed since,
    /// or the job may be one of an older version. A machine without a record was provisioned by something that writes none,
    /// and speaks for no other key; what is made from it passes no check for being up to date, and is provisioned whole.
    pub(crate) fn refuse_other_key(&self) -> Result<(), StepError> {
        let path = Path::new(RUNTIME_RECORD);
        let record = tree::read(&self.partial_root(), path).map_err(|error| io_failed(CODE, path, &error))?;
        let Some(record) = record else { return Ok(()) };
        match serde_json::from_slice::<RuntimeRecord>(&record) {
            Ok(record) if record.key == self.key => Ok(()),
            Ok(_) => Err(StepError::failed(
                CODE,
                "The machine was provisioned by another version than the image would be for",
            )),
            Err(error) => Err(StepError::failed(
                CODE,
                format!("{RUNTIME_RECORD} of the machine cannot be read: {error}"),
            )),
        }
    }

    /// Brings what was begun to the disk.
    pub(crate) async fn sync(&self, host: &Host, ctx: &StepContext) -> Result<(), StepError> {
        let partial = self.beside("partial");
        host.expect(ctx, CODE, &["sync", "-f", &partial.to_string_lossy()])
            .await?;
        Ok(())
    }

    /// Removes what was begun.
    pub(crate) async fn discard(&self, host: &Host, ctx: &StepContext) -> Result<(), StepError> {
        remove_folder(host, ctx, &self.beside("partial")).await
    }

    /// Gives what was begun its name. It was synced: a name that stands after a power cut stands for a whole image.
    pub(crate) async fn finish(&self, ctx: &StepContext) -> Result<(), StepError> {
        let _lock = self.lock(ctx).await?;
        let folder = self.folder();
        fs::rename(self.beside("partial"), &folder).map_err(|error| io_failed(CODE, &folder, &error))
    }

    /// Removes it, unless a machine uses it. Says whether it did.
    pub(crate) async fn remove(&self, host: &Host, ctx: &StepContext) -> Result<bool, StepError> {
        remove_unused(host, ctx, &self.images, &self.name).await
    }

    /// Removes the other images of the same release that no machine uses.
    pub(crate) async fn remove_others(&self, host: &Host, ctx: &StepContext) -> Result<(), StepError> {
        let release = self.base.split('-').next().unwrap_or_default();
        for name in names(&self.images)? {
            if name.starts_with(&format!("runtime-{release}-")) && name != self.name {
                remove_unused(host, ctx, &self.images, &name).await?;
            }
        }
        Ok(())
    }
}

/// The image of a provisioned machine for a new machine to start from, where there is one: it stays for as long as the machine
/// does. One that cannot be used is told and passed over.
pub(crate) async fn take(
    ctx: &StepContext,
    config: &NspawnConfig,
    instance: &str,
    base: &str,
    runtime: &RuntimeImage,
) -> Result<Option<Image>, StepError> {
    let entry = Entry::new(config, base, runtime)?;
    if entry.state(ctx.now())? == State::Absent {
        return Ok(None);
    }
    let _lock = entry.lock(ctx).await?;
    match entry.state(ctx.now())? {
        State::Absent => Ok(None),
        State::Outdated => {
            ctx.log(&format!(
                "The image {} is too old. The machine starts from the base image.",
                entry.name
            ))
            .await;
            Ok(None)
        }
        State::Unusable(why) => {
            ctx.log(&format!(
                "The image {} is not used: {why}. The machine starts from the base image.",
                entry.name
            ))
            .await;
            Ok(None)
        }
        State::Finished => {
            let user = entry.folder().join("users").join(instance);
            fs::write(&user, config.data_dir.as_os_str().as_encoded_bytes())
                .map_err(|error| io_failed(CODE, &user, &error))?;
            Ok(Some(Image {
                rootfs: entry.folder().join("rootfs"),
                key: entry.name,
                base: base.to_owned(),
            }))
        }
    }
}

/// A machine that is gone uses no image any more.
pub(crate) fn let_go(config: &NspawnConfig, instance: &str) -> Result<(), StepError> {
    let images = config.cache_dir.join("images");
    for name in names(&images)? {
        let user = images.join(name).join("users").join(instance);
        absent_is_fine(fs::remove_file(&user)).map_err(|error| io_failed(Code::NodeReleaseFailed, &user, &error))?;
    }
    Ok(())
}

/// Removes an image, or what is left of one, unless a machine uses it or somebody is at it. Says whether it did.
async fn remove_unused(host: &Host, ctx: &StepContext, images: &Path, name: &str) -> Result<bool, StepError> {
    let lock = images.join(format!("{name}.lock"));
    let Some(_lock) = Lock::try_file(&lock).map_err(|error| io_failed(CODE, &lock, &error))? else {
        return Ok(false);
    };
    let (folder, removed) = (images.join(name), images.join(format!("{name}.removed")));
    if folder.exists() {
        if has_users(&folder.join("users"))? || is_mounted(&mounts::table(CODE)?, &folder) {
            return Ok(false);
        }
        // Whole or gone: nobody meets a half removed image.
        remove_folder(host, ctx, &removed).await?;
        fs::rename(&folder, &removed).map_err(|error| io_failed(CODE, &folder, &error))?;
    }
    remove_folder(host, ctx, &removed).await?;
    Ok(true)
}

/// Whether any machine was made from the image. One whose folder is gone from its data directory counts no more: somebody
/// removed that by hand, and nothing else ever lets the image go.
fn has_users(users: &Path) -> Result<bool, StepError> {
    let entries = match fs::read_dir(users) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_failed(CODE, users, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| io_failed(CODE, users, &error))?;
        let data_dir = fs::read(entry.path()).map_err(|error| io_failed(CODE, &entry.path(), &error))?;
        let data_dir = Path::new(OsStr::from_bytes(&data_dir));
        let machine = MachineFolder::new(data_dir, &entry.file_name().to_string_lossy());
        let found = fs::symlink_metadata(machine.path());
        let gone = found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        // A file that a crash left empty tells of no place to look at.
        if !gone || !data_dir.is_absolute() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a layer of a mounted overlay lies in the folder.
fn is_mounted(mounts: &[Mount], folder: &Path) -> bool {
    mounts
        .iter()
        .flat_map(lower_layers)
        .any(|layer| layer.starts_with(folder))
}

async fn remove_folder(host: &Host, ctx: &StepContext, folder: &Path) -> Result<(), StepError> {
    let path = folder.to_string_lossy();
    host.expect(ctx, CODE, &["rm", "-rf", "--one-file-system", "--", &path])
        .await?;
    Ok(())
}

/// The names of the images of provisioned machines, those included of which only what a killed removal left is there.
fn names(images: &Path) -> Result<Vec<String>, StepError> {
    let entries = match fs::read_dir(images) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_failed(CODE, images, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_failed(CODE, images, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(".removed").unwrap_or(&name);
        if name.starts_with("runtime-") && !name.contains('.') {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use test_support::ManualClock;

    use super::*;

    fn entry(cache: &Path, key: &str) -> Result<Entry, StepError> {
        let runtime = RuntimeImage {
            key: key.to_owned(),
            secrets: Vec::new(),
        };
        Entry::new(&NspawnConfig::new("/d", cache), "bookworm-00", &runtime)
    }

    #[test]
    fn an_entry_is_named_by_release_recipe_and_key_and_nothing_else_can_be_in_its_name() {
        let cache = Path::new("/c");
        assert_eq!(
            entry(cache, &"0f".repeat(32)).unwrap().folder(),
            Path::new("/c/images/runtime-bookworm-00-0f0f0f0f0f0f0f0f")
        );
        for bad in ["", "0f", "../../../../../etc/passwd", &"0F".repeat(32)] {
            assert!(entry(cache, bad).is_err(), "{bad}");
        }
    }

    const MADE: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

    /// Puts what an image has, but for its root, in the entry's place.
    fn describe(entry: &Entry, key: &str, created_at: Timestamp) {
        let described = format!(r#"{{"key":"{key}","base":"x","created_at":"{created_at}"}}"#);
        fs::create_dir_all(entry.folder().join("users")).unwrap();
        fs::write(entry.folder().join("image.json"), described).unwrap();
    }

    fn add_root(entry: &Entry) {
        let systemd = entry.folder().join("rootfs/usr/lib/systemd");
        fs::create_dir_all(&systemd).unwrap();
        fs::write(systemd.join("systemd"), "").unwrap();
    }

    #[test]
    fn an_image_counts_only_when_it_is_whole_and_of_the_whole_key() {
        let cache = tempfile::tempdir().unwrap();
        let entry = entry(cache.path(), &"0f".repeat(32)).unwrap();
        let state = || entry.state(MADE).unwrap();
        assert_eq!(state(), State::Absent);
        fs::create_dir_all(entry.folder()).unwrap();
        let unusable = |why: &str| State::Unusable(why.to_owned());
        assert_eq!(state(), unusable("its image.json cannot be read"));
        describe(&entry, &format!("{}00", "0f".repeat(31)), MADE);
        assert_eq!(state(), unusable("it is of another key"));
        describe(&entry, &"0f".repeat(32), MADE);
        assert_eq!(state(), unusable("parts of its root are missing"));
        add_root(&entry);
        assert_eq!(state(), State::Finished);
    }

    #[tokio::test]
    async fn a_new_machine_starts_from_no_image_that_is_older_than_a_week() {
        let cache = tempfile::tempdir().unwrap();
        let key = "0f".repeat(32);
        let entry = entry(cache.path(), &key).unwrap();
        describe(&entry, &key, MADE);
        add_root(&entry);
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        assert_eq!(entry.state(MADE.plus(week)).unwrap(), State::Finished);
        let later = MADE.plus(week + Duration::from_secs(1));
        assert_eq!(entry.state(later).unwrap(), State::Outdated);

        let clock = Arc::new(ManualClock::new());
        let config = NspawnConfig::new("/d", cache.path());
        let runtime = RuntimeImage {
            key,
            secrets: Vec::new(),
        };
        let ctx = StepContext::outside_job("acquire", week, clock.clone());
        let taken = async || take(&ctx, &config, "m", "bookworm-00", &runtime).await.unwrap();
        let users = || fs::read_dir(entry.folder().join("users")).unwrap().count();
        clock.advance(later.since(ctx.now()));
        assert!(taken().await.is_none());
        assert_eq!(users(), 0);
        describe(&entry, &runtime.key, ctx.now());
        assert!(taken().await.is_some());
        assert_eq!(users(), 1);
    }

    #[test]
    fn a_machine_that_was_provisioned_to_another_key_gives_no_image() {
        let cache = tempfile::tempdir().unwrap();
        let key = "0f".repeat(32);
        let entry = entry(cache.path(), &key).unwrap();
        let record = entry.partial_root().join(RUNTIME_RECORD);
        fs::create_dir_all(record.parent().unwrap()).unwrap();
        assert!(entry.refuse_other_key().is_ok());
        for (text, good) in [
            (format!(r#"{{"version":1,"key":"{key}"}}"#), true),
            (format!(r#"{{"version":1,"key":"{}"}}"#, "00".repeat(32)), false),
            ("{}".to_owned(), false),
            (String::new(), false),
        ] {
            fs::write(&record, &text).unwrap();
            assert_eq!(entry.refuse_other_key().is_ok(), good, "{text}");
        }
        // A link is not followed, wherever it leads.
        let elsewhere = cache.path().join("record");
        fs::write(&elsewhere, format!(r#"{{"key":"{key}"}}"#)).unwrap();
        fs::remove_file(&record).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &record).unwrap();
        assert!(entry.refuse_other_key().is_err());
    }

    #[test]
    fn a_user_whose_data_directory_was_deleted_is_no_user() {
        let folder = tempfile::tempdir().unwrap();
        let (users, data) = (folder.path().join("users"), folder.path().join("data"));
        assert!(!has_users(&users).unwrap());
        fs::create_dir_all(data.join("machines/m")).unwrap();
        fs::create_dir(&users).unwrap();
        fs::write(users.join("m"), data.as_os_str().as_bytes()).unwrap();
        fs::write(users.join("gone"), data.as_os_str().as_bytes()).unwrap();
        assert!(has_users(&users).unwrap());
        fs::remove_dir_all(&data).unwrap();
        assert!(!has_users(&users).unwrap());
        fs::write(users.join("m"), "").unwrap();
        assert!(has_users(&users).unwrap());
    }

    #[test]
    fn a_mounted_image_is_known_by_the_layers_below_a_mount() {
        let mounts = [Mount {
            target: "/m".into(),
            fs_type: "overlay".into(),
            source: "overlay".into(),
            options: "rw,lowerdir=/c/images/a/rootfs:/c/images/b/rootfs,upperdir=/u,workdir=/w".into(),
        }];
        assert!(is_mounted(&mounts, Path::new("/c/images/a")));
        assert!(is_mounted(&mounts, Path::new("/c/images/b")));
        assert!(!is_mounted(&mounts, Path::new("/c/images/c")));
        assert!(!is_mounted(&mounts, Path::new("/u")));
    }
}
