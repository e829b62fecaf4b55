//! Setting the metadata of an open file.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmod, chownat, fchmod,
    fchown, fremovexattr, fsetxattr, futimens, removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

use crate::base::time::Timestamp;
use crate::dag::Xattr;
use crate::local::{through_proc, xattrs};

const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
const SETUID: u16 = 0o4000;
const SETGID: u16 = 0o2000;

/// The mode of a file without the setuid and setgid bits that would give away the
/// rights of somebody else: `is_owner` says whether its user and its group are those
/// that the bits stand for.
pub(crate) const fn mode_without_rights(mode: u16, is_owner: (bool, bool)) -> u16 {
    match is_owner {
        (true, true) => mode,
        (true, false) => mode & !SETGID,
        (false, _) => mode & !(SETUID | SETGID),
    }
}

/// An open item whose metadata is read or set. Never a path: a name may be given to
/// something else at any moment.
#[derive(Clone, Copy)]
pub(crate) enum Handle<'a> {
    /// Opened for reading or writing.
    File(BorrowedFd<'a>),
    /// Opened as a mere place (`O_PATH`), such as a symlink or a device.
    Place(BorrowedFd<'a>),
}

/// The times of a file that can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When it was read; nothing to leave it as it is.
    pub(crate) atime: Option<Timestamp>,
    /// When it was modified.
    pub(crate) mtime: Timestamp,
}

impl<'a> Handle<'a> {
    pub(crate) fn file(file: &'a OwnedFd) -> Self {
        Self::File(file.as_fd())
    }

    pub(crate) fn place(place: &'a OwnedFd) -> Self {
        Self::Place(place.as_fd())
    }

    pub(crate) fn chown(self, uid: u32, gid: u32) -> Result<(), Errno> {
        // The largest number means that nothing changes.
        let (uid, gid) = (Some(Uid::from_raw_unchecked(uid)), Some(Gid::from_raw_unchecked(gid)));
        match self {
            Self::File(file) => fchown(file, uid, gid),
            Self::Place(place) => chownat(place, c"", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    pub(crate) fn chmod(self, mode: u16) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode.into());
        match self {
            Self::File(file) => fchmod(file, mode),
            Self::Place(place) => chmod(through_proc(place), mode),
        }
    }

    pub(crate) fn set_times(self, times: Times) -> Result<(), Errno> {
        let time = |time: Timestamp| Timespec {
            tv_sec: time.seconds(),
            tv_nsec: time.nanoseconds().into(),
        };
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps {
            last_access: times.atime.map_or(omitted, time),
            last_modification: time(times.mtime),
        };
        match self {
            Self::File(file) => futimens(file, &times),
            Self::Place(place) => utimensat(place, c"", &times, AtFlags::EMPTY_PATH),
        }
    }

    pub(crate) fn set_xattr(self, xattr: &Xattr) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        match self {
            Self::File(file) => fsetxattr(file, &*xattr.name, &xattr.value, flags),
            Self::Place(place) => setxattr(through_proc(place), &*xattr.name, &xattr.value, flags),
        }
    }

    /// Removes an attribute; that there is none is as well.
    pub(crate) fn remove_xattr(self, name: &[u8]) -> Result<(), Errno> {
        let removed = match self {
            Self::File(file) => fremovexattr(file, name),
            Self::Place(place) => removexattr(through_proc(place), name),
        };
        match removed {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            other => other,
        }
    }

    /// Removes the ACLs, such as those that a new item inherited.
    pub(crate) fn remove_acls(self) -> Result<(), Errno> {
        ACLS.iter().try_for_each(|name| self.remove_xattr(name))
    }

    /// Reads all attributes, by rising name.
    pub(crate) fn xattrs(self) -> Result<Vec<Xattr>, Errno> {
        match self {
            Self::File(file) => xattrs::of_file(file),
            Self::Place(place) => xattrs::of_place(place),
        }
    }

    /// The names of all attributes.
    pub(crate) fn xattr_names(self) -> Result<Vec<Vec<u8>>, Errno> {
        match self {
            Self::File(file) => xattrs::names_of_file(file),
            Self::Place(place) => xattrs::names_of_place(place),
        }
    }
}
