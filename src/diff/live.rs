//! The live side: directories and files of the running system, as items.
//!
//! Everything is reached by its name in an open directory, and no symlink is
//! followed, so neither the length of a path nor what others do meanwhile leads
//! elsewhere. Only the path that was named may lead through symlinks.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, lgetxattr, llistxattr, openat,
    readlinkat, statx,
};
use rustix::io::Errno;

use crate::base::limits::{DIRECTORY_DEPTH_MAX, XATTR_VALUE_BYTES_MAX};
use crate::base::time::{NANOS_PER_SECOND, Timestamp};
use crate::dag::node::MODE_MASK;
use crate::dag::{Device, Owner, Xattr};
use crate::diff::change::{DirectoryContent, FileContent, Item, ItemKind, Links};

/// Bytes of names asked of the system at once.
const LIST_BYTES: usize = 64 << 10;
/// Bytes that suffice for nearly all attributes.
const XATTR_BYTES: usize = 512;

/// A live item and where it is on its file system.
#[derive(Clone, Debug)]
pub(super) struct LiveItem {
    pub(super) item: Item,
    pub(super) device: Device,
    pub(super) inode: u64,
}

/// An open directory.
pub(super) struct LiveDirectory {
    directory: OwnedFd,
    pub(super) device: Device,
    /// The names in it that lie ahead, the next one last.
    names: Vec<Box<[u8]>>,
}

impl LiveDirectory {
    /// Opens a name in a directory, or a path, and lists it.
    pub(super) fn open(base: BorrowedFd<'_>, name: &[u8]) -> Result<Self, Errno> {
        let directory = open_directory(base, name)?;
        let status = status(directory.as_fd(), b"")?;
        let device = Device { major: status.stx_dev_major, minor: status.stx_dev_minor };
        let mut names = names(&directory)?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        names.dedup();
        Ok(Self { directory, device, names })
    }

    /// The next name, or nothing at the end.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.names.last().map(|name| &**name)
    }

    /// Goes behind the next name.
    pub(super) fn advance(&mut self) {
        self.names.pop();
    }
}

impl AsFd for LiveDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Opens the directory that a path names, and the names below it one by one.
/// Returns the open directory that holds the last name, and that name; for the
/// path itself there is none.
pub(super) fn reach(path: &Path, inner: &[u8]) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let mut names = inner.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let Some(mut name) = names.next() else {
        return Ok((open(CWD, b".", OFlags::DIRECTORY)?, path.as_os_str().as_bytes().to_vec()));
    };
    let mut directory = open(CWD, path.as_os_str().as_bytes(), OFlags::DIRECTORY)?;
    let mut depth = 0;
    for below in names {
        depth += 1;
        if depth > DIRECTORY_DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        directory = open_directory(directory.as_fd(), name)?;
        name = below;
    }
    Ok((directory, name.to_vec()))
}

/// Opens a directory.
pub(super) fn open_directory(base: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    open(base, name, OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

/// What tells the file at a path from all others, if there is one.
pub(super) fn identity(path: &Path) -> Option<(Device, u64)> {
    let status = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS).ok()?;
    let device = Device { major: status.stx_dev_major, minor: status.stx_dev_minor };
    Some((device, status.stx_ino))
}

/// Opens a regular file to read.
pub(super) fn open_file(base: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let file = open(base, name, OFlags::NOFOLLOW)?;
    let status = status(file.as_fd(), b"")?;
    match FileType::from_raw_mode(status.stx_mode.into()) {
        FileType::RegularFile => Ok(file),
        // It was swapped for something else.
        _ => Err(Errno::NOENT),
    }
}

/// Asks for all that is compared of a name, or nothing if there is none.
pub(super) fn item(base: BorrowedFd<'_>, name: &[u8]) -> Result<Option<LiveItem>, Errno> {
    let status = match status(base, name) {
        Ok(status) => status,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let special = Device { major: status.stx_rdev_major, minor: status.stx_rdev_minor };
    let kind = match FileType::from_raw_mode(status.stx_mode.into()) {
        FileType::RegularFile => ItemKind::File(FileContent::Live(status.stx_size)),
        FileType::Directory => ItemKind::Directory(DirectoryContent::Live),
        FileType::Symlink => {
            let target = readlinkat(base, OsStr::from_bytes(name), Vec::new());
            ItemKind::Symlink(target.map(CString::into_bytes)?.into())
        }
        FileType::Fifo => ItemKind::Fifo,
        FileType::Socket => ItemKind::Socket,
        FileType::BlockDevice => ItemKind::BlockDevice(special),
        FileType::CharacterDevice => ItemKind::CharDevice(special),
        _ => return Err(Errno::INVAL),
    };
    let owner = Owner { uid: status.stx_uid, gid: status.stx_gid, ..Owner::default() };
    let nanoseconds = status.stx_mtime.tv_nsec.min(NANOS_PER_SECOND - 1);
    let item = Item {
        kind,
        mode: status.stx_mode & MODE_MASK,
        owner: Arc::new(owner),
        mtime: Timestamp::new(status.stx_mtime.tv_sec, nanoseconds).unwrap_or_default(),
        atime: None,
        links: Links::Live(status.stx_nlink),
        xattrs: xattrs(base, name)?,
        changed_while_read: false,
    };
    let device = Device { major: status.stx_dev_major, minor: status.stx_dev_minor };
    Ok(Some(LiveItem { item, device, inode: status.stx_ino }))
}

/// A fifo that was swapped in does not block, and access times stay as they are
/// where that is allowed.
fn open(base: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let name = OsStr::from_bytes(name);
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat(base, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(base, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn status(base: BorrowedFd<'_>, name: &[u8]) -> Result<Statx, Errno> {
    let empty = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    let flags = AtFlags::SYMLINK_NOFOLLOW | empty;
    statx(base, OsStr::from_bytes(name), flags, StatxFlags::BASIC_STATS)
}

fn names(directory: &OwnedFd) -> Result<Vec<Box<[u8]>>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); LIST_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = CStr::to_bytes(entry.file_name());
        if !matches!(name, b"" | b"." | b"..") {
            names.push(name.into());
        }
    }
    Ok(names)
}

/// Reads all attributes of a name, through `/proc` since its path may be too
/// long. One that vanishes meanwhile is left out.
fn xattrs(base: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Xattr>, Errno> {
    let mut path = match name.strip_prefix(b"/") {
        Some(_) => Vec::new(),
        None => format!("/proc/self/fd/{}/", base.as_raw_fd()).into_bytes(),
    };
    path.extend_from_slice(name);
    let path = OsStr::from_bytes(&path);
    let list = match filled(|buffer| llistxattr(path, buffer)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut xattrs = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match filled(|buffer| lgetxattr(path, name, buffer)) {
            Ok(value) => xattrs.push(Xattr { name: name.into(), value: value.into() }),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

fn filled(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0_u8; XATTR_BYTES];
    match read(&mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0_u8; XATTR_VALUE_BYTES_MAX];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
