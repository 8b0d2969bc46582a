//! Archives: unpacking what sources give, and checking that it is what its name says. All of it blocks. An archive that is
//! something else is an error of the kind `InvalidData`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Builder, EntryType, Header};

use crate::files::private_file;

/// The one folder at the root of a WordPress archive.
const ROOT: &str = "wordpress";

const VERSION_FILE: &str = "wordpress/wp-includes/version.php";

/// Every file's time in an archive of ours, as npm's own: 1985-10-26.
const MODIFIED: u64 = 499_162_500;

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Copies a tar archive, unpacked where it is gzipped.
pub(crate) fn plain_tar(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = BufReader::new(File::open(from)?);
    let mut magic = [0; 2];
    source.read_exact(&mut magic)?;
    source.rewind()?;
    let mut target = private_file(to)?;
    if magic == [0x1f, 0x8b] {
        io::copy(&mut MultiGzDecoder::new(source), &mut target).map_err(torn)?;
    } else {
        io::copy(&mut source, &mut target)?;
    }
    Ok(())
}

/// A gzip stream that ends too early is something else than what was asked for.
fn torn(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => invalid(error.to_string()),
        _ => error,
    }
}

/// Fails where a tar archive is not WordPress of this version: files and folders below one folder, with the version in them.
pub(crate) fn check_wordpress(tar: &Path, version: &str) -> io::Result<()> {
    let mut found = None;
    let mut archive = Archive::new(BufReader::new(File::open(tar)?));
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || !path.starts_with(ROOT) {
            return Err(invalid(format!("`{}` is not below `{ROOT}/`", path.display())));
        }
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Directory) {
            return Err(invalid(format!("`{}` is neither file nor folder", path.display())));
        }
        if path == Path::new(VERSION_FILE) {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            found = version_in(&text);
        }
    }
    match found {
        Some(found) if found == version => Ok(()),
        Some(found) => Err(invalid(format!("it is WordPress {found}, not {version}"))),
        None => Err(invalid(format!("{VERSION_FILE} names no version"))),
    }
}

/// The version in the text of `version.php`.
fn version_in(text: &str) -> Option<String> {
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("$wp_version"))?;
    line.split('\'').nth(1).map(str::to_owned)
}

/// Fails where a file is no phar archive.
pub(crate) fn check_phar(path: &Path) -> io::Result<()> {
    let mut start = Vec::new();
    File::open(path)?.take(8 * 1024).read_to_end(&mut start)?;
    let stub = b"__HALT_COMPILER();";
    if start.windows(stub.len()).any(|window| window == stub) {
        return Ok(());
    }
    Err(invalid("it is no phar archive"))
}

/// Takes one file out of a gzipped tar archive.
pub(crate) fn take_file(package: &Path, name: &str, to: &Path) -> io::Result<()> {
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(File::open(package)?)));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()? == Path::new(name) {
            io::copy(&mut entry, &mut private_file(to)?)?;
            return Ok(());
        }
    }
    Err(invalid(format!("it holds no `{name}`")))
}

/// Makes a folder of a gzipped tar archive a tar archive of WordPress. The same package gives the same bytes everywhere:
/// sorted, with fixed owners, modes and times. File contents go by way of the file `scratch`.
pub(crate) fn repack(package: &Path, folder: &str, scratch: &Path, to: &Path) -> io::Result<()> {
    let mut contents = private_file(scratch)?;
    let mut end = 0;
    // Where in `scratch` a file's content is; None for a folder.
    let mut names: BTreeMap<PathBuf, Option<(u64, u64)>> = BTreeMap::new();
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(File::open(package)?)));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Ok(rest) = path.strip_prefix(folder) else { continue };
        if entry.header().entry_type() != EntryType::Regular {
            return Err(invalid(format!("`{}` is no file", path.display())));
        }
        let name = Path::new(ROOT).join(rest);
        let length = io::copy(&mut entry, &mut contents)?;
        for parent in name.ancestors().skip(1).filter(|parent| *parent != Path::new("")) {
            names.insert(parent.to_owned(), None);
        }
        names.insert(name, Some((end, length)));
        end += length;
    }
    let mut builder = Builder::new(BufWriter::new(private_file(to)?));
    for (name, content) in names {
        let mut header = Header::new_gnu();
        header.set_mtime(MODIFIED);
        header.set_uid(0);
        header.set_gid(0);
        match content {
            None => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                builder.append_data(&mut header, name.join(""), io::empty())?;
            }
            Some((start, length)) => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(0o644);
                header.set_size(length);
                contents.seek(SeekFrom::Start(start))?;
                builder.append_data(&mut header, name, (&contents).take(length))?;
            }
        }
    }
    builder.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_as_wordpress_writes_it() {
        let text = "<?php\n/**\n * @global string $wp_version\n */\n$wp_version = '7.1.1';\n$wp_db_version = 1;\n";
        assert_eq!(version_in(text).as_deref(), Some("7.1.1"));
        assert_eq!(version_in("<?php\n"), None);
    }
}
