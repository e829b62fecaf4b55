//! Where a source item is: a name in an open directory, so that neither the
//! depth of a tree nor the length of its paths matters and nothing can be
//! swapped under a walk to lead it elsewhere; or a path that the plan names.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use crate::local::Status;

/// Where an item is.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    directory: Option<Arc<OwnedFd>>,
    path: Vec<u8>,
}

impl Location {
    /// An item by its name in a directory.
    pub(crate) fn in_directory(directory: &Arc<OwnedFd>, name: &[u8]) -> Self {
        Self { directory: Some(directory.clone()), path: name.to_vec() }
    }

    /// An item by its path.
    pub(crate) fn at_path(path: &[u8]) -> Self {
        Self { directory: None, path: path.to_vec() }
    }

    pub(crate) fn directory(&self) -> Option<&OwnedFd> {
        self.directory.as_deref()
    }

    pub(crate) fn path(&self) -> &OsStr {
        OsStr::from_bytes(&self.path)
    }

    fn base(&self) -> BorrowedFd<'_> {
        self.directory.as_ref().map_or(CWD, |directory| directory.as_fd())
    }

    pub(crate) fn status(&self, follow: bool) -> Result<Status, Errno> {
        match follow {
            true => Status::of_followed(self.base(), self.path()),
            false => Status::of_name(self.base(), self.path()),
        }
    }

    /// Opens the item for reading. Its access time stays as it is where that is
    /// allowed; a fifo swapped in does not block.
    pub(crate) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        match openat(self.base(), self.path(), flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => openat(self.base(), self.path(), flags, Mode::empty()),
            opened => opened,
        }
    }

    pub(crate) fn read_link(&self) -> Result<Vec<u8>, Errno> {
        readlinkat(self.base(), self.path(), Vec::new()).map(std::ffi::CString::into_bytes)
    }
}
