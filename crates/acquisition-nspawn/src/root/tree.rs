//! Copies the root of a machine that does not run: what it holds, owners, modes, times, attributes, hard links and holes.
//!
//! The tree was under the machine's control: nothing in it is followed. Every folder is opened by its own name below the one
//! before, and a mount within it stays out. Devices, sockets and pipes are not copied; whoever needs one makes it when it
//! starts. All of this blocks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jobs::StepError;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, open, openat, openat2,
    readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::failure::{Code, io_failed};
use crate::scrub::{Below, Fate, Scrub};

const CODE: Code = Code::LocalAcquisitionFailed;

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// Pieces of this size that hold nothing but zeros become holes.
const BLOCK: usize = 16 * 1024;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The longest value of an attribute, and the longest list of their names (`XATTR_SIZE_MAX`).
const ATTRIBUTE: usize = 64 * 1024;

/// What was copied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Copied {
    /// Files.
    pub(crate) files: u64,
    /// What they hold, in bytes.
    pub(crate) bytes: u64,
}

/// Copies `source` to `target`, which must not exist, but for what `scrub` keeps out. `check` is asked between things and
/// fails where the work should stop.
pub(crate) fn copy(
    source: &Path,
    target: &Path,
    scrub: &mut Scrub,
    check: &dyn Fn() -> Result<(), StepError>,
) -> Result<Copied, StepError> {
    let failed = |path: &Path, error: Errno| io_failed(CODE, path, &error.into());
    let from = open(source, FOLDER, Mode::empty()).map_err(|error| failed(source, error))?;
    follow_links(&from, source, scrub).map_err(|error| io_failed(CODE, source, &error))?;
    mkdirat(CWD, target, PRIVATE_FOLDER).map_err(|error| failed(target, error))?;
    let to = open(target, FOLDER, Mode::empty()).map_err(|error| failed(target, error))?;
    let stat = fstat(&from).map_err(|error| failed(source, error))?;
    let mut copy = Copy {
        root: to.as_fd(),
        device: stat.st_dev,
        scrub,
        check,
        links: HashMap::new(),
        piece: vec![0; PIECE],
        names: vec![0; ATTRIBUTE],
        value: vec![0; ATTRIBUTE],
        copied: Copied::default(),
    };
    copy.folder(from.as_fd(), to.as_fd(), &stat, Path::new(""), Below::Everything)?;
    Ok(copy.copied)
}

/// Reads a file of a copied tree, of which nothing is followed; no more than its first 16 MB. None where there is none.
pub(crate) fn read(root: &Path, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let root = open(root, FOLDER, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file: File = match openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => file.into(),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut content = Vec::new();
    file.take(16_000_000).read_to_end(&mut content)?;
    Ok(Some(content))
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PRIVATE_FOLDER: Mode = Mode::RWXU;

/// Tells the rules where their paths lead within the root: the kernel keeps every link below it.
fn follow_links(root: &OwnedFd, source: &Path, scrub: &mut Scrub) -> io::Result<()> {
    let source = source.canonicalize()?;
    for path in scrub.paths() {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = match openat2(root, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(error.into()),
        };
        let place = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        let stat = fstat(&found)?;
        if let Ok(real) = place.strip_prefix(&source) {
            scrub.is_really(&path, real.to_path_buf(), (stat.st_dev, stat.st_ino));
        }
    }
    Ok(())
}

struct Copy<'a> {
    root: BorrowedFd<'a>,
    device: u64,
    scrub: &'a Scrub,
    check: &'a dyn Fn() -> Result<(), StepError>,
    /// Where files with several names were copied to.
    links: HashMap<(u64, u64), PathBuf>,
    piece: Vec<u8>,
    names: Vec<u8>,
    value: Vec<u8>,
    copied: Copied,
}

impl Copy<'_> {
    fn folder(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        stat: &Stat,
        path: &Path,
        below: Below,
    ) -> Result<(), StepError> {
        let failed = |error: Errno| io_failed(CODE, path, &error.into());
        if stat.st_dev == self.device {
            for entry in Dir::read_from(from).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    self.thing(from, to, name, &path.join(OsStr::from_bytes(name.to_bytes())), below)?;
                }
            }
        }
        self.attributes(from, to, stat)
            .map_err(|error| io_failed(CODE, path, &error))
    }

    fn thing(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        inherited: Below,
    ) -> Result<(), StepError> {
        (self.check)()?;
        let failed = |error: Errno| io_failed(CODE, path, &error.into());
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let inode = (stat.st_dev, stat.st_ino);
        let fate = self.scrub.fate(path, kind == FileType::Directory, inode, inherited);
        match (kind, fate) {
            (FileType::Directory, Fate::Copied(below)) => {
                let from = openat(from, name, FOLDER, Mode::empty()).map_err(failed)?;
                mkdirat(to, name, PRIVATE_FOLDER).map_err(failed)?;
                let to = openat(to, name, FOLDER, Mode::empty()).map_err(failed)?;
                self.folder(from.as_fd(), to.as_fd(), &stat, path, below)
            }
            (FileType::RegularFile, Fate::Copied(_)) => self.file(from, to, name, path, &stat, false),
            (FileType::RegularFile, Fate::Emptied) => self.file(from, to, name, path, &stat, true),
            (FileType::Symlink, Fate::Copied(_) | Fate::Emptied) => link(from, to, name, &stat).map_err(failed),
            _ => Ok(()),
        }
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        stat: &Stat,
        emptied: bool,
    ) -> Result<(), StepError> {
        let failed = |error: io::Error| io_failed(CODE, path, &error);
        if stat.st_nlink > 1 && !emptied {
            match self.links.entry((stat.st_dev, stat.st_ino)) {
                Entry::Occupied(first) => {
                    return linkat(self.root, first.get(), to, name, AtFlags::empty())
                        .map_err(|error| failed(error.into()));
                }
                Entry::Vacant(first) => {
                    first.insert(path.to_path_buf());
                }
            }
        }
        let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let writing = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from: File = openat(from, name, reading, Mode::empty())
            .map_err(|error| failed(error.into()))?
            .into();
        let to: File = openat(to, name, writing, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failed(error.into()))?
            .into();
        if !emptied {
            self.content(&from, &to, path)?;
        }
        self.attributes(from.as_fd(), to.as_fd(), stat).map_err(failed)?;
        self.copied.files += 1;
        Ok(())
    }

    fn content(&mut self, mut from: &File, to: &File, path: &Path) -> Result<(), StepError> {
        let failed = |error: io::Error| io_failed(CODE, path, &error);
        let mut at = 0_u64;
        let mut written_to = 0_u64;
        loop {
            let length = from.read(&mut self.piece).map_err(failed)?;
            if length == 0 {
                break;
            }
            for block in self.piece[..length].chunks(BLOCK) {
                if block != &ZEROS[..block.len()] {
                    to.write_all_at(block, at).map_err(failed)?;
                    written_to = at + block.len() as u64;
                }
                at += block.len() as u64;
            }
            (self.check)()?;
        }
        if written_to < at {
            to.set_len(at).map_err(failed)?;
        }
        self.copied.bytes += at;
        Ok(())
    }

    /// Owner, attributes, mode and times, in this order: a change of owner takes privileges away.
    fn attributes(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        let length = match flistxattr(from, &mut self.names[..]) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(error) => return Err(error.into()),
        };
        for name in self.names[..length].split_inclusive(|byte| *byte == 0) {
            let name = CStr::from_bytes_with_nul(name).map_err(io::Error::other)?;
            let length = fgetxattr(from, name, &mut self.value[..])?;
            fsetxattr(to, name, &self.value[..length], XattrFlags::empty())?;
        }
        fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
        futimens(to, &times(stat))?;
        Ok(())
    }
}

fn link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> rustix::io::Result<()> {
    let leads_to = readlinkat(from, name, Vec::new())?;
    symlinkat(&leads_to, to, name)?;
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
