//! What the system says of an item of the target, and its extended attributes.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Statx, StatxFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags, chmod, chownat, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr,
    futimens, getxattr, listxattr, removexattr, setxattr, statx, utimensat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::base::limits::XATTR_VALUE_BYTES_MAX;
use crate::base::time::{NANOS_PER_SECOND, Timestamp};
use crate::dag::node::MODE_MASK;
use crate::dag::{Device, Node, Xattr};

/// Names a file while it is there: device and inode number.
pub(super) type Identity = (Device, u64);

/// What the system says of an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) kind: FileType,
    pub(super) mode: u16,
    pub(super) device: Device,
    pub(super) inode: u64,
    pub(super) links: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In bytes.
    pub(super) size: u64,
    /// The device that a device file stands for.
    pub(super) special: Device,
    pub(super) mtime: Timestamp,
}

impl Status {
    /// Asks for the status of a name in a directory, not following it.
    pub(super) fn of_name(directory: impl AsFd, name: impl Arg) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        statx(directory, name, flags, StatxFlags::BASIC_STATS).map(Self::from)
    }

    /// Asks for the status of an open file.
    pub(super) fn of_file(file: impl AsFd) -> Result<Self, Errno> {
        statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map(Self::from)
    }

    pub(super) const fn identity(&self) -> Identity {
        (self.device, self.inode)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// The word for its kind.
    pub(super) fn kind_name(&self) -> &'static str {
        match self.kind {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            _ => "device",
        }
    }
}

impl From<Statx> for Status {
    fn from(statx: Statx) -> Self {
        let nanoseconds = statx.stx_mtime.tv_nsec.min(NANOS_PER_SECOND - 1);
        Self {
            kind: FileType::from_raw_mode(statx.stx_mode.into()),
            mode: statx.stx_mode & MODE_MASK,
            device: Device { major: statx.stx_dev_major, minor: statx.stx_dev_minor },
            inode: statx.stx_ino,
            links: statx.stx_nlink,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            special: Device { major: statx.stx_rdev_major, minor: statx.stx_rdev_minor },
            mtime: Timestamp::new(statx.stx_mtime.tv_sec, nanoseconds).unwrap_or_default(),
        }
    }
}

/// An open item whose metadata is read or set. Never a path below the target: a
/// name may be given to something else at any moment.
#[derive(Clone, Copy)]
pub(super) enum Handle<'a> {
    /// Opened for reading or writing.
    File(BorrowedFd<'a>),
    /// Opened as a mere place (`O_PATH`), such as a symlink or a device.
    Place(BorrowedFd<'a>),
}

impl<'a> Handle<'a> {
    pub(super) fn file(file: &'a OwnedFd) -> Self {
        Self::File(file.as_fd())
    }

    pub(super) fn place(place: &'a OwnedFd) -> Self {
        Self::Place(place.as_fd())
    }

    pub(super) fn chown(self, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::File(file) => fchown(file, uid, gid),
            Self::Place(place) => chownat(place, c"", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    pub(super) fn chmod(self, mode: u16) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode.into());
        match self {
            Self::File(file) => fchmod(file, mode),
            Self::Place(place) => chmod(through_proc(place), mode),
        }
    }

    /// Sets the times that a node keeps, and no others.
    pub(super) fn set_times(self, node: &Node) -> Result<(), Errno> {
        self.set(node.atime, node.mtime)
    }

    /// Sets the time of modification.
    pub(super) fn set_mtime(self, mtime: Timestamp) -> Result<(), Errno> {
        self.set(None, mtime)
    }

    fn set(self, atime: Option<Timestamp>, mtime: Timestamp) -> Result<(), Errno> {
        let time = |time: Timestamp| Timespec {
            tv_sec: time.seconds(),
            tv_nsec: time.nanoseconds().into(),
        };
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let last_access = atime.map_or(omitted, time);
        let times = Timestamps { last_access, last_modification: time(mtime) };
        match self {
            Self::File(file) => futimens(file, &times),
            Self::Place(place) => utimensat(place, c"", &times, AtFlags::EMPTY_PATH),
        }
    }

    pub(super) fn set_xattr(self, xattr: &Xattr) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        match self {
            Self::File(file) => fsetxattr(file, &*xattr.name, &xattr.value, flags),
            Self::Place(place) => setxattr(through_proc(place), &*xattr.name, &xattr.value, flags),
        }
    }

    /// Removes an attribute; that there is none is as well.
    pub(super) fn remove_xattr(self, name: &[u8]) -> Result<(), Errno> {
        let removed = match self {
            Self::File(file) => fremovexattr(file, name),
            Self::Place(place) => removexattr(through_proc(place), name),
        };
        match removed {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            other => other,
        }
    }

    /// Reads all attributes, by rising name.
    pub(super) fn xattrs(self) -> Result<Vec<Xattr>, Errno> {
        let names = filled(|buffer| match self {
            Self::File(file) => flistxattr(file, buffer),
            Self::Place(place) => listxattr(through_proc(place), buffer),
        });
        let names = match names {
            Ok(names) => names,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut xattrs = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value = filled(|buffer| match self {
                Self::File(file) => fgetxattr(file, name, buffer),
                Self::Place(place) => getxattr(through_proc(place), name, buffer),
            });
            match value {
                Ok(value) => xattrs.push(Xattr { name: name.into(), value: value.into() }),
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        xattrs.sort_unstable();
        Ok(xattrs)
    }
}

/// The path by which the kernel leads to an open file, whatever its own path.
pub(super) fn through_proc(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Reads into a buffer that suits nearly all, and into the largest one there
/// can be if it did not suffice.
fn filled(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0_u8; 512];
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
