//! Images of machines that were provisioned: what is in them, who starts from them, how long they stay.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain_kernel::StopReason;
use jobs::{NewEvent, StepError};
use nodes_domain::{Instance, KeptImage, NodeProvider, RuntimeImage};
use rustix::process::Signal;
use tempfile::TempDir;
use test_support::{RealClock, step_context};

use crate::installation::{Installation, cache_dir, context};

/// Stands in everything that must not be in an image.
const PLANTED: &str = "planted-f3a91c07b2";

/// Plays the part of provisioning: a service, secrets, and traces of all kinds of one machine's life.
const PROVISION: &str = r#"
set -eu
planted=$1
root=$(getent passwd root | cut -d: -f6)
mkdir -p /etc/redis /etc/pressluft /srv/real /var/log/journal /var/log/planted /var/lib/redis /var/lib/fail2ban
echo "user default on >$planted" >/etc/redis/users.acl
ln /etc/redis/users.acl /srv/second-name
echo "$planted" >/etc/pressluft/password
echo "$planted" >/srv/real/password
ln -s /srv/real /etc/linked
echo "echo $planted" >"$root/.bash_history"
cp "$root/.bash_history" /home/pressluft/.bash_history
for file in /tmp/a /var/tmp/a /var/lib/redis/dump.rdb /var/lib/fail2ban/a /var/lib/apt/lists/a \
    /var/lib/systemd/random-seed /var/log/planted/a.log /var/log/planted/a.log.1; do
    echo "$planted $(hostname) $(cat /etc/machine-id)" >"$file"
done
chown -R www-data:adm /var/log/planted
chmod 2750 /var/log/planted
chmod 640 /var/log/planted/a.log
systemctl restart systemd-journald
journalctl --flush
logger "$planted $(hostname)"
journalctl --sync
mkdir -p "$root/.ssh"
ssh-keygen -q -t ed25519 -N '' -f "$root/.ssh/id_ed25519"

mkdir -p /usr/local/share/kept
cd /usr/local/share/kept
echo kept >one
ln one two
ln -s one link
cp /bin/true setuid
chown www-data:www-data setuid
chmod 4711 setuid
truncate -s 50M holes
echo end >>holes
python3 -c 'import os; os.setxattr("one", "user.kept", b"yes")'
touch -d 2020-01-02T03:04:05Z one
printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "echo up >/run/kept"\n[Install]\nWantedBy=multi-user.target\n' \
    >/etc/systemd/system/kept.service
systemctl enable --quiet --now kept.service
"#;

/// A cache of its own that borrows the base images, so that no test removes another's images.
struct Cache(TempDir);

impl Cache {
    async fn new() -> Self {
        let cache = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
        borrow_base_images(cache.path()).await;
        Self(cache)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The kept images, whole or not, by name.
    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().join("images")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let lock = |name: &String| name.ends_with(".lock") || name.ends_with(".building");
        names
            .filter(|name| name.starts_with("runtime-") && !lock(name))
            .collect()
    }

    /// The only kept image.
    fn only(&self) -> PathBuf {
        let kept = self.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        self.path().join("images").join(&kept[0])
    }
}

pub(crate) async fn borrow_base_images(cache: &Path) {
    let images = cache.join("images");
    fs::create_dir(&images).unwrap();
    let shared = cache_dir().join("images");
    if base_images(&shared).is_empty() {
        let home = Installation::new().await;
        let node = home.node();
        home.acquire(&node).await;
        home.release(&node).await;
    }
    for image in base_images(&shared) {
        symlink(&image, images.join(image.file_name().unwrap())).unwrap();
    }
}

fn base_images(images: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(images) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let base = |path: &PathBuf| !path.file_name().unwrap().as_bytes().starts_with(b"runtime-");
    paths
        .filter(|path| base(path) && path.join("rootfs").is_dir())
        .collect()
}

pub(crate) fn runtime(digit: char) -> RuntimeImage {
    RuntimeImage {
        key: digit.to_string().repeat(64),
        secrets: ["/etc/redis/users.acl", "/etc/pressluft", "/etc/linked", "/etc/missing"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// The lower layer of the machine's root, as the mount table tells it.
fn lower_of(home: &Installation, node: &Instance) -> PathBuf {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let merged = home.folder(node).join("merged");
    let line = table
        .lines()
        .find(|line| line.contains(&*merged.to_string_lossy()))
        .unwrap();
    let options = line.rsplit(' ').next().unwrap();
    let lower = options.split(',').find_map(|option| option.strip_prefix("lowerdir="));
    PathBuf::from(lower.unwrap())
}

/// Runs a script on the machine, as root.
async fn on(home: &Installation, node: &Instance, script: &str) -> String {
    let pid = home.machine_pid(node).as_raw_nonzero().to_string();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let leader = children.split(' ').next().unwrap();
    home.run(&["nsenter", "-t", leader, "-a", "sh", "-c", script, "sh", PLANTED])
        .await
}

/// What must not be found, and how it is called.
type Needles = Vec<(&'static str, String)>;

fn needles_of(home: &Installation, node: &Instance) -> Needles {
    let etc = home.folder(node).join("merged/etc");
    let read = |path: &str| fs::read_to_string(etc.join(path)).unwrap();
    let private = read("ssh/ssh_host_ed25519_key");
    // Its end is of this key alone; its start is the same in all.
    let private = private.lines().nth_back(2).unwrap();
    let public = read("ssh/ssh_host_ed25519_key.pub");
    let word = |text: &str| text.split(' ').nth(1).unwrap().to_owned();
    vec![
        ("planted secret", PLANTED.into()),
        ("injected key", word(&home.public_key)),
        ("host key", word(&public)),
        ("private host key", private.into()),
        ("machine-id", read("machine-id").trim().to_owned()),
        ("hostname", node.name()),
    ]
}

/// Searches a tree: names, where links lead, and what files hold. The finds, with their places below the root.
async fn search(home: &Installation, root: &Path, needles: &Needles) -> Vec<(&'static str, PathBuf)> {
    let top = root.to_string_lossy();
    let names = home.run(&["find", &top, "-printf", "%P %l\n"]).await;
    let mut found = Vec::new();
    for (what, needle) in needles {
        let named = names.lines().filter(|name| name.contains(needle));
        found.extend(named.map(|name| (*what, PathBuf::from(name))));
        found.extend(holders(home, root, needle).await.into_iter().map(|path| (*what, path)));
    }
    for path in holders(home, root, "PRIVATE KEY-----").await {
        if holds_private_key(&fs::read(root.join(&path)).unwrap()) {
            found.push((PRIVATE_KEY, path));
        }
    }
    found
}

const PRIVATE_KEY: &str = "private key";

/// The files below a folder that hold a text.
async fn holders(home: &Installation, root: &Path, needle: &str) -> Vec<PathBuf> {
    let grep = ["grep", "-rlaF", "-D", "skip", "-e", needle, &root.to_string_lossy()];
    let output = home.try_run(&grep).await;
    assert_eq!(output.stderr_text(), "");
    let paths = output.stdout_text();
    paths
        .lines()
        .map(|path| Path::new(path).strip_prefix(root).unwrap().to_owned())
        .collect()
}

/// A private key itself: programs and manuals hold its first line too, but nothing after it.
fn holds_private_key(text: &[u8]) -> bool {
    const FIRST_LINE: &[u8] = b"PRIVATE KEY-----\n";
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\n".contains(byte);
    let mut bodies = (0..text.len())
        .filter(|at| text[*at..].starts_with(FIRST_LINE))
        .map(|at| &text[at + FIRST_LINE.len()..]);
    bodies.any(|body| body.len() >= 60 && body[..60].iter().all(base64))
}

#[tokio::test]
async fn the_image_holds_nothing_of_the_machine_it_came_from_and_the_next_machine_starts_from_it() {
    let cache = Cache::new().await;
    let home = Installation::with_cache(cache.path()).await;
    let (node, runtime) = (home.node(), runtime('a'));
    // There is no image yet: the machine starts from the base image.
    let acquired = home.acquire_for(&node, &runtime).await;
    home.inject(&node, &home.public_key).await;
    on(&home, &node, PROVISION).await;
    let base = lower_of(&home, &node);

    // The search finds in the machine all that it must not find in the image.
    let needles = needles_of(&home, &node);
    let merged = home.folder(&node).join("merged");
    let found = search(&home, &merged, &needles).await;
    for what in needles.iter().map(|(what, _)| *what).chain([PRIVATE_KEY]) {
        assert!(
            found
                .iter()
                .any(|(seen, path)| *seen == what && !path.starts_with("usr/lib")),
            "{what} is nowhere in the machine"
        );
    }

    let pid = home.machine_pid(&node);
    assert_eq!(home.keep_image(&node, &runtime).await, KeptImage::Made);
    let image = cache.only();
    let rootfs = image.join("rootfs");
    // Libraries hold keys for tests of theirs: the base image has those too.
    let of_libraries = search(&home, &base, &Vec::new()).await;
    let mut found = search(&home, &rootfs, &needles).await;
    found.retain(|find| !of_libraries.contains(find));
    assert_eq!(found, Vec::new());
    for gone in [
        "srv/second-name",
        "srv/real",
        "etc/linked",
        "etc/redis/users.acl",
        "etc/pressluft",
    ] {
        assert!(fs::symlink_metadata(rootfs.join(gone)).is_err(), "{gone}");
    }
    assert_eq!(fs::read(rootfs.join("etc/machine-id")).unwrap(), b"");
    assert_copied_faithfully(&rootfs);

    // The machine is the same as before, with all that was on it.
    assert_ne!(home.machine_pid(&node), pid);
    assert!(
        home.ssh(&acquired, "sudo -n cat /etc/redis/users.acl")
            .await
            .stdout_text()
            .contains(PLANTED)
    );
    let pid = home.machine_pid(&node);
    assert_eq!(home.acquire_for(&node, &runtime).await, acquired);
    assert_eq!((home.machine_pid(&node), lower_of(&home, &node)), (pid, base));

    // The next one is another machine, with what the image holds running.
    let next = home.node();
    let begin = Instant::now();
    let other = home.acquire_for(&next, &runtime).await;
    eprintln!("a machine from the image was up after {:?}", begin.elapsed());
    assert_eq!(lower_of(&home, &next), rootfs);
    assert_ne!(
        (&other.host_key, &other.hostname),
        (&acquired.host_key, &acquired.hostname)
    );
    home.inject(&next, &home.public_key).await;
    let told = home
        .ssh(
            &other,
            "hostname; cat /run/kept /etc/machine-id; systemctl is-active kept",
        )
        .await;
    let told = told.stdout_text();
    let told: Vec<_> = told.lines().collect();
    assert_eq!((told[0], told[1], told[3]), (next.name().as_str(), "up", "active"));
    assert_ne!(told[2], needles[4].1);
    assert_eq!(told[2].len(), 32);

    // It keeps its lower layer, whatever is asked for later.
    home.end(&next, Signal::TERM).await;
    home.run(&["umount", &home.folder(&next).join("merged").to_string_lossy()])
        .await;
    assert_eq!(home.acquire(&next).await, other);
    assert_eq!(lower_of(&home, &next), rootfs);

    // There is an image already: nothing happens, but that a stopped machine runs again.
    let pid = home.machine_pid(&next);
    assert_eq!(home.keep_image(&next, &runtime).await, KeptImage::Existing);
    assert_eq!(home.machine_pid(&next), pid);
    home.end(&next, Signal::TERM).await;
    assert_eq!(home.keep_image(&next, &runtime).await, KeptImage::Existing);
    assert!(home.ssh(&other, "true").await.success());

    for node in [&node, &next] {
        home.release(node).await;
        assert_eq!(home.traces(node).await, Vec::<String>::new());
    }
    assert_eq!(fs::read_dir(image.join("users")).unwrap().count(), 0);
}

fn assert_copied_faithfully(rootfs: &Path) {
    let kept = rootfs.join("usr/local/share/kept");
    let data = |name: &str| fs::symlink_metadata(kept.join(name)).unwrap();
    let (one, two) = (data("one"), data("two"));
    assert_eq!((one.ino(), one.nlink()), (two.ino(), 2));
    assert_eq!(one.mtime(), 1_577_934_245);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(kept.join("one"), "user.kept", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"yes");
    assert_eq!(fs::read_link(kept.join("link")).unwrap(), Path::new("one"));
    let setuid = data("setuid");
    assert_eq!((setuid.mode() & 0o7777, setuid.uid(), setuid.gid()), (0o4711, 33, 33));
    let holes = data("holes");
    assert_eq!(holes.size(), 50 * 1024 * 1024 + 4);
    assert!(holes.blocks() * 512 < 1024 * 1024, "{} blocks", holes.blocks());
    assert!(fs::read(kept.join("holes")).unwrap().ends_with(b"\0end\n"));
    // The folders of logs stay as their services need them, and so do the logs, without their content.
    let logs = fs::metadata(rootfs.join("var/log/planted")).unwrap();
    assert_eq!((logs.mode() & 0o7777, logs.uid(), logs.gid()), (0o2750, 33, 4));
    let log = fs::metadata(rootfs.join("var/log/planted/a.log")).unwrap();
    assert_eq!((log.mode() & 0o7777, log.uid(), log.len()), (0o640, 33, 0));
    assert!(!rootfs.join("var/log/planted/a.log.1").exists());
    assert!(rootfs.join("tmp").is_dir() && rootfs.join("var/lib/redis").is_dir());
}

/// Waits until a path is there.
async fn appears(path: PathBuf) {
    while fs::symlink_metadata(&path).is_err() {
        context().sleep(Duration::from_millis(1)).await.unwrap();
    }
}

#[tokio::test]
async fn an_image_that_is_broken_off_is_never_used_and_the_machine_runs_after_the_next_call() {
    let cache = Cache::new().await;
    let home = Installation::with_cache(cache.path()).await;
    let (node, runtime) = (home.node(), runtime('b'));
    let acquired = home.acquire(&node).await;
    home.inject(&node, &home.public_key).await;
    let images = cache.path().join("images");
    let name = || {
        let base = base_images(&images);
        let lower = lower_of(&home, &node);
        let base = base.iter().find(|base| lower.starts_with(base)).unwrap();
        format!(
            "runtime-{}-{}",
            base.file_name().unwrap().to_string_lossy(),
            "b".repeat(16)
        )
    };
    let partial = images.join(format!("{}.partial", name()));
    let stopping = home.folder(&node).join("stopping");

    // While it shuts down, and while it is copied: told to stop, it leaves a machine that runs and no image.
    for moment in [&stopping, &partial.join("rootfs/usr")] {
        let (ctx, cancel, progress) = step_context("keep_image", Duration::from_secs(600), Arc::new(RealClock));
        let _ = fs::remove_file(&stopping);
        let keeping = home.provider.keep_image(&node, &runtime, &ctx);
        let cancelling = async {
            appears(moment.clone()).await;
            cancel.cancel(StopReason::Cancelled);
            Instant::now()
        };
        let (kept, cancelled) = tokio::join!(keeping, cancelling);
        assert!(
            matches!(kept, Err(StepError::Stopped(StopReason::Cancelled))),
            "{kept:?}"
        );
        assert!(
            cancelled.elapsed() < Duration::from_secs(10),
            "{:?}",
            cancelled.elapsed()
        );
        assert!(!images.join(name()).exists());
        // On a host as busy as this one may be, the machine may not be back in time: that is told.
        if !tells(&progress.events(), "The machine is not up again yet") {
            assert!(home.ssh(&acquired, "true").await.success());
        }
        assert_eq!(home.acquire(&node).await, acquired);
    }

    // Dropped there, as by a server that was killed, it leaves a stopped machine and half an image. The next call of either
    // kind finds both.
    for moment in [&stopping, &partial.join("rootfs/usr")] {
        let _ = fs::remove_file(&stopping);
        let ctx = context();
        tokio::select! {
            kept = home.provider.keep_image(&node, &runtime, &ctx) => panic!("{kept:?}"),
            () = appears(moment.clone()) => {}
        }
        let next = home.node();
        home.acquire_for(&next, &runtime).await;
        assert!(
            !lower_of(&home, &next).starts_with(images.join(name())),
            "half an image is used"
        );
        home.release(&next).await;
        assert_eq!(home.acquire(&node).await, acquired);
        assert!(home.ssh(&acquired, "true").await.success());
    }
    let ctx = context();
    tokio::select! {
        kept = home.provider.keep_image(&node, &runtime, &ctx) => panic!("{kept:?}"),
        () = appears(partial.join("rootfs/usr")) => {}
    }
    home.acquire(&node).await;

    // Without the time for a boot after it, none is begun.
    let pid = home.machine_pid(&node);
    let kept_within = async |limit| {
        let (ctx, _cancel, progress) = step_context("keep_image", Duration::from_secs(limit), Arc::new(RealClock));
        let kept = home.provider.keep_image(&node, &runtime, &ctx).await.unwrap();
        (kept, progress.events())
    };
    let (kept, events) = kept_within(60).await;
    assert_eq!(kept, KeptImage::Failed);
    assert!(tells(&events, "There was not enough time"), "{events:?}");
    assert_eq!(home.machine_pid(&node), pid);

    // A machine that says that it is of another key is none of this one.
    let record = |key: &str| {
        format!(r#"mkdir -p /var/lib/pressluft; echo '{{"key":"{key}"}}' >/var/lib/pressluft/runtime.json"#)
    };
    on(&home, &node, &record("0f")).await;
    let (kept, events) = kept_within(600).await;
    assert_eq!(kept, KeptImage::Failed);
    assert!(tells(&events, "provisioned by another version"), "{events:?}");
    assert_eq!(cache.kept(), Vec::<String>::new());
    assert!(home.ssh(&acquired, "true").await.success());
    on(&home, &node, &record(&runtime.key)).await;
    assert_eq!(home.keep_image(&node, &runtime).await, KeptImage::Made);
    assert_eq!(cache.only(), images.join(name()));
    assert!(home.ssh(&acquired, "true").await.success());
    home.release(&node).await;
    assert_eq!(home.traces(&node).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_image_is_made_once_and_stays_for_as_long_as_a_machine_of_any_installation_uses_it() {
    let cache = Cache::new().await;
    let home = Installation::with_cache(cache.path()).await;
    let other = Installation::with_cache(cache.path()).await;
    let (first, second) = (home.node(), other.node());
    tokio::join!(home.acquire(&first), other.acquire(&second));

    let (old, new, newest) = (runtime('c'), runtime('d'), runtime('e'));
    let (one, two) = tokio::join!(home.keep_image(&first, &old), other.keep_image(&second, &old));
    assert!(
        [
            (KeptImage::Made, KeptImage::Existing),
            (KeptImage::Existing, KeptImage::Made)
        ]
        .contains(&(one, two)),
        "{one:?} {two:?}"
    );
    let old_image = cache.only();
    let user = other.node();
    other.acquire_for(&user, &old).await;
    other.release(&second).await;

    // In use: mounted, and then known by its name alone, as after a reboot.
    assert_eq!(home.keep_image(&first, &new).await, KeptImage::Made);
    assert!(old_image.is_dir());
    assert_eq!(cache.kept().len(), 2);
    other.end(&user, Signal::TERM).await;
    other
        .run(&["umount", &other.folder(&user).join("merged").to_string_lossy()])
        .await;
    assert_eq!(home.keep_image(&first, &newest).await, KeptImage::Made);
    assert!(old_image.is_dir());
    assert_eq!(
        cache.kept().len(),
        2,
        "the one that nobody used is gone: {:?}",
        cache.kept()
    );
    other.acquire(&user).await;
    assert!(lower_of(&other, &user).starts_with(&old_image));
    // A machine made from an image can become one.
    let third = runtime('f');
    assert_eq!(other.keep_image(&user, &third).await, KeptImage::Made);
    assert!(old_image.is_dir());

    other.release(&user).await;
    assert_eq!(home.keep_image(&first, &third).await, KeptImage::Existing);
    let image = cache.only();
    assert_ne!(image, old_image);

    // One that is too old is replaced, unless a machine uses it.
    let description = image.join("image.json");
    let age = || {
        let mut described: serde_json::Value = serde_json::from_slice(&fs::read(&description).unwrap()).unwrap();
        let made = std::mem::replace(&mut described["created_at"], "2020-01-02T03:04:05Z".into());
        fs::write(&description, described.to_string()).unwrap();
        made
    };
    let user = other.node();
    other.acquire_for(&user, &third).await;
    let made = age();
    assert_eq!(home.keep_image(&first, &third).await, KeptImage::Existing);
    other.release(&user).await;
    assert_eq!(home.keep_image(&first, &third).await, KeptImage::Made);
    assert_eq!(cache.only(), image);
    assert!(age().as_str() > made.as_str());
    home.release(&first).await;
    let first = home.node();
    home.acquire_for(&first, &third).await;
    assert!(!lower_of(&home, &first).starts_with(&image));
    assert_eq!(home.keep_image(&first, &third).await, KeptImage::Made);

    // One that lacks its parts is passed over, and told; the next call replaces it.
    fs::remove_dir_all(image.join("rootfs/usr/lib/systemd")).unwrap();
    let next = home.node();
    let (ctx, _cancel, progress) = step_context("acquire", Duration::from_secs(60), Arc::new(RealClock));
    home.provider
        .acquire(&home.request(&next, Some(&third)), &ctx)
        .await
        .unwrap();
    assert!(!lower_of(&home, &next).starts_with(&image));
    assert!(
        tells(&progress.events(), "parts of its root are missing"),
        "{:?}",
        progress.events()
    );
    assert_eq!(home.keep_image(&next, &third).await, KeptImage::Made);
    for node in [&first, &next] {
        home.release(node).await;
        assert_eq!(home.traces(node).await, Vec::<String>::new());
    }
    assert_eq!(other.traces(&user).await, Vec::<String>::new());
}

pub(crate) fn tells(events: &[NewEvent], what: &str) -> bool {
    events.iter().any(|event| format!("{event:?}").contains(what))
}
