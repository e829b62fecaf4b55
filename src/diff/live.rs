//! The live side: directories and files of the running system, as items.
//!
//! Everything is reached by its name in an open directory, and no symlink is
//! followed, so neither the length of a path nor what others do meanwhile leads
//! elsewhere. Only the path that was named may lead through symlinks.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use crate::base::limits::DIRECTORY_DEPTH_MAX;
use crate::dag::{Device, Owner, Xattr};
use crate::diff::change::{DirectoryContent, FileContent, Item, ItemKind, Links};
use crate::local::{self, Identity, Status};

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
        let device = Status::of_file(&directory)?.device;
        let mut names: Vec<Box<[u8]>> = Vec::new();
        local::names(&directory, &mut |name| names.push(name.into()))?;
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
pub(super) fn identity(path: &Path) -> Option<Identity> {
    Status::of_followed(CWD, path).ok().map(|status| status.identity())
}

/// Opens a regular file to read.
pub(super) fn open_file(base: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let file = open(base, name, OFlags::NOFOLLOW)?;
    match Status::of_file(&file)?.kind {
        FileType::RegularFile => Ok(file),
        // It was swapped for something else.
        _ => Err(Errno::NOENT),
    }
}

/// Asks for all that is compared of a name, or nothing if there is none.
pub(super) fn item(base: BorrowedFd<'_>, name: &[u8]) -> Result<Option<LiveItem>, Errno> {
    let status = match Status::of_name(base, OsStr::from_bytes(name)) {
        Ok(status) => status,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = match status.kind {
        FileType::RegularFile => ItemKind::File(FileContent::Live(status.size)),
        FileType::Directory => ItemKind::Directory(DirectoryContent::Live),
        FileType::Symlink => {
            let target = readlinkat(base, OsStr::from_bytes(name), Vec::new());
            ItemKind::Symlink(target.map(CString::into_bytes)?.into())
        }
        FileType::Fifo => ItemKind::Fifo,
        FileType::Socket => ItemKind::Socket,
        FileType::BlockDevice => ItemKind::BlockDevice(status.special),
        FileType::CharacterDevice => ItemKind::CharDevice(status.special),
        _ => return Err(Errno::INVAL),
    };
    let owner = Owner { uid: status.uid, gid: status.gid, ..Owner::default() };
    let item = Item {
        kind,
        mode: status.mode,
        owner: Arc::new(owner),
        mtime: status.mtime,
        atime: None,
        links: Links::Live(status.links),
        xattrs: xattrs(base, name)?,
        changed_while_read: false,
    };
    Ok(Some(LiveItem { item, device: status.device, inode: status.inode }))
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

/// Reads all attributes of a name; of one that vanished there are none.
fn xattrs(base: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Xattr>, Errno> {
    let read = match name.starts_with(b"/") {
        true => local::xattrs::of_path(Path::new(OsStr::from_bytes(name))),
        false => local::xattrs::of_name(base, name),
    };
    if read == Err(Errno::NOENT) { Ok(Vec::new()) } else { read }
}
