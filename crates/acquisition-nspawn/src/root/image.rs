//! Base images: built once per recipe into the shared cache, then only read.
//!
//! `images/<key>/rootfs` is complete as soon as it exists: it is built beside and renamed. Finished images are never
//! removed here, because any of them may be the lower layer of a mounted machine.

use std::fs;
use std::path::{Path, PathBuf};

use jobs::{StepContext, StepError};

use super::host::Host;
use super::mounts;
use crate::ADMIN_USER;
use crate::apt;
use crate::config::NspawnConfig;
use crate::failure::{Code, io_failed};
use crate::files::{Lock, make_dir, refuse_full_disk};
use crate::recipe::{BAKE_SCRIPT, OsRelease, Recipe, SharedFile, parse_os_release};

const CODE: Code = Code::LocalImageUnavailable;

/// What a build needs at least: the image and the packages it is made of.
const BUILD_BYTES: u64 = 1_500_000_000;

/// A finished base image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its key in the cache.
    pub(crate) key: String,
    /// Its root.
    pub(crate) rootfs: PathBuf,
    /// The key of the base image that it goes back to: its own, where it is one.
    pub(crate) base: String,
}

/// The image of a recipe, built where the cache has none yet.
pub(crate) async fn ensure(
    host: &Host,
    ctx: &StepContext,
    config: &NspawnConfig,
    recipe: &Recipe,
) -> Result<Image, StepError> {
    let key = recipe.key();
    let images = config.cache_dir.join("images");
    let image = Image {
        rootfs: images.join(&key).join("rootfs"),
        base: key.clone(),
        key,
    };
    if image.rootfs.is_dir() {
        return Ok(image);
    }
    make_dir(&images, 0o700).map_err(|error| io_failed(CODE, &images, &error))?;
    ctx.detail(&format!("building the {} base image", recipe.release)).await;
    let _lock = Lock::file(ctx, CODE, &images.join(format!("{}.lock", image.key))).await?;
    // The build of a server that was killed goes on until that server's recovery ends it: two must not meet in one folder.
    drop(Lock::file(ctx, CODE, &images.join(format!("{}.building", image.key))).await?);
    if image.rootfs.is_dir() {
        return Ok(image);
    }
    remove_partial_builds(host, ctx, &images, &image.key).await?;
    refuse_full_disk(&images, BUILD_BYTES, "A base image")?;
    build(host, ctx, recipe, &images, &image.key).await?;
    Ok(image)
}

async fn build(host: &Host, ctx: &StepContext, recipe: &Recipe, images: &Path, key: &str) -> Result<(), StepError> {
    let partial = images.join(format!("{key}.partial"));
    let inputs = partial.join("inputs");
    write_inputs(recipe, &inputs).map_err(|error| io_failed(CODE, &inputs, &error))?;
    let rootfs = partial.join("rootfs");
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let command = [
        // Held by all that the build starts, for as long as any of it runs.
        "flock".to_owned(),
        text(images.join(format!("{key}.building"))),
        // Its mounts end with it, however it ends.
        "unshare".to_owned(),
        "--mount".to_owned(),
        "mmdebstrap".to_owned(),
        "--mode=root".to_owned(),
        "--format=directory".to_owned(),
        "--variant=minbase".to_owned(),
        format!("--include={}", recipe.packages()),
        format!("--aptopt={}", text(inputs.join("apt.conf"))),
        // Nothing here outlives a crash of the host anyway: the build starts over.
        "--dpkgopt=force-unsafe-io".to_owned(),
        // Hooks are run by a shell; the script finds everything beside itself.
        format!("--customize-hook=sh '{}' \"$1\"", text(inputs.join("customize.sh"))),
        recipe.release.clone(),
        text(rootfs),
        text(inputs.join("pressluft.sources")),
    ];
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    host.stream(ctx, CODE, &command).await?;
    fs::remove_dir_all(&inputs).map_err(|error| io_failed(CODE, &inputs, &error))?;
    // A name that stands after a power cut stands for a whole image.
    host.expect(ctx, CODE, &["sync", "-f", &partial.to_string_lossy()])
        .await?;
    let finished = images.join(key);
    fs::rename(&partial, &finished).map_err(|error| io_failed(CODE, &finished, &error))
}

/// Runs on the host for a root that is passed to it: puts the shared files in, then runs the bake script inside.
const CUSTOMIZE_SCRIPT: &str = "\
set -eu
here=$(dirname \"$0\")
cp -R --preserve=mode \"$here/files/.\" \"$1/\"
rm -f \"$1/etc/apt/apt.conf.d/99mmdebstrap\"
cp \"$here/bake.sh\" \"$1/tmp/pressluft-bake\"
chroot \"$1\" sh /tmp/pressluft-bake \"$(cat \"$here/admin\")\"
rm \"$1/tmp/pressluft-bake\"
";

fn write_inputs(recipe: &Recipe, inputs: &Path) -> std::io::Result<()> {
    let files = inputs.join("files");
    make_dir(&files, 0o755)?;
    fs::write(inputs.join("apt.conf"), recipe.build_settings.join("\n") + "\n")?;
    fs::write(inputs.join("pressluft.sources"), &recipe.sources)?;
    fs::write(inputs.join("customize.sh"), CUSTOMIZE_SCRIPT)?;
    fs::write(inputs.join("bake.sh"), BAKE_SCRIPT)?;
    fs::write(inputs.join("admin"), ADMIN_USER)?;
    let settings = SharedFile {
        path: PathBuf::from("/etc/apt/apt.conf.d/90pressluft"),
        content: (recipe.node_settings.join("\n") + "\n").into_bytes(),
    };
    for file in recipe.files.iter().chain([&settings]) {
        let target = files.join(file.path.strip_prefix("/").unwrap_or(&file.path));
        if let Some(parent) = target.parent() {
            // Folders of the image keep their mode: they are made here as every distribution has them.
            fs::create_dir_all(parent)?;
            for folder in parent.ancestors().take_while(|folder| folder.starts_with(&files)) {
                make_dir(folder, 0o755)?;
            }
        }
        crate::files::write_atomic(&target, &file.content, 0o644)?;
    }
    Ok(())
}

/// Removes what builds that were killed have left, of images of either kind. Whoever is at a build holds one of its two
/// locks; the caller holds that of `own`.
pub(crate) async fn remove_partial_builds(
    host: &Host,
    ctx: &StepContext,
    images: &Path,
    own: &str,
) -> Result<(), StepError> {
    let entries = fs::read_dir(images).map_err(|error| io_failed(CODE, images, &error))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(key) = name.strip_suffix(".partial") else {
            continue;
        };
        let mut locks = Vec::new();
        if key != own {
            for kind in ["lock", "building"] {
                let path = images.join(format!("{key}.{kind}"));
                locks.extend(Lock::try_file(&path).map_err(|error| io_failed(CODE, &path, &error))?);
            }
            if locks.len() < 2 {
                continue;
            }
        }
        mounts::unmount_all(host, ctx, CODE, &entry.path()).await?;
        host.expect(
            ctx,
            CODE,
            &["rm", "-rf", "--one-file-system", "--", &entry.path().to_string_lossy()],
        )
        .await?;
        drop(locks);
    }
    Ok(())
}

/// Reads what the image is to be made of from this host: its distribution, its mirror, its proxies, its authorities.
pub(crate) async fn read_recipe(host: &Host, ctx: &StepContext, config: &NspawnConfig) -> Result<Recipe, StepError> {
    let here = read_os_release()?;
    let release = config.release.clone().unwrap_or_else(|| here.codename.clone());
    let mut sources = Vec::new();
    for (name, text) in source_files()? {
        let parsed = apt::parse_sources(&name, &text);
        sources.extend(
            parsed
                .iter()
                .filter_map(|source| source.for_release(&here.codename, &release)),
        );
    }
    if !sources.iter().any(|source| source.has_suite(&release)) {
        return Err(StepError::failed(
            CODE,
            format!("The apt sources of this host name no mirror of {} {release}.", here.id),
        ));
    }
    let mut files = Vec::new();
    for path in sources.iter().filter_map(apt::Source::keyring) {
        // The distribution's own keyring comes with its package.
        let packaged = format!("/usr/share/keyrings/{}-archive-keyring.", here.id);
        if !path.to_string_lossy().starts_with(&packaged) && !files.iter().any(|file: &SharedFile| file.path == path) {
            files.push(shared_file(&path)?);
        }
    }
    files.extend(host_authorities()?);
    let mut build_settings = apt::transport_settings(&host.expect(ctx, CODE, &["apt-config", "dump"]).await?);
    build_settings.extend(apt::proxies_of_environment(
        |name| std::env::var(name).ok(),
        &build_settings,
    ));
    let node_settings = build_settings
        .iter()
        .filter(|setting| !apt::is_loopback_proxy(setting))
        .cloned()
        .collect();
    Ok(Recipe {
        distribution: here.id,
        release,
        architecture: std::env::consts::ARCH.to_owned(),
        sources: apt::to_sources_file(&sources),
        node_settings,
        build_settings,
        files,
    })
}

fn read_os_release() -> Result<OsRelease, StepError> {
    let path = Path::new("/etc/os-release");
    let text = fs::read_to_string(path).map_err(|error| io_failed(CODE, path, &error))?;
    parse_os_release(&text)
        .ok_or_else(|| StepError::failed(CODE, format!("{} names no release of a distribution", path.display())))
}

fn source_files() -> Result<Vec<(String, String)>, StepError> {
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    paths.extend(folder_files("/etc/apt/sources.list.d", &["list", "sources"])?);
    let mut files = Vec::new();
    for path in paths {
        let text = crate::files::read_if_there(&path).map_err(|error| io_failed(CODE, &path, &error))?;
        if let Some(text) = text {
            files.push((path.to_string_lossy().into_owned(), text));
        }
    }
    Ok(files)
}

/// Certificate authorities that the operator has added to this host: a mirror or a proxy may be signed by one.
fn host_authorities() -> Result<Vec<SharedFile>, StepError> {
    folder_files("/usr/local/share/ca-certificates", &["crt"])?
        .iter()
        .map(|path| shared_file(path))
        .collect()
}

fn shared_file(path: &Path) -> Result<SharedFile, StepError> {
    let content = fs::read(path).map_err(|error| io_failed(CODE, path, &error))?;
    Ok(SharedFile {
        path: path.to_path_buf(),
        content,
    })
}

/// The files of a folder with one of the endings, in order; none where there is no such folder.
fn folder_files(folder: &str, endings: &[&str]) -> Result<Vec<PathBuf>, StepError> {
    let folder = Path::new(folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_failed(CODE, folder, &error)),
    };
    let wanted = |path: &PathBuf| {
        path.extension()
            .is_some_and(|ending| endings.iter().any(|known| ending == *known))
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(wanted).collect();
    paths.sort();
    Ok(paths)
}
